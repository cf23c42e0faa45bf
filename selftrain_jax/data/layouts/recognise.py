"""A data set as it lies on the disk: which format it is, and its labels; call `read_labels`.

Not in the paper. Recognising looks at file names, and at the head documents (data.yaml, one JSON file).
"""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from selftrain_jax.data.image_files import unpack_command
from selftrain_jax.data.layouts.coco_folder import ROBOFLOW_FILE, find_coco, from_files, read_coco
from selftrain_jax.data.layouts.label_set import LabelSet
from selftrain_jax.data.layouts.splits import describe_splits
from selftrain_jax.data.layouts.tool_files import (
    find_open_images,
    read_label_studio,
    read_labelme,
    read_open_images,
    read_voc_files,
    sniff_json,
)
from selftrain_jax.data.layouts.tree import Tree, list_files, stamp
from selftrain_jax.data.layouts.yolo_folder import find_yolo, read_yolo
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list

MAX_SNIFFED = 50  # JSON files at the top that are looked into


class Hints(NamedTuple):
    """What the config says of a folder whose format it does not name."""

    splits: tuple[str, ...] = ()  # that the run asks for
    annotations: str = ""  # templates of kind=coco
    images: str = ""
    class_names: tuple[str, ...] = ()  # where no file has them


class VocLists(NamedTuple):
    """Pascal VOC with lists of images, which `read_voc` reads."""

    root: pathlib.Path
    splits: tuple[str, ...]
    is_one_based: bool  # False: CVAT's


def read_labels(root: pathlib.Path, hints: Hints, *, outlines: bool) -> LabelSet | VocLists:
    """Recognise a folder and read all its labels; the same folder unchanged is read once.

    Raises:
        InputError: no format is recognised, or the files of the one that is are malformed.
    """
    tree = _descend(list_files(root))
    return _read(tree.root, stamp(tree), hints, outlines)


@functools.lru_cache(maxsize=2)
def _read(root: pathlib.Path, _stamp: str, hints: Hints, outlines: bool) -> LabelSet | VocLists:
    tree = list_files(root)
    found = recognise(tree, hints, outlines=outlines)
    if found is None:
        raise _unknown(tree)
    return found()


def _descend(tree: Tree) -> Tree:
    """Enter the only folder of a folder that holds nothing else, as archives unpack."""
    for _ in range(3):
        tops = {path.partition("/")[0] for path in tree.files}
        if len(tops) != 1 or not (tree.root / next(iter(tops))).is_dir():
            break
        only = next(iter(tops))
        if only in ("Annotations", "annotations", "images", "labels", "train"):
            break
        tree = list_files(tree.root / only)
    return tree


def recognise(
    tree: Tree, hints: Hints, *, outlines: bool = False
) -> Callable[[], LabelSet | VocLists] | None:
    """Return the reader of a folder's format, the first that fits; None where none does.

    Raises:
        InputError: a format is recognised, but its head document is malformed.
    """
    voc = find_voc_lists(tree)
    if voc is not None:
        return lambda: voc
    own = find_coco(tree, hints.splits, hints.annotations, hints.images) if hints.annotations else None
    if own is not None and own.format.startswith("COCO ("):
        return lambda: read_coco(tree, own, outlines=outlines)
    yolo = find_yolo(tree, hints.class_names)
    if yolo is not None:
        return lambda: read_yolo(tree, yolo)
    coco = find_coco(tree, hints.splits)
    if coco is not None:
        return lambda: read_coco(tree, coco, outlines=outlines)
    csv = find_open_images(tree)
    if csv is not None:
        return lambda: read_open_images(tree, *csv)
    return _recognise_by_content(tree, outlines)


