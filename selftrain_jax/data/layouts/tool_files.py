"""Label Studio's and LabelMe's JSON, Open Images' CSV, and VOC's XML beside the images: found and read.

Call `find_json` or `find_open_images`, then the reader of what they found.
"""

import functools
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping

from selftrain_jax.data.formats import label_studio, labelme, open_images, voc
from selftrain_jax.data.formats.shapes import ImageLabels, Parsed
from selftrain_jax.data.image_files import find_image, is_file, read_file, read_image_size
from selftrain_jax.data.layouts.label_set import (
    LabelSet,
    SplitLabels,
    in_words,
    locate_images,
    name_images,
    number_classes,
    sorted_names,
)
from selftrain_jax.data.layouts.tree import Tree, canonical, find_by_end, split_of
from selftrain_jax.data.source import Problem
from selftrain_jax.data.sources.image_folder import SUFFIXES
from selftrain_jax.data.sources.xml_tree import parse_xml
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json
from selftrain_jax.text import shorten_list

ALPHABET = "in the order of their names, from 1"


def sniff_json(tree: Tree, path: str) -> str:
    """Say what a JSON file holds: coco, label_studio, labelme, or "" for anything else."""
    document = parse_json(read_file(tree.root / path), str(tree.root / path))
    if isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document):
        return "coco"
    if label_studio.is_task_list(document):
        return "label_studio"
    return "labelme" if labelme.is_image_document(document) else ""


def read_label_studio(tree: Tree, paths: list[str]) -> LabelSet:
    """Read task lists; several must say by their names which split each is.

    Raises:
        InputError: they do not, or no image is annotated.
    """
    names = {path: pathlib.PurePosixPath(path).stem for path in paths}
    names = {path: name if len(paths) > 1 or canonical(name) else "" for path, name in names.items()}
    unknown = [path for path, name in names.items() if len(paths) > 1 and not canonical(name)]
    if unknown:
        raise InputError(
            f"{tree.root}: {len(paths)} files of Label Studio, and {shorten_list(unknown)} is not named "
            "train, val or test. Leave one export here, or name each after its split."
        )
    left_out: Counter[str] = Counter()
    splits = {}
    for path, name in names.items():
        where = str(tree.root / path)
        parsed = label_studio.parse_tasks(parse_json(read_file(tree.root / path), where), where)
        left_out += parsed.left_out
        splits[name] = _locate(tree, parsed, lambda labels, where: find_by_end(tree, labels.name, where))
    return _named_set(tree, "Label Studio's JSON", splits, left_out)


def read_labelme(tree: Tree) -> LabelSet:
    """Read LabelMe's files; images without one are left out, as nobody has looked at them."""
    parsed: dict[str, Parsed] = {}
    left_out: Counter[str] = Counter()
    origins: dict[str, str] = {}  # by the start of a shape's spot
    for path in tree.matching(r".*\.json"):
        where = str(tree.root / path)
        document = parse_json(read_file(tree.root / path), where)
        if not labelme.is_image_document(document):
            left_out["JSON files of another kind"] += 1
            continue
        found = labelme.parse_image(document, where)
        of_split = parsed.setdefault(split_of(path), Parsed([], [], Counter()))
        of_split.images.extend(found.images)
        of_split.problems.extend(found.problems)
        left_out += found.left_out
        origins[f"{where}, shapes[{{}}]"] = path
    find = lambda labels, where: _beside(tree, labels, origins[labels.spot], where)  # noqa: E731
    splits = {name: _locate(tree, of_split, find) for name, of_split in parsed.items()}
    _count_unlabelled(tree, splits, left_out, "JSON file")
    return _named_set(tree, "LabelMe's JSON", splits, left_out)


def read_voc_files(tree: Tree, paths: list[str]) -> LabelSet:
    """Read VOC's XML files that no list puts into splits: their folders do (Roboflow's export, LabelImg)."""
    parsed: dict[str, Parsed] = {}
    origins: dict[str, str] = {}
    for path in paths:
        where = str(tree.root / path)
        of_split = parsed.setdefault(split_of(path), Parsed([], [], Counter()))
        try:
            found = voc.parse_annotation(parse_xml(tree.root / path), where)
        except InputError as error:
            of_split.problems.append(Problem("malformed", where, str(error)))
            continue
        of_split.images.extend(found.images)
        of_split.problems.extend(found.problems)
        origins[f"{where}:{{}}"] = path
    find = lambda labels, where: _beside(tree, labels, origins[labels.spot], where)  # noqa: E731
    splits = {name: _locate(tree, of_split, find) for name, of_split in parsed.items()}
    left_out: Counter[str] = Counter()
    _count_unlabelled(tree, splits, left_out, "XML file")
    return _named_set(tree, "VOC's XML beside the images", splits, left_out)


def find_open_images(tree: Tree) -> tuple[dict[str, str], str] | None:
    """Recognise Open Images' CSV files: boxes by split, and the class descriptions ("" for none)."""
    boxes = tree.matching(r"([^/]*/){0,2}[^/]*annotations-bbox[^/]*\.csv")
    named = tree.matching(r"([^/]*/){0,2}[^/]*class-descriptions[^/]*\.csv")
    if not boxes:
        return None
    files = {}
    for path in boxes:
        words = path.rpartition("/")[2].lower().replace("_", "-").split("-")
        files[next((word for word in words if canonical(word)), "")] = path
    return files, next(iter(named), "")


