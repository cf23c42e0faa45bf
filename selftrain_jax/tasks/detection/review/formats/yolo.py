"""YOLO: data.yaml, images/ and labels/; call `write_yolo` and `read_yolo`.

A line is `class cx cy width height`, in fractions of the image; some tools add a confidence or draw polygons.
Reference: https://docs.ultralytics.com/datasets/detect
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write, show
from selftrain_jax.run_files.review import Review, SentBox
from selftrain_jax.tasks.detection.review.formats.returned import RawBox, ReturnedImage, enclose, read_numbers

FILE, NAMES_FILE = "data.yaml", "classes.txt"
OTHER_TEXTS = (NAMES_FILE, "obj.names", "train.txt", "val.txt", "valid.txt", "test.txt", "README.txt")


def write_yolo(review: Review, folder: Path, *, scores: bool) -> None:
    """Write data.yaml and a text for each image, empty where it has no box.

    With `scores` every line has the score at its end, which many tools refuse. Where images are files of
    their own, images/ has links to them: YOLO finds an image's labels by its path.
    """
    numbers = {category.id: number for number, category in enumerate(review.categories)}
    images = folder / "images"
    for image in review.images:
        text = (folder / "labels" / image.name).with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(text) as file:
            file.writelines(_line(box, image.size_px, numbers[box.class_id], scores) for box in image.boxes)
        link = images / image.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(image.path)
    names = "".join(f"  {numbers[id]}: {json.dumps(name)}\n" for id, name in review.categories)
    with atomic_write(folder / FILE) as file:
        file.write(f"path: .\ntrain: images\nval: images\nnames:\n{names}")


def _line(box: SentBox, size_px: tuple[int, int], number: int, scores: bool) -> str:
    height, width = size_px
    ymin, xmin, ymax, xmax = box.box
    values = (
        (xmin + xmax) / 2 / width,
        (ymin + ymax) / 2 / height,
        (xmax - xmin) / width,
        (ymax - ymin) / height,
    )
    columns = [*values, *([box.score] if scores else [])]
    return f"{number} {' '.join(f'{value:.8f}' for value in columns)}\n"


def read_yolo(folder: Path) -> list[ReturnedImage]:
    """Read the texts below a folder; an image without a text has not been looked at.

    Raises:
        InputError: no names of classes, or a line is not of YOLO's form.
    """
    names = _read_names(folder)
    texts = sorted(path for path in folder.rglob("*.txt") if path.name not in OTHER_TEXTS)
    return [_read_text(path, folder, names) for path in texts]


def _read_text(path: Path, folder: Path, names: dict[int, str]) -> ReturnedImage:
    lines = _decode(path).splitlines()
    boxes = [
        _read_line(line.split(), names, f"{path}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    parts = path.relative_to(folder).with_suffix("").parts
    below = parts[parts.index("labels") + 1 :] if "labels" in parts[:-1] else parts
    return ReturnedImage(("/".join(below), path.stem), tuple(boxes), str(path), is_relative=True)


def _read_line(words: list[str], names: dict[int, str], where: str) -> RawBox:
    values = read_numbers(words, len(words), where, "the line")
    if values[0] != int(values[0]) or int(values[0]) not in names:
        raise InputError(
            f"{where}: class {words[0]} is not one of the {len(names)} in {FILE} or {NAMES_FILE}"
        )
    name = names[int(values[0])]
    if len(values) in (5, 6):
        x, y, width, height = values[1:5]
        box = np.array([y - height / 2, x - width / 2, y + height / 2, x + width / 2])
        return RawBox(box, name, None, where)
    if len(values) < 7 or len(values) % 2 == 0:
        raise InputError(
            f"{where}: {len(values)} numbers; expected class, centre and size (5), with a confidence (6), or "
            "a class and the points of a polygon"
        )
    return RawBox(enclose(values[1:].reshape(-1, 2).tolist()), name, None, where)


def _read_names(folder: Path) -> dict[int, str]:
    """Read the classes by number from data.yaml, else from classes.txt, one a line."""
    yamls = sorted(folder.glob("*.yaml")) + sorted(folder.glob("*.yml"))
    if yamls:
        return _read_yaml(yamls[0])
    for name in (NAMES_FILE, "obj.names"):
        if (folder / name).is_file():
            return dict(enumerate(_decode(folder / name).split("\n")))
    raise InputError(
        f"{folder}: neither {FILE} nor {NAMES_FILE} says what the numbers of classes are; put the {FILE} of "
        "the export there"
    )


def _read_yaml(path: Path) -> dict[int, str]:
    try:
        document: Any = yaml.safe_load(_decode(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
    names = document.get("names") if isinstance(document, dict) else None
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(found, dict) or not all(isinstance(key, int) for key in found):
        raise InputError(
            f"{path}: names is {show(names)}; expected the names of classes, a list or by number"
        )
    return {key: str(name) for key, name in found.items()}


def _decode(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error})") from None
