"""Pairs of images and PNG masks in two folders: your own segmentation data.

Call `read_mask_folder`. Not in the paper.
"""

import functools
import os
import pathlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from selftrain_jax.data.image_files import file_source, fill_template, read_file, read_image_size
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.class_colors import Colors, decode_colors, parse_colors
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.data.sources.png_masks import (
    check_mask,
    check_palette,
    decode_mask,
    first_palette,
    list_values,
    value_counts,
)
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import IGNORED, Category, Example


class ValueTable(NamedTuple):
    """What each value of a mask file means."""

    classes: UInt8[np.ndarray, "256"]  # Category.id, 255 = ignore
    is_known: Bool[np.ndarray, "256"]


class Pair(NamedTuple):
    """An image and its mask."""

    image: pathlib.Path
    mask: pathlib.Path


def read_mask_folder(
    root: str | os.PathLike,
    split: str,
    *,
    images: str = "{split}/images",
    masks: str = "{split}/masks",
    class_names: Sequence[str],
    values: str = "",
    ignore_value: int = 255,
    image_suffix: str = "",
    mask_suffix: str = "",
    lists: str = "",
    colors: Colors | str = "",
) -> Source:
    """Read a split whose masks have the names of their images, but for the suffix.

    `images` and `masks` are folders below `root`; sub-folders are entered. `image_id` is the path below
    `images` without its suffix. `class_names` are the classes from 0. `values` maps the masks' values to
    classes, as "0=0,7=1,8=255" (255 ignores); empty means that they are the classes. `ignore_value` is one
    more value to ignore, -1 for none.

    `image_suffix` and `mask_suffix` are what stands between the common name and the suffix, as `_leftImg8bit`
    and `_gtFine_labelIds`; files without it are passed over. `lists` is a text file below `root` that names
    the split's images without suffix, as "ImageSets/Segmentation/{split}.txt". `colors` are the classes'
    colours, for masks that are no ids, as `parse_colors` reads them.

    Raises:
        InputError: missing folders, unpaired files, bad names, values or templates; on reading, a bad mask.
    """
    categories = _make_categories(class_names)
    table = make_value_table(values, ignore_value, len(categories))
    folder = pathlib.Path(root)
    pairs = pair_up(
        folder / fill_template(images, split, "config.data.images"),
        folder / fill_template(masks, split, "config.data.masks"),
        image_suffix=image_suffix,
        mask_suffix=mask_suffix,
        names=read_list(folder / fill_template(lists, split, "config.data.lists")) if lists else None,
    )
    by_color = parse_colors(colors, len(categories)) if isinstance(colors, str) else colors
    image_ids, files = tuple(pairs), tuple(pairs.values())

    @functools.cache
    def palette() -> tuple[pathlib.Path, UInt8[np.ndarray, "P 3"]] | None:
        return first_palette(pair.mask for pair in files)

    def read_labels(index: int) -> Example:
        pair, reference = files[index], palette()
        where = str(pair.mask)
        if by_color:
            mask = decode_colors(read_file(pair.mask), by_color, where)
            check_mask(mask, read_image_size(pair.image), len(categories), where)
            return {"image_id": image_ids[index], "mask": mask}
        decoded = decode_mask(read_file(pair.mask), where)
        if reference is not None:
            check_palette(decoded, reference[1], str(reference[0]), where)
        mask = translate(decoded.mask, table, where)
        check_mask(mask, read_image_size(pair.image), len(categories), where)
        return {"image_id": image_ids[index], "mask": mask}

    name = f"masks:{folder.resolve().name}/{split}"
    return file_source(name, categories, image_ids, lambda index: files[index].image, read_labels)


def make_value_table(values: str, ignore_value: int, num_classes: int) -> ValueTable:
    """Parse "7=1,8=2" into a table.

    Raises:
        InputError: the text is no such list, or contradicts itself.
    """
    pairs = _parse_values(values) if values.strip() else {number: number for number in range(num_classes)}
    wrong = [
        class_id for class_id in pairs.values() if not (0 <= class_id < num_classes or class_id == IGNORED)
    ]
    if wrong:
        raise InputError(
            f"mask values {values!r} name the classes {shorten_list(sorted(set(wrong)))}; expected 0 to "
            f"{num_classes - 1}, or {IGNORED} to ignore. Name more classes (config.data.classes) or fix "
            "config.data.mask_values."
        )
    if not -1 <= ignore_value <= 255:
        raise InputError(f"config.data.ignore_value is {ignore_value}; expected 0 to 255, or -1 for none.")
    if pairs.setdefault(ignore_value, IGNORED) != IGNORED:
        raise InputError(
            f"the mask value {ignore_value} is both class {pairs[ignore_value]} and "
            "config.data.ignore_value. Choose one of them; ignore_value=-1 ignores nothing."
        )
    pairs.pop(-1, None)
    table = ValueTable(np.full(256, IGNORED, np.uint8), np.zeros(256, bool))
    table.classes[list(pairs)] = list(pairs.values())
    table.is_known[list(pairs)] = True
    return table


def translate(mask: UInt8[np.ndarray, "H W"], table: ValueTable, where: str) -> UInt8[np.ndarray, "H W"]:
    """Turn a file's values into classes.

    Raises:
        InputError: a value has no class and is not ignored.
    """
    counts = value_counts(mask)
    unknown = np.flatnonzero((counts > 0) & ~table.is_known).tolist()
    if unknown:
        known = np.flatnonzero(table.is_known).tolist()
        raise InputError(
            f"{where}: ids outside the classes: {list_values(unknown, counts)}; expected one of "
            f"{', '.join(map(str, known[:25]))}{' ...' if len(known) > 25 else ''}. Name all classes "
            "(config.data.classes), map the values (config.data.mask_values) or set config.data.ignore_value."
        )
    return table.classes[mask]


