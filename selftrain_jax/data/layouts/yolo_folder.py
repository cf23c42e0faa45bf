"""YOLO's folders: data.yaml or darknet's obj.data, images and text files beside or in labels/.

Call `find_yolo`, then `read_yolo`. An image without a text file has no objects.

Reference: docs.ultralytics.com/datasets/detect; opencv.github.io/cvat, "YOLO 1.1".
"""

import pathlib
from collections import Counter
from typing import Any, NamedTuple

import yaml

from selftrain_jax.data.formats.shapes import ImageLabels
from selftrain_jax.data.formats.yolo import parse_lines, parse_names
from selftrain_jax.data.image_files import find_image, read_file, read_image_size
from selftrain_jax.data.layouts.label_set import LabelSet, SplitLabels, in_words, name_images, number_classes
from selftrain_jax.data.layouts.tree import Tree, canonical, clean_name, split_of
from selftrain_jax.data.source import Problem
from selftrain_jax.data.sources.image_folder import SUFFIXES
from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.text import shorten_list

NAME_FILES = r"(.*/)?(classes|obj|_darknet|labels)\.(txt|names|labels)"
SPLIT_KEYS = ("train", "val", "valid", "validation", "test")


class YoloFolder(NamedTuple):
    """Where the names and the images of each split are."""

    format: str
    where: str  # the file that says so
    names: dict[int, str]
    splits: dict[str, list[str]]  # images below the root
    problems: dict[str, list[Problem]]
    has_key_points: bool = False


def find_yolo(tree: Tree, class_names: tuple[str, ...] = ()) -> YoloFolder | None:
    """Recognise YOLO's layout; `class_names` are for a folder whose names are in no file.

    Raises:
        InputError: data.yaml is malformed, or the folder's names are in no file.
    """
    listed = sorted(tree.matching(r"([^/]*/)?[^/]*\.ya?ml"), key=lambda path: (path.count("/"), _rank(path)))
    for path in listed:
        document = _load_yaml(tree, path)
        if isinstance(document, dict) and "names" in document and set(document) & set(SPLIT_KEYS):
            return _from_yaml(tree, path, document)
    darknet = tree.matching(r"([^/]*/)?obj\.data")
    if darknet:
        return _from_darknet(tree, darknet[0])
    return _from_folders(tree, class_names)


def read_yolo(tree: Tree, found: YoloFolder) -> LabelSet:
    """Read every label file.

    Raises:
        InputError: not one image has its label file.
    """
    left_out: Counter[str] = Counter()
    known = set(tree.files)
    splits = {name: _read_split(tree, found, name, known, left_out) for name in found.splits}
    has_text = any(label_path(path) in known for paths in found.splits.values() for path in paths)
    if not has_text:
        first = next((path for paths in found.splits.values() for path in paths), "images/a.jpg")
        raise InputError(
            f"{tree.root}: none of the images has its label file; expected {label_path(first)} for {first}. "
            "Put the labels there."
        )
    names = [found.names.get(number, f"class {number}") for number in range(max(found.names) + 1)]
    note = f"number in {pathlib.PurePosixPath(found.where).name} plus 1, as 0 is the background"
    categories = number_classes(names, found.where)
    categories = tuple(category for category in categories if category.id - 1 in found.names)
    return LabelSet(found.format, tree.root, splits, categories, note, in_words(left_out))


def label_path(image: str) -> str:
    """Return an image's label file: `labels` for the last folder `images`, .txt for the suffix."""
    folder, _, name = f"/{image}".rpartition("/")
    parts = folder.split("/")
    if "images" in parts:
        place = len(parts) - 1 - parts[::-1].index("images")
        parts[place] = "labels"
    return "/".join([*parts, name.rpartition(".")[0] + ".txt"]).lstrip("/")


def _rank(path: str) -> int:
    name = path.rpartition("/")[2].lower()
    return {"data.yaml": 0, "data.yml": 1, "dataset.yaml": 2}.get(name, 3)


def _load_yaml(tree: Tree, path: str) -> Any:
    content = read_file(tree.root / path)
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if _rank(path) == 3:
            return None
        raise InputError(f"{tree.root / path}: not YAML ({str(error)[:300]}). Fix the file.") from error


def _from_yaml(tree: Tree, path: str, document: dict[str, Any]) -> YoloFolder:
    where = str(tree.root / path)
    base = path.rpartition("/")[0]
    own = document.get("path")
    inside = clean_name(own) if isinstance(own, str) else ""
    bases = [f"{base}/{inside}".strip("/"), base, ""]
    splits: dict[str, list[str]] = {}
    problems: dict[str, list[Problem]] = {}
    for key in SPLIT_KEYS:
        entries = document.get(key)
        entries = [entries] if isinstance(entries, str) else entries
        if entries in (None, []):
            continue
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise InputError(f"{where}: {key} is {show(entries)}; expected a folder, a text file or a list.")
        name = "val" if canonical(key) == "val" else key
        splits[name], problems[name] = [], []
        for entry in entries:
            images, faults = _resolve(tree, entry, bases, where)
            splits[name] += images
            problems[name] += faults
    _require_images(splits, problems, where)
    names = parse_names(document["names"], where)
    format = f"YOLO ({pathlib.PurePosixPath(path).name})"
    return YoloFolder(format, where, names, splits, problems, bool(document.get("kpt_shape")))


def _require_images(splits: dict[str, list[str]], problems: dict[str, list[Problem]], where: str) -> None:
    """Refuse a split without images; test is dropped, as tools write its path whether there is one or not."""
    for name in [name for name, images in splits.items() if not images]:
        if name != "test" or len(splits) == 1:
            found = "; ".join(problem.message for problem in problems[name][:3]) or "no images"
            raise InputError(f"{where}: {name}: {found}. Put the images there or fix the path.")
        del splits[name], problems[name]


