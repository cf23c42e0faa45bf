"""Masks by config.data.kind=auto: PNG masks where they lie, else class maps painted from outlines.

Call `open_auto`.
"""

import dataclasses
import pathlib
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from selftrain_jax.data.image_files import fill_template, is_file, read_file
from selftrain_jax.data.layouts.label_set import LabelSet
from selftrain_jax.data.layouts.recognise import list_classes
from selftrain_jax.data.layouts.sources import mask_classes, mask_source
from selftrain_jax.data.layouts.splits import resolve_split
from selftrain_jax.data.layouts.tree import canonical
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.class_colors import Colors, read_labelmap
from selftrain_jax.data.sources.paired_folders import read_mask_folder
from selftrain_jax.data.sources.voc_masks import SPLIT_SIZES, read_voc_masks
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.auto_kind import notes_of, read_folder
from selftrain_jax.tasks.config_values import class_names

VOC_LISTS = "ImageSets/Segmentation/{split}.txt"


class MaskFolders(NamedTuple):
    """PNG masks that were found: templates below the folder, and the splits that exist."""

    format: str
    images: str
    masks: str
    lists: str
    splits: tuple[str, ...]


def open_auto(config: ConfigDict, group: str, split: str, root: pathlib.Path) -> Source:
    """Recognise a folder and open a split of it with masks.

    Raises:
        InputError: nothing is recognised, the labels have no outlines, or files are malformed.
    """
    if _is_voc_2012(root):
        return read_voc_masks(root, split, sbd=config.data.sbd)
    found = find_mask_folders(config, root)
    if found is not None:
        return _open_folders(config, group, split, root, found)
    read = read_folder(config, group, split, outlines=True)
    if not isinstance(read.labels, LabelSet):
        raise InputError(
            f"{root}: Pascal VOC's boxes, without SegmentationClass; masks need outlines. Export masks, or "
            "train a detector: configs/own_data.py."
        )
    wanted = class_names(config)
    categories = mask_classes(read.labels, wanted).categories
    notes = notes_of(config, group, read, categories, outlines=True)
    return mask_source(read.labels, read.split, wanted, notes)


def read_folder_of_masks(config: ConfigDict, root: pathlib.Path, split: str, **changes: Any) -> Source:
    """Read images and PNG masks as config.data says, but for `changes`. Raises: as `read_mask_folder`."""
    data = config.data
    options: dict[str, Any] = dict(
        images=data.images,
        masks=data.masks,
        class_names=class_names(config),
        values=data.mask_values,
        ignore_value=data.ignore_value,
        image_suffix=data.image_suffix,
        mask_suffix=data.mask_suffix,
        lists=data.lists,
        colors=data.mask_colors,
    )
    return read_mask_folder(root, split, **{**options, **changes})


def find_mask_folders(config: ConfigDict, root: pathlib.Path) -> MaskFolders | None:
    """Find PNG masks: by the run's own templates, in images/ and masks/, or as VOC has them."""
    data = config.data
    if data.images and data.masks:
        own = _with_splits("images and masks", data.images, data.masks, data.lists, root)
        if own.splits:
            return own
    for images, masks in (("{split}/images", "{split}/masks"), ("images/{split}", "masks/{split}")):
        found = _with_splits("images and masks", images, masks, "", root)
        if found.splits:
            return found
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return MaskFolders("images and masks", "images", "masks", "", ("",))
    if (root / "SegmentationClass").is_dir():
        lists = sorted(path.stem for path in root.glob(VOC_LISTS.format(split="*")))
        return MaskFolders("VOC's masks", "JPEGImages", "SegmentationClass", VOC_LISTS, tuple(lists) or ("",))
    return None


def _with_splits(format: str, images: str, masks: str, lists: str, root: pathlib.Path) -> MaskFolders:
    """Return the templates with the splits for which both folders are there."""
    before, _, _ = masks.partition("{split}")
    there = (
        sorted(path.name for path in (root / before).glob("*") if path.is_dir()) if "{split}" in masks else []
    )
    splits = [
        name
        for name in there
        if canonical(name)
        and all((root / fill_template(text, name, "config.data.masks")).is_dir() for text in (images, masks))
    ]
    return MaskFolders(format, images, masks, lists, tuple(splits))


def _open_folders(
    config: ConfigDict, group: str, split: str, root: pathlib.Path, found: MaskFolders
) -> Source:
    data = config.data
    divided = data.get("split", "") if group == "data" else None
    name = resolve_split(split, found.splits, str(root), divided)
    names, colors = class_names(config), data.mask_colors
    labelmap = root / "labelmap.txt"
    if is_file(labelmap):
        listed, by_color = read_labelmap(read_file(labelmap).decode("utf-8", "replace"), str(labelmap))
        names, colors = names or listed, colors or _recolor(by_color, listed, names or listed)
    if not names:
        raise InputError(
            f"{root}: PNG masks, whose classes no file names. Name them in the order of their values: "
            "--config.data.classes=background,..."
        )
    lists = found.lists if found.splits != ("",) else ""
    options = dict(images=found.images, masks=found.masks, lists=lists, colors=colors)
    source = read_folder_of_masks(config, root, name, class_names=names, **options)
    listed_splits = ", ".join(filter(None, found.splits)) or "no splits"
    renamed = "" if name in (split, "") else f" ({name} is {split})"
    note = f"data: {found.format} in {root}: {listed_splits}{renamed}"
    how = "labelmap.txt" if is_file(labelmap) else "config.data.classes"
    return dataclasses.replace(source, notes=(note, f"classes: {list_classes(source.categories)} ({how})"))


def _recolor(colors: Colors, listed: tuple[str, ...], names: tuple[str, ...]) -> Colors:
    """Return the colours with the numbers that the classes have in `names`; others become background."""
    numbers = {number: names.index(name) if name in names else 0 for number, name in enumerate(listed)}
    return {color: numbers[number] for color, number in colors.items()}


def _is_voc_2012(root: pathlib.Path) -> bool:
    """Say whether it is VOC 2012 itself, by the length of its list of train."""
    for folder in (root, root / "VOC2012", root / "VOCdevkit/VOC2012"):
        path = folder / VOC_LISTS.format(split="train")
        if is_file(path):
            return len(read_file(path).split()) == SPLIT_SIZES["train"]
    return False
