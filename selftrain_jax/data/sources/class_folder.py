"""Images sorted into one sub-folder a class: what "ImageNet Init" can be made from (paper section 3.3).

Call `read_class_folder`, then `check_same_classes` for a pair of splits.
"""

import os
import pathlib
from collections import Counter

from selftrain_jax.data.image_files import require_folder
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example


def read_class_folder(root: str | os.PathLike) -> Source:
    """Read `root/<class>/.../*.jpg`: classes and images in the order of their names, classes from 0.

    `image_id` is the path below `root`. Hidden folders are left out, linked ones are not entered.

    Raises: InputError for a missing folder, one without sub-folders, a class without images, images beside
    the classes, and links that lead out of the folder.
    """
    folder = require_folder(pathlib.Path(root), "the folder of classes")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise InputError(
            f"{folder}: has no sub-folder; expected one a class with its images in it, as "
            f"{folder.name}/cat/1.jpg."
        )
    images = read_image_folder(folder)
    class_names = [image_id.partition("/")[0] for image_id in images.image_ids]
    _check_images(folder, names, images.image_ids, class_names)
    numbers = {name: number for number, name in enumerate(names)}

    def read_labels(index: int) -> Example:
        return {"image_id": images.image_ids[index], "image_class": numbers[class_names[index]]}

    return Source(
        name=f"class folder {folder}",
        categories=tuple(Category(number, name) for name, number in numbers.items()),
        image_ids=images.image_ids,
        read_labels=read_labels,
        read_encoded=images.read_encoded,
        read_image=images.read_image,
    )


def check_same_classes(train: Source, other: Source) -> None:
    """Refuse two splits whose classes differ. Raises: InputError naming the differing classes."""
    if train.categories == other.categories:
        return
    known, found = dict(train.categories).values(), dict(other.categories).values()
    lines = [
        f"only in {source.name}: {_list(names)}"
        for source, names in (
            (train, [name for name in known if name not in found]),
            (other, [name for name in found if name not in known]),
        )
        if names
    ]
    raise InputError(f"the classes of train and val differ; {'; '.join(lines)}. Give both the same.")


def _check_images(
    folder: pathlib.Path, names: list[str], image_ids: tuple[str, ...], class_names: list[str]
) -> None:
    counts = Counter(class_names)
    empty = [name for name in names if not counts[name]]
    if empty:
        raise InputError(
            f"{folder}: {len(empty)} classes have no image: {_list(empty)}. Fill these folders or remove "
            "them (a linked folder is not entered)."
        )
    stray = [image_id for image_id in image_ids if "/" not in image_id]
    if stray:
        raise InputError(
            f"{folder}: {len(stray)} images lie beside the classes: {_list(stray)}. Move each into its class."
        )


def _list(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
