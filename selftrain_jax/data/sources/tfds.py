"""Data sets prepared by TensorFlow Datasets: COCO, Pascal VOC, BCCD, Open Images, ImageNet.

Call `read_tfds` for boxes or images without labels, `read_tfds_classes` for classified images. Images are
read at random, still encoded, from array_record files.
"""

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.problems import BadBoxes, check_boxes, describe_fault, nearest_names, report_problems
from selftrain_jax.data.source import Problem, Source, decode_image, encode_png, encoded_suffix, image_size
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example

Record = dict[str, Any]


class _Layout(NamedTuple):
    """Where a TFDS data set keeps its boxes."""

    objects: str  # feature with the boxes; "" where there are none
    crowd: str  # field of an object that makes it a crowd or is to be ignored; "" for none
    area: str  # field of an object with its own area in px², not its box's; "" for none
    is_one_based: bool  # VOC's inclusive corners, counted from 1
    has_coco_ids: bool = False  # COCO's own number and file name of each image


_LAYOUTS = {
    "coco": _Layout("objects", "is_crowd", "area", False, has_coco_ids=True),
    "voc": _Layout("objects", "is_difficult", "", True),
    "bccd": _Layout("objects", "", "", True),
    "open_images_v4": _Layout("bobjects", "is_group_of", "", False),
    "imagenet2012": _Layout("", "", "", False),
}
_SIZES = {  # on disk once prepared, about
    "coco/2017": "27 GB, and twice as much again while it is prepared",
    "coco/2014": "40 GB, and twice as much again while it is prepared",
    "voc/2007": "0.9 GB",
    "voc/2012": "4 GB",
    "bccd": "8 MB",
    "open_images_v4": "600 GB, and as much again while it is prepared",
    "imagenet2012": "155 GB, and as much again while it is prepared",
}
_NOT_READY = (NotImplementedError, AssertionError, FileNotFoundError)  # what TFDS raises then
_IMAGENET_NOTE = (
    " First put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from image-net.org, which asks for an "
    "account, into <data_dir>/downloads/manual."
)


def read_tfds(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    labelled: bool = True,
    bad_boxes: BadBoxes = "drop",
) -> Source:
    """Read a prepared data set, for example ("coco/2017", "train[:10%]").

    COCO's labels get their original ids back, 1 to 90; others count from 1. COCO's labelled images know
    their original id and name, `coco_id` and `file_name`. Boxes become yxyx pixels by the size in the image's
    header. Open Images' groups and VOC's difficult objects get `is_crowd`. COCO's objects keep their `areas`,
    which TFDS cuts to whole px². Bad boxes are found only when an image is read: then "drop" warns, once.

    Raises:
        InputError: as `open_records`, or labels asked of ImageNet; when an image is read, bad boxes with
            "error", or an image that does not decode.
    """
    layout = _find_layout(name, labelled)
    builder, records = open_records(name, split, data_dir)
    full_name = f"tfds:{name}/{split}"
    categories = _categories(name, builder, layout) if labelled else ()
    warn_once = functools.lru_cache(maxsize=1)(logging.getLogger(__name__).warning)

    def read_boxes(record: Record, image_id: str) -> Example:
        where = f"{full_name}, image {image_id}"
        example, problems = _read_boxes(record, layout, categories, image_id, where)
        if problems and bad_boxes == "drop":
            warn_once("%s: images with bad boxes, which are dropped", full_name)
        else:
            report_problems(problems, full_name, bad_boxes)
        return example

    return _make_source(full_name, categories, records, read_boxes if labelled else None)


def read_tfds_classes(name: str, split: str, *, data_dir: str | os.PathLike | None = None) -> Source:
    """Read a prepared data set with an `image` and a `label` from 0, for example ("cifar10", "test").

    Raises:
        InputError: as `open_records`, or no label an image; when an image is read, one that does not decode.
    """
    builder, records = open_records(name, split, data_dir)
    features = builder.info.features
    names = getattr(features["label"], "names", None) if "label" in features else None
    if "image" not in features or names is None:
        raise InputError(
            f"{name} has the features {sorted(features)}; expected an `image` and a class `label`."
        )
    return _make_source(
        f"tfds:{name}/{split}",
        tuple(Category(number, name) for number, name in enumerate(names)),
        records,
        lambda record, image_id: {"image_id": image_id, "image_class": int(record["label"])},
    )


def prepare_command(name: str, data_dir: str | os.PathLike | None = None) -> str:
    """Write the shell command that prepares a data set as array_record.

    Differs: not `tfds build`, which needs Apache Beam merely to start.
    """
    where = f", data_dir={str(data_dir)!r}" if data_dir else ""
    code = f"tfds.builder({name!r}{where}).download_and_prepare(file_format='array_record')"
    return f'python -c "import tensorflow_datasets as tfds; {code}"'


def check_prepared(wanted: Mapping[tuple[str, str], str]) -> None:
    """Refuse, all at once, the data sets (name, data_dir) of a run that are not on disk as array_record.

    The values of `wanted` are the flags that say where a data set is; data_dir "" is TFDS's own.

    Raises:
        InputError: some are missing; with the size of each and the command that prepares it.
    """
    missing = {}
    for name, data_dir in wanted:
        builder = _find_builder(name, data_dir or None)
        try:
            builder.as_data_source()
        except _NOT_READY:
            missing[name, data_dir] = _not_ready(name, data_dir or None, str(builder.data_path))
    if missing:
        count = f"{len(missing)} data sets of this run are not ready.\n\n" if len(missing) > 1 else ""
        flags = ", ".join(f"{wanted[key]}=DATA_DIR" for key in missing)
        where = f"\n\nIf they are prepared elsewhere, say where with {flags}."
        raise InputError(count + "\n\n".join(missing.values()) + where)