def read_open_images(tree: Tree, files: dict[str, str], descriptions: str) -> LabelSet:
    """Read the boxes of the images that are on the disk; the lists name many that nobody downloads.

    Raises:
        InputError: a file is no such CSV, or not one image is here.
    """
    names: dict[str, str] = {}
    if descriptions:
        names = open_images.parse_descriptions(_lines(tree, descriptions), str(tree.root / descriptions))
    left_out: Counter[str] = Counter()
    splits = {split: _read_csv(tree, path, split, files, names, left_out) for split, path in files.items()}
    used = sorted_names(splits)
    order = [name for name in names.values() if name in used] or used
    categories = number_classes(list(dict.fromkeys(order)), str(tree.root))
    note = "those that occur, in the order of the class descriptions, from 1" if names else ALPHABET
    return LabelSet("Open Images' CSV", tree.root, splits, categories, note, in_words(left_out))


def _read_csv(
    tree: Tree, path: str, split: str, files: dict[str, str], names: dict[str, str], left_out: Counter[str]
) -> SplitLabels:
    images = [file for file in tree.files if file.lower().endswith(SUFFIXES)]
    if len(files) > 1:
        own = [file for file in images if canonical(split_of(file)) == canonical(split)]
        images = own or [file for file in images if not split_of(file)]
    ids = {pathlib.PurePosixPath(file).stem: file for file in images}
    where = str(tree.root / path)
    rows, problems, others = open_images.parse_boxes(_lines(tree, path), names, where, frozenset(ids))
    left_out["rows of images that are not here"] += others
    by_image: dict[str, list[open_images.BoxRow]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    if not by_image:
        raise InputError(
            f"{where}: not one of its images is below {tree.root}; expected files named by ImageID, as "
            f"{split or 'images'}/0001eeaf4aed83f9.jpg. Download the images into this folder."
        )
    left_out["images without a row, left out as nobody verified them"] += len(ids) - len(by_image)
    result = SplitLabels([], [], [], problems)
    for image_id, of_image in by_image.items():
        file = find_image(tree.root, ids[image_id], where)
        if isinstance(file, Problem):
            result.problems.append(file)
            continue
        try:
            size = read_image_size(file)
        except InputError as error:
            result.problems.append(Problem("malformed", str(file), str(error)))
            continue
        shapes = tuple(open_images.to_shape(row, size) for row in of_image)
        result.images.append(ImageLabels(ids[image_id], shapes, None, f"{where}:{{}}"))
        result.paths.append(file)
        result.sizes_px.append(size)
    return name_images(result, tree.root)


def _lines(tree: Tree, path: str) -> list[str]:
    return read_file(tree.root / path).decode("utf-8-sig", "replace").splitlines()


def _locate(
    tree: Tree, parsed: Parsed, find: Callable[[ImageLabels, str], pathlib.Path | Problem]
) -> SplitLabels:
    split = SplitLabels([], [], [], list(parsed.problems))
    for labels in parsed.images:
        where = labels.spot.rpartition(", ")[0] or labels.spot.rpartition(":")[0]
        found = locate_images([labels], functools.partial(_find, find, labels), where)
        split.images.extend(found.images)
        split.paths.extend(found.paths)
        split.sizes_px.extend(found.sizes_px)
        split.problems.extend(found.problems)
    return name_images(split, tree.root)


def _find(
    find: Callable[[ImageLabels, str], pathlib.Path | Problem], labels: ImageLabels, _: str, where: str
) -> pathlib.Path | Problem:
    return find(labels, where)


def _beside(tree: Tree, labels: ImageLabels, origin: str, where: str) -> pathlib.Path | Problem:
    """Find an image by its path from its label file, else beside it under the same name, else anywhere."""
    folder = (tree.root / origin).parent
    name = labels.name.replace("\\", "/")
    direct = pathlib.Path(folder, name)
    if name and is_file(direct) and direct.resolve().is_relative_to(tree.root):
        return find_image(tree.root, direct.resolve().relative_to(tree.root).as_posix(), where)
    stem = (tree.root / origin).with_suffix("")
    for suffix in SUFFIXES:
        for file in (stem.with_suffix(suffix), stem.with_suffix(suffix.upper())):
            if is_file(file):
                return find_image(tree.root, file.relative_to(tree.root).as_posix(), where)
    return find_by_end(tree, name or "image", where)


def _count_unlabelled(
    tree: Tree, splits: Mapping[str, SplitLabels], left_out: Counter[str], what: str
) -> None:
    labelled = {path for split in splits.values() for path in split.paths}
    num_images = sum(len(paths) for paths in tree.images.values())
    left_out[f"images without a {what}, left out as nobody labelled them"] += num_images - len(labelled)


def _named_set(
    tree: Tree, format: str, splits: Mapping[str, SplitLabels], left_out: Counter[str]
) -> LabelSet:
    categories = number_classes(sorted_names(splits), f"{tree.root}, {format}")
    return LabelSet(format, tree.root, splits, categories, ALPHABET, in_words(left_out))