def _recognise_by_content(tree: Tree, outlines: bool) -> Callable[[], LabelSet] | None:
    tops = tree.matching(r"[^/]*\.json")
    kinds: dict[str, list[str]] = {}
    for path in tops[:MAX_SNIFFED]:
        kinds.setdefault(sniff_json(tree, path), []).append(path)
    if "coco" in kinds:
        coco = from_files(kinds["coco"])
        return lambda: read_coco(tree, coco, outlines=outlines)
    if "label_studio" in kinds:
        return lambda: read_label_studio(tree, kinds["label_studio"])
    deeper = [path for path in tree.matching(r".*\.json") if path not in tops][:3]
    if "labelme" in kinds or any(sniff_json(tree, path) == "labelme" for path in deeper):
        return lambda: read_labelme(tree)
    files = tree.matching(r".*\.xml")
    return (lambda: read_voc_files(tree, files)) if files and tree.images else None


def find_voc_lists(tree: Tree) -> VocLists | None:
    """Recognise Pascal VOC's folders, with the splits of ImageSets/Main but for VOC's lists by class."""
    lists = tree.matching(r"ImageSets/Main/[^/]*\.txt")
    if not lists or not tree.matching(r"Annotations/.*\.xml"):
        return None
    names = [pathlib.PurePosixPath(path).stem for path in lists]
    splits = tuple(name for name in names if not any(name.endswith(f"_{other}") for other in names))
    return VocLists(tree.root, splits, not tree.matching(r"labelmap\.txt"))


def describe(labels: LabelSet, chosen: Mapping[str, str], classes: str, outlines: bool) -> tuple[str, ...]:
    """Say in at most three lines what was recognised: format and splits, classes, what was decided.

    `chosen` is the split on the disk for each name that the run asks for; `classes` lists them with ids.
    """
    sizes = {name: len(split.images) for name, split in labels.splits.items()}
    lines = [
        f"data: {labels.format} in {labels.root}: {describe_splits(dict(chosen), sizes)}",
        f"classes: {classes} ({labels.class_note})",
    ]
    decided = [*_count_shapes(labels, outlines), *labels.decisions]
    return (*lines, f"decided: {'; '.join(decided)}") if decided else tuple(lines)


def list_classes(categories: tuple[tuple[int, str], ...]) -> str:
    """Write classes with their ids: "1 car, 2 dog and 3 more"."""
    return shorten_list([f"{number} {name}" for number, name in categories], 10)


def _count_shapes(labels: LabelSet, outlines: bool) -> list[str]:
    shapes = [shape for split in labels.splits.values() for image in split.images for shape in image.shapes]
    outlined = sum(bool(shape.outline) for shape in shapes)
    crowds = sum(shape.is_crowd for shape in shapes)
    scored = sum(shape.score is not None for shape in shapes)
    words = []
    if outlines and outlined < len(shapes):
        words.append(
            f"{len(shapes) - outlined:,} of {len(shapes):,} objects are boxes alone: their pixels are ignored"
        )
    if not outlines and outlined:
        words.append(f"{outlined:,} of {len(shapes):,} boxes are the bounds of outlines")
    words += [f"{crowds:,} boxes are crowds, neither trained on nor measured"] if crowds else []
    words += [f"{scored:,} boxes have a score, as predictions do, and are taken as labels"] if scored else []
    return words


def _unknown(tree: Tree) -> InputError:
    tops = sorted({path.partition("/")[0] + ("/" if "/" in path else "") for path in tree.files})
    commands = [unpack_command(tree.root / path) for path in tree.files if unpack_command(tree.root / path)]
    hint = f" Unpack it first: {commands[0]}." if commands else ""
    num_images = sum(map(len, tree.images.values()))
    return InputError(
        f"{tree.root}: no known format of labels; it holds {shorten_list(tops, 8) or 'nothing'} with "
        f"{num_images:,} images.{hint} Expected data.yaml with images/ and labels/ (YOLO), "
        f"train/{ROBOFLOW_FILE} or annotations/instances_train.json (COCO), Annotations/ with "
        "ImageSets/Main (VOC), or the JSON of Label Studio or LabelMe: docs/own_data.md lists them. Or name "
        "the format: --config.data.kind=coco."
    )
