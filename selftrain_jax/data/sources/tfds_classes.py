"""Classification data sets prepared by TensorFlow Datasets, such as `imagenet2012`; call `read_tfds_classes`.

ImageNet makes "ImageNet Init" (paper section 3.3) and the second stream of joint training (Table 7).
"""

import functools
import os

import numpy as np

from selftrain_jax.data.source import Source, decode_image, encode_png, encoded_suffix
from selftrain_jax.data.sources.tfds import open_records
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example


def read_tfds_classes(name: str, split: str, *, data_dir: str | os.PathLike | None = None) -> Source:
    """Read a prepared data set with the features `image` and `label`, for example ("cifar10", "test").

    Classes count from 0, as TFDS's labels do. `image_id` is the position in the split.

    Raises: InputError for an unknown name or split, for data not on disk as array_record (with the command
    that prepares it) and for data sets without one label an image. Reading raises it for images that do not
    decode.
    """
    builder, records = open_records(name, split, data_dir)
    features = builder.info.features
    names = getattr(features["label"], "names", None) if "label" in features else None
    if "image" not in features or names is None:
        raise InputError(
            f"{name} has the features {sorted(features)}; expected an `image` and a class `label`."
        )
    read_record = functools.lru_cache(maxsize=32)(records.__getitem__)
    image_ids = tuple(f"{index:07d}" for index in range(len(records)))
    full_name = f"tfds:{name}/{split}"

    def read_labels(index: int) -> Example:
        return {"image_id": image_ids[index], "image_class": int(read_record(index)["label"])}

    def read_image(index: int) -> np.ndarray:
        return decode_image(read_record(index)["image"], f"{full_name}, image {image_ids[index]}")

    def read_encoded(index: int) -> bytes:
        encoded = read_record(index)["image"]
        return encoded if encoded_suffix(encoded) else encode_png(read_image(index))

    categories = tuple(Category(number, name) for number, name in enumerate(names))
    return Source(full_name, categories, image_ids, read_labels, read_encoded, read_image)