def open_records(name: str, split: str, data_dir: str | os.PathLike | None) -> tuple[Any, Sequence[Record]]:
    """Open a TFDS builder and a split's records with their images left encoded.

    Raises:
        InputError: an unknown name or split, or data not on disk as array_record: says how to prepare it.
    """
    import tensorflow_datasets as tfds

    builder = _find_builder(name, data_dir)
    try:
        records = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        len(records)
    except _NOT_READY as error:
        raise InputError(_not_ready(name, data_dir, str(builder.data_path))) from error
    except ValueError as error:
        raise InputError(f"{name}: cannot read the split {split!r}: {error}") from error
    return builder, records


def _make_source(
    name: str,
    categories: tuple[Category, ...],
    records: Sequence[Record],
    read_labels: Callable[[Record, str], Example] | None,
) -> Source:
    """Give random access to a split; ids are positions, as reading the stored ones would read every image."""
    # The labels and the image of one example are asked for one after the other: read them once.
    read_record = functools.lru_cache(maxsize=32)(records.__getitem__)
    image_ids = tuple(f"{index:07d}" for index in range(len(records)))

    def read_all_labels(index: int) -> Example:
        image_id = image_ids[index]
        return read_labels(read_record(index), image_id) if read_labels else {"image_id": image_id}

    def read_encoded(index: int) -> bytes:
        encoded = read_record(index)["image"]
        return encoded if encoded_suffix(encoded) else encode_png(read_image(index))

    def read_image(index: int) -> np.ndarray:
        return decode_image(read_record(index)["image"], f"{name}, image {image_ids[index]}")

    return Source(name, categories, image_ids, read_all_labels, read_encoded, read_image, fingerprint=name)


def _find_layout(name: str, labelled: bool) -> _Layout:
    layout = _LAYOUTS.get(name.split("/")[0].split(":")[0])
    if layout is None or "panoptic" in name:
        raise InputError(
            f"the TFDS data set {name!r} is not supported ({nearest_names(name, _LAYOUTS)}); expected one of "
            f"{', '.join(_LAYOUTS)}. Others can be read as COCO JSON, VOC XML or an image folder."
        )
    if labelled and not layout.objects:
        raise InputError(f"{name} has no boxes: use it as unlabelled images (--config.unlabeled.kind=tfds).")
    return layout


def _find_builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        raise InputError(f"TFDS has no {name!r}: {error}. Check version and config name.") from error


def _not_ready(name: str, data_dir: str | os.PathLike | None, expected: str) -> str:
    """Say what is at the path where TFDS expects a data set, its size where known, and how to prepare it."""
    note = _IMAGENET_NOTE if name.startswith("imagenet2012") else ""
    if os.path.isdir(expected):
        found = f"{expected} is prepared in another format than array_record, which random access needs"
        note = f" Move that folder away first, or prepare into another data_dir.{note}"
    else:
        found = f"{expected} does not exist"
    sizes = (size for known, size in _SIZES.items() if name.startswith(known))
    size = next(sizes, "as much as the TFDS catalogue says")
    return (
        f"the data set {name} is not ready: {found}. Prepare it (on disk about {size}) with\n"
        f"  {prepare_command(name, data_dir)}\n{note.strip()}"
    ).rstrip()


def _categories(name: str, builder: Any, layout: _Layout) -> tuple[Category, ...]:
    if name.startswith("coco"):
        return COCO_CATEGORIES  # in the order of TFDS's labels 0 to 79
    names = builder.info.features[layout.objects]["label"].names
    return tuple(Category(number, name) for number, name in enumerate(names, 1))


def _read_boxes(
    record: Record, layout: _Layout, categories: tuple[Category, ...], image_id: str, where: str
) -> tuple[Example, list[Problem]]:
    """Turn boxes (fractions of the image in TFDS) into pixels, without the bad ones."""
    objects = record[layout.objects]
    height, width = image_size(record["image"], where)
    size = np.array([height, width], np.float64)
    raw = np.asarray(objects["bbox"], np.float64).reshape(-1, 4) * np.tile(size, 2)
    if layout.is_one_based:
        raw[:, :2] -= raw[:, 2:] > raw[:, :2]  # corners that coincide stay so, as in `voc_boxes`
    boxes, faults = check_boxes(raw, np.tile(size, (len(raw), 1)))
    good = np.array([not fault for fault in faults], bool)
    crowd = np.asarray(objects[layout.crowd]) == 1 if layout.crowd else np.zeros(len(raw), bool)
    ids = np.array([category.id for category in categories], np.int32)
    example: Example = {
        "image_id": image_id,
        "boxes": boxes[good],
        "classes": ids[np.asarray(objects["label"], np.int64)][good],
        "is_crowd": crowd[good],
    }
    if layout.area:
        example["areas"] = np.asarray(objects[layout.area], np.float32)[good]
    if layout.has_coco_ids:
        example["coco_id"] = int(record["image/id"])
        example["file_name"] = os.fsdecode(record["image/filename"])
    problems = [
        Problem(fault, where, describe_fault(fault, box, image_id))
        for fault, box in zip(faults, raw, strict=True)
        if fault
    ]
    return example, problems
