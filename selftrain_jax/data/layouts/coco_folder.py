"""Folders with COCO's JSON as tools write them: Roboflow's, COCO's own names, CVAT's, our own, one file.

Call `find_coco`, then `read_coco`.
"""

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from selftrain_jax.data.formats.shapes import ImageLabels, Shape, read_whole
from selftrain_jax.data.image_files import fill_template, read_file
from selftrain_jax.data.layouts.label_set import LabelSet, SplitLabels
from selftrain_jax.data.layouts.tree import Tree, canonical, make_finder
from selftrain_jax.data.sources.coco import take_records
from selftrain_jax.data.sources.coco_records import read_boxes, read_categories, read_images
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json
from selftrain_jax.types import MAX_CLASS_ID, Category

ROBOFLOW_FILE = "_annotations.coco.json"
# Of COCO's annotation files: those of other tasks, and of the images alone.
OTHER_TASKS = ("captions_", "person_keypoints_", "panoptic_", "stuff_", "image_info_")


class CocoFolder(NamedTuple):
    """The annotation file of each split, and where its images may be, below the root."""

    format: str
    files: dict[str, str]
    folders: Callable[[str, str], list[str]]  # (split, file)


def find_coco(
    tree: Tree, splits: tuple[str, ...], annotations: str = "", images: str = ""
) -> CocoFolder | None:
    """Recognise the files by their names; `annotations` and `images` are the run's own templates."""
    if annotations:
        own = {split: fill_template(annotations, split, "config.data.annotations") for split in splits}
        files = {split: path for split, path in own.items() if path in tree.files}
        if files:
            top = images.strip("/").replace("{split}", "\0")
            folders = lambda split, path: [top.replace("\0", split), *_places(split, path)]  # noqa: E731
            return CocoFolder(f"COCO ({annotations})", files, folders)
    found = tree.matching(rf"([^/]*/)*{re.escape(ROBOFLOW_FILE)}")
    if found:
        files = {path.rpartition("/")[0].rpartition("/")[2]: path for path in found}
        return CocoFolder("COCO as Roboflow exports it", files, _places)
    found = tree.matching(r"annotations/[^/]*\.json")
    found = [path for path in found if not path.rpartition("/")[2].startswith(OTHER_TASKS)]
    instances = [path for path in found if path.rpartition("/")[2].startswith("instances_")]
    if found:
        files = {_split_name(path): path for path in instances or found}
        tool = "CVAT exports it" if set(files) == {""} else "its makers name it"
        return CocoFolder(f"COCO as {tool}" if instances else "COCO", files, _places)
    return None


def from_files(paths: list[str]) -> CocoFolder:
    """Take files that are known to be COCO's, whatever they are called: one is a data set without splits."""
    files = {_split_name(path) if canonical(_split_name(path)) else "": path for path in paths}
    if len(files) < len(paths):
        names = ", ".join(paths[:5])
        raise InputError(
            f"{names}: {len(paths)} COCO files whose names say no split; expected train.json, val.json and "
            "test.json, or one file. Rename them."
        )
    return CocoFolder("COCO (one file)" if len(paths) == 1 else "COCO", files, _places)


def read_coco(tree: Tree, found: CocoFolder, *, outlines: bool) -> LabelSet:
    """Read every file; ids from 0 get 1 added, and a class that only groups the others is dropped.

    Raises:
        InputError: a file is malformed as a whole.
    """
    documents = {split: _load(tree, path) for split, path in found.files.items()}
    phantoms = find_phantoms(list(documents.values()))
    ids = [whole for document in documents.values() for whole in _class_ids(document, phantoms)]
    shift = 1 if 0 in ids else 0
    splits: dict[str, SplitLabels] = {}
    categories: dict[str, Category] = {}
    words: list[str] = []
    for split in sorted(found.files, key=lambda name: canonical(name) != "train"):
        document = documents.pop(split)
        names, word = _read_document(tree, found, split, document, phantoms, shift, outlines, splits)
        categories = _merge(categories, names)
        words += [word] if word else []
        del document
    note = "ids of the file plus 1, as 0 is the background" if shift else "ids of the file"
    if phantoms:
        shown = ", ".join(f"{name!r} (id {number})" for number, name in sorted(phantoms))
        note += f"; {shown} only groups the others and has no box: left out"
    kept = tuple(sorted(categories.values()))
    files = {name: (tree.root / found.files[name], _image_folder(split)) for name, split in splits.items()}
    decided = tuple(dict.fromkeys(words))
    return LabelSet(found.format, tree.root, splits, kept, note, decided, outlines, files)


