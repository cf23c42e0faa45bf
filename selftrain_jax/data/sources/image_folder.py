"""Folders of images without labels, or with one sub-folder for each class.

Call `read_image_folder` or `read_class_folder`.
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Iterable

from selftrain_jax.data.image_files import file_source, is_text, path_inside, require_folder
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category, Example

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Pictures that are not read: said, as a folder half full of them would look complete.
OTHER_SUFFIXES = (
    *(".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".jfif", ".jpe", ".jp2", ".j2k", ".jxl", ".ppm"),
    *(".pgm", ".pbm", ".pnm", ".tga", ".ico", ".dcm", ".dng", ".cr2", ".nef", ".arw", ".raw", ".exr", ".hdr"),
)


def read_image_folder(root: str | os.PathLike) -> Source:
    """Find the images below `root`, sorted by relative path, which is also their `image_id`.

    Hidden files and folders are left out, and linked folders are not entered.

    Raises:
        InputError: the folder is missing or holds no image, a link leads out of it, or a name is not UTF-8.
    """
    folder = require_folder(pathlib.Path(root), "the image folder")
    paths = _relative_paths(folder)
    image_ids = tuple(sorted(path for path in paths if path.lower().endswith(SUFFIXES)))
    passed_over = describe_passed_over(paths)
    if not image_ids:
        raise InputError(
            f"{folder}: holds no images; expected files named {', '.join('*' + s for s in SUFFIXES)}."
            + (f" There are {passed_over}: convert them." if passed_over else "")
        )
    odd = [repr(image_id) for image_id in image_ids if not is_text(image_id)]
    if odd:
        raise InputError(
            f"{folder}: {len(odd)} images have names that are not UTF-8: {shorten_list(odd)}. "
            "Rename them (convmv -f latin1 -t utf8 does, if they come from an older system)."
        )
    outside = [repr(image_id) for image_id in image_ids if path_inside(folder, image_id) is None]
    if outside:
        raise InputError(
            f"{folder}: {len(outside)} images are links out of this folder: {shorten_list(outside)}. Copy "
            "the files here or name the folder that really holds them."
        )
    source = file_source(
        f"folder:{folder.name}",
        (),
        image_ids,
        lambda index: folder / image_ids[index],
        lambda index: {"image_id": image_ids[index]},
    )
    note = (
        f"{folder}: {passed_over} passed over; read are {', '.join(SUFFIXES)}: convert them to have them read"
    )
    return dataclasses.replace(source, notes=(note,) if passed_over else ())


def describe_passed_over(paths: Iterable[str]) -> str:
    """Count the pictures that are not read, by suffix: "3 files (.tif 2, .gif 1)"; "" for none."""
    suffixes = Counter(pathlib.PurePosixPath(path).suffix.lower() for path in paths)
    counts = [(suffix, count) for suffix, count in suffixes.most_common() if suffix in OTHER_SUFFIXES]
    if not counts:
        return ""
    total = sum(count for _, count in counts)
    listed = ", ".join(f"{suffix} {count:,}" for suffix, count in counts)
    return f"{total:,} file{'s' if total > 1 else ''} ({listed})"


def read_class_folder(root: str | os.PathLike) -> Source:
    """Read `root/<class>/.../*.jpg`: classes and images in the order of their names, classes from 0.

    `image_id` is the path below `root`. Hidden folders are left out, linked ones are not entered.

    Raises:
        InputError: a missing folder, no class or an empty one, images beside the classes, or links out of it.
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

    return dataclasses.replace(
        images,
        name=f"class folder {folder}",
        categories=tuple(Category(number, name) for name, number in numbers.items()),
        read_labels=read_labels,
    )


def check_same_classes(train: Source, other: Source) -> None:
    """Compare the classes of two splits.

    Raises:
        InputError: they differ; the message names the differing classes.
    """
    if train.categories == other.categories:
        return
    names, other_names = dict(train.categories).values(), dict(other.categories).values()
    missing = {
        train.name: [name for name in names if name not in other_names],
        other.name: [name for name in other_names if name not in names],
    }
    found = "; ".join(f"only in {source}: {shorten_list(only)}" for source, only in missing.items() if only)
    raise InputError(f"the classes of train and val differ; {found}. Give both the same.")


def _relative_paths(root: pathlib.Path) -> list[str]:
    found = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            (pathlib.Path(folder) / name).relative_to(root).as_posix()
            for name in files
            if name.lower().endswith((*SUFFIXES, *OTHER_SUFFIXES)) and not name.startswith(".")
        ]
    return found


def _check_images(
    folder: pathlib.Path, names: list[str], image_ids: tuple[str, ...], class_names: list[str]
) -> None:
    counts = Counter(class_names)
    empty = [name for name in names if not counts[name]]
    if empty:
        raise InputError(
            f"{folder}: {len(empty)} classes have no image: {shorten_list(empty)}. Fill these folders or "
            "remove them (a linked folder is not entered)."
        )
    stray = [image_id for image_id in image_ids if "/" not in image_id]
    if stray:
        raise InputError(
            f"{folder}: {len(stray)} images lie beside the classes: {shorten_list(stray)}. Move each into "
            "its class."
        )