def _resolve(tree: Tree, entry: str, bases: list[str], where: str) -> tuple[list[str], list[Problem]]:
    """Find the images of a folder, of a text file that lists them, or one image."""
    text = clean_name(entry)
    parts = text.split("/")
    # The whole path below any base, then without its first parts: ../train/images, /content/data/train.
    tried = [f"{base}/{'/'.join(parts[skip:])}".strip("/") for skip in range(len(parts)) for base in bases]
    known = set(tree.files)
    for path in tried:
        if path in known and path.lower().endswith(".txt"):
            return _read_list(tree, path, bases)
        if path in known and path.lower().endswith(SUFFIXES):
            return [path], []
        inside = [
            file for file in tree.files if file.startswith(f"{path}/") and file.lower().endswith(SUFFIXES)
        ]
        if inside:
            return inside, []
    if text == "":
        return [file for file in tree.files if file.lower().endswith(SUFFIXES)], []
    return [], [Problem("missing_image", where, f"{entry!r:.300} is no folder or file below {tree.root}")]


def _read_list(tree: Tree, path: str, bases: list[str]) -> tuple[list[str], list[Problem]]:
    images: list[str] = []
    problems: list[Problem] = []
    known = set(tree.files)
    folder = path.rpartition("/")[0]
    for number, line in enumerate(read_file(tree.root / path).decode("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        parts = clean_name(line.strip()).split("/")
        ends = ["/".join(parts[skip:]) for skip in range(len(parts))]
        tried = [f"{base}/{end}".strip("/") for end in ends for base in dict.fromkeys([folder, *bases])]
        found = next((name for name in tried if name in known), None)
        if found is None:
            message = f"image {line.strip()!r:.300} is not below {tree.root}"
            problems.append(Problem("missing_image", f"{tree.root / path}:{number}", message))
        else:
            images.append(found)
    return images, problems


def _from_darknet(tree: Tree, path: str) -> YoloFolder:
    where = str(tree.root / path)
    lines = read_file(tree.root / path).decode("utf-8", "replace").splitlines()
    values = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    base = path.rpartition("/")[0]
    splits: dict[str, list[str]] = {}
    problems: dict[str, list[Problem]] = {}
    for key in SPLIT_KEYS:
        if values.get(key):
            splits[key], problems[key] = _resolve(tree, values[key], [base, ""], where)
    _require_images(splits, problems, where)
    files = tree.matching(r"(.*/)?[^/]+\.names")
    if not files or not splits:
        raise InputError(f"{where}: expected train = a list of images, and a .names file beside it.")
    return YoloFolder(
        "YOLO (obj.data)", str(tree.root / files[0]), _read_names(tree, files[0]), splits, problems
    )


def _from_folders(tree: Tree, class_names: tuple[str, ...]) -> YoloFolder | None:
    texts = set(tree.matching(r"(.*/)?labels/.*\.txt"))
    images = [path for path in tree.files if path.lower().endswith(SUFFIXES) and "images" in path.split("/")]
    if not any(label_path(path) in texts for path in images):
        return None
    files = [path for path in tree.matching(NAME_FILES) if path.rpartition("/")[2].lower() != "labels.txt"]
    if files:
        names, where = _read_names(tree, files[0]), str(tree.root / files[0])
    elif class_names:
        names, where = dict(enumerate(class_names)), "config.data.classes"
    else:
        raise InputError(
            f"{tree.root}: images/ and labels/ are YOLO's, but no file names the classes; expected data.yaml "
            "or classes.txt, or --config.data.classes=NAME,NAME in the order of their numbers."
        )
    splits: dict[str, list[str]] = {}
    for path in images:
        splits.setdefault(split_of(path), []).append(path)
    if len(splits) > 1 and "" in splits:
        beside = splits.pop("")
        raise InputError(
            f"{tree.root}: {len(beside)} images are in no split ({shorten_list(beside)}), others are in "
            f"{', '.join(splits)}. Move them, or write a data.yaml."
        )
    return YoloFolder("YOLO (images/ and labels/)", where, names, splits, {name: [] for name in splits})


def _read_names(tree: Tree, path: str) -> dict[int, str]:
    lines = read_file(tree.root / path).decode("utf-8-sig", "replace").splitlines()
    return parse_names([line.strip() for line in lines if line.strip()], str(tree.root / path))


def _read_split(
    tree: Tree, found: YoloFolder, name: str, known: set[str], left_out: Counter[str]
) -> SplitLabels:
    split = SplitLabels([], [], [], list(found.problems[name]))
    for image in dict.fromkeys(found.splits[name]):
        path = find_image(tree.root, image, found.where)
        if isinstance(path, Problem):
            split.problems.append(path)
            continue
        text = label_path(image)
        text = text if text in known else image.rpartition(".")[0] + ".txt"
        where = str(tree.root / text)
        try:
            size = read_image_size(path)
            lines = read_file(tree.root / text).decode("utf-8-sig") if text in known else ""
        except (InputError, UnicodeDecodeError) as error:
            split.problems.append(Problem("malformed", str(path), str(error)))
            continue
        left_out["images without a text file, taken as without objects"] += text not in known
        shapes, faults = parse_lines(lines, found.names, size, where, has_key_points=found.has_key_points)
        split.problems.extend(faults)
        split.images.append(ImageLabels(image, tuple(shapes), None, f"{where}:{{}}"))
        split.paths.append(path)
        split.sizes_px.append(size)
    return name_images(split, tree.root)