def _parse_values(values: str) -> dict[int, int]:
    pairs: dict[int, int] = {}
    for item in values.split(","):
        value, _, class_id = (part.strip() for part in item.partition("="))
        are_ids = all(part.isdecimal() and len(part) <= 3 for part in (value, class_id))
        if not are_ids or int(value) > 255 or int(value) in pairs:
            raise InputError(
                f"mask values {values!r}: cannot take {item.strip()[:60]!r}; expected the file's value (0 to "
                "255, each once) and its class, as 0=0,7=1,8=255. Fix config.data.mask_values."
            )
        pairs[int(value)] = int(class_id)
    return pairs


def _make_categories(class_names: Sequence[str]) -> tuple[Category, ...]:
    repeated = [name for name, count in Counter(class_names).items() if count > 1]
    if not 2 <= len(class_names) <= IGNORED or repeated or not all(class_names):
        raise InputError(
            f"class names: {len(class_names)}, repeated: {shorten_list(repeated) or 'none'}; expected 2 to "
            f"{IGNORED} names, each once, for the classes from 0. Set --config.data.classes=background,..."
        )
    return tuple(Category(number, name) for number, name in enumerate(class_names))


def read_list(path: pathlib.Path) -> list[str]:
    """Read a text file that names a split's images, one a line, with or without suffix.

    Raises:
        InputError: it cannot be read, is empty or names one twice.
    """
    lines = read_file(path).decode("utf-8-sig", "replace").splitlines()
    names = [re.sub(r"\.(jpe?g|png|bmp|webp)$", "", line.strip(), flags=re.IGNORECASE) for line in lines]
    names = [name for name in names if name]
    if not names or len(set(names)) < len(names):
        found = f"{len(names) - len(set(names))} names are there twice" if names else "is empty"
        raise InputError(f"{path}: {found}; expected the name of an image a line, each once. Fix the list.")
    return names


def pair_up(
    image_folder: pathlib.Path,
    mask_folder: pathlib.Path,
    *,
    image_suffix: str = "",
    mask_suffix: str = "",
    names: Sequence[str] | None = None,
) -> dict[str, Pair]:
    """Find the image and the mask of each name; `names` are those of a list, else all must have both.

    Raises:
        InputError: files without a partner, with the suffixes that would pair them.
    """
    images, masks = _files_by_stem(image_folder, image_suffix), _files_by_stem(mask_folder, mask_suffix)
    wanted_images, wanted_masks = (names, names) if names is not None else (images, masks)
    unpaired = {
        "images have no mask": [name for name in wanted_images if name not in masks],
        "masks have no image": [name for name in wanted_masks if name not in images],
    }
    faults = [f"{len(stems)} {what}: {shorten_list(stems)}" for what, stems in unpaired.items() if stems]
    if faults:
        flags = _propose_suffixes(list(images), list(masks))
        remedy = f"set {flags}" if flags else "add what is missing or remove the others"
        raise InputError(
            f"{image_folder} and {mask_folder}: {'; '.join(faults)}. Expected masks with the names of "
            f"their images, as a.jpg and a.png; {remedy}."
        )
    return {name: Pair(images[name], masks[name]) for name in wanted_images}


def _propose_suffixes(images: Sequence[str], masks: Sequence[str]) -> str:
    """Return the keys that would pair all images, by how the first one's nearest mask is called."""
    if not images or not masks:
        return ""
    first = images[0]
    best = max(masks, key=lambda name: (_common_start(first, name), name))
    lengths = list(range(_common_start(first, best), 0, -1))
    at_word = [n for n in lengths if not (first[n : n + 1] + best[n : n + 1]).strip("_-. ")]
    for length in (*at_word, *lengths):
        image_suffix, mask_suffix = first[length:], best[length:]
        stems = [name[: len(name) - len(image_suffix)] for name in images if name.endswith(image_suffix)]
        if len(stems) == len(images) and {f"{stem}{mask_suffix}" for stem in stems} <= set(masks):
            keys = {"image_suffix": image_suffix, "mask_suffix": mask_suffix}
            return " ".join(f"--config.data.{key}={value}" for key, value in keys.items() if value)
    return ""


def _common_start(left: str, right: str) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(left), len(right)))


def _files_by_stem(folder: pathlib.Path, suffix: str = "") -> dict[str, pathlib.Path]:
    listed = read_image_folder(folder).image_ids
    stems = {name: pathlib.PurePosixPath(name).with_suffix("").as_posix() for name in listed}
    names = [name for name in listed if stems[name].endswith(suffix)]
    found = {stems[name].removesuffix(suffix): folder / name for name in names}
    if not found:
        raise InputError(f"{folder}: none of {len(listed)} files ends with {suffix!r} before its suffix.")
    if len(found) < len(names):
        repeated = [repr(name) for name in names if folder / name not in found.values()]
        raise InputError(
            f"{folder}: {len(repeated)} files have the name of another but for the suffix: "
            f"{shorten_list(repeated)}; expected each name once, as masks are found by it. Rename or "
            "remove them."
        )
    return found