def _image_folder(split: SplitLabels) -> pathlib.Path:
    """Return the folder that the names of a split's images are below; without images one that is not."""
    if not split.images:
        return pathlib.Path()
    name, path = pathlib.PurePosixPath(split.images[0].name), split.paths[0]
    is_below = path.as_posix().endswith(f"/{name}")
    return path.parents[len(name.parts) - 1] if is_below else path.parent


def find_phantoms(documents: list[Mapping[str, Any]]) -> set[tuple[int, str]]:
    """Find the classes without a box that are the supercategory of others, as Roboflow's class 0."""
    records = [record for document in documents for record in document["categories"]]
    known = [record for record in records if isinstance(record, dict) and isinstance(record.get("name"), str)]
    groups = {
        record.get("supercategory") for record in known if record.get("supercategory") != record["name"]
    }
    used = {
        read_whole(annotation.get("category_id"))
        for document in documents
        for annotation in document["annotations"]
        if isinstance(annotation, dict)
    }
    numbered = [
        (read_whole(record.get("id")), record["name"]) for record in known if record["name"] in groups
    ]
    return {(number, name) for number, name in numbered if number is not None and number not in used}


def _read_document(
    tree: Tree,
    found: CocoFolder,
    split: str,
    document: dict[str, list[Any]],
    phantoms: set[tuple[int, str]],
    shift: int,
    outlines: bool,
    splits: dict[str, SplitLabels],
) -> tuple[tuple[Category, ...], str]:
    """Add a split to `splits`; return its classes and a word on how its images were found."""
    file = found.files[split]
    path = str(tree.root / file)
    records = [record for record in document["categories"] if not _is_phantom(record, phantoms)]
    categories, problems = read_categories(records, path, shift=shift)
    listed = [record.get("file_name") for record in document["images"] if isinstance(record, dict)]
    names = [name for name in listed if isinstance(name, str)]
    find, word = make_finder(tree, names, found.folders(split, file))
    images, faults = read_images(document["images"], tree.root, path, find)
    boxes, more = read_boxes(
        document["annotations"], images.indices, categories, path, shift=shift, outlines=outlines
    )
    by_id = {category.id: category.name for category in categories}
    shapes: list[list[Shape]] = [[] for _ in images.paths]
    for box in boxes:
        name = by_id[box.class_id]
        shape = Shape(name, box.yxyx, box.number, box.outline, box.is_crowd, box.area)
        shapes[box.image].append(shape)
    spot = f"{path}, annotations[{{}}]"
    labels = [
        ImageLabels(file.name, tuple(of_image), size, spot, image_id)
        for image_id, file, of_image, size in zip(
            images.indices, images.paths, shapes, images.sizes_px, strict=True
        )
    ]
    splits[split] = SplitLabels(labels, images.paths, images.sizes_px, [*problems, *faults, *more])
    return categories, word


def _load(tree: Tree, file: str) -> dict[str, list[Any]]:
    path = tree.root / file
    document = parse_json(read_file(path), str(path))
    return {key: take_records(document, key, path) for key in ("images", "annotations", "categories")}


def _class_ids(document: dict[str, list[Any]], phantoms: set[tuple[int, str]]) -> list[int | None]:
    kept = [record for record in document["categories"] if not _is_phantom(record, phantoms)]
    return [read_whole(record.get("id")) for record in kept if isinstance(record, dict)]


def _is_phantom(record: Any, phantoms: set[tuple[int, str]]) -> bool:
    return isinstance(record, dict) and (read_whole(record.get("id")), record.get("name")) in phantoms


def _merge(known: dict[str, Category], more: tuple[Category, ...]) -> dict[str, Category]:
    """Add the classes of a further split by name, with their own ids where these are free."""
    merged = dict(known)
    for category in more:
        if category.name in merged:
            continue
        taken = {other.id for other in merged.values()}
        number = category.id if category.id not in taken else max(taken) + 1
        merged[category.name] = Category(min(number, MAX_CLASS_ID), category.name)
    return merged


def _split_name(path: str) -> str:
    name = pathlib.PurePosixPath(path).stem.removeprefix("instances_")
    return "" if name in ("default", "instances") else name


def _places(split: str, file: str) -> list[str]:
    """Return the folders where tools put a split's images, the likeliest first."""
    beside = file.rpartition("/")[0]
    # images/train and train are a split's own; images/default is CVAT's.
    own = [split, f"images/{split}", f"{split}/images", f"{split}/data"] if split else ["images/default"]
    return [beside, *own, "images", "data", ""]
