"""YOLO: data.yaml, images/ and labels/; call `write_yolo` and `read_yolo`.

A line is `class cx cy width height`, in fractions of the image; some tools add a confidence or draw polygons.
Reference: https://docs.ultralytics.com/datasets/detect
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from selftrain_jax.data.formats.shapes import Shape
from selftrain_jax.data.formats.yolo import parse_lines, parse_names, write_line
from selftrain_jax.data.image_files import read_file
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write
from selftrain_jax.run_files.review import Review, SentBox
from selftrain_jax.tasks.detection.review.formats.returned import RawBox, ReturnedImage

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
            file.writelines(
                write_line(numbers[box.class_id], _shape(box, scores), image.size_px) + "\n"
                for box in image.boxes
            )
        link = images / image.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(image.path)
    names = "".join(f"  {numbers[id]}: {json.dumps(name)}\n" for id, name in review.categories)
    with atomic_write(folder / FILE) as file:
        file.write(f"path: .\ntrain: images\nval: images\nnames:\n{names}")


def _shape(box: SentBox, has_score: bool) -> Shape:
    ymin, xmin, ymax, xmax = map(float, box.box)
    return Shape("", (ymin, xmin, ymax, xmax), 0, score=float(box.score) if has_score else None)


def read_yolo(folder: Path) -> list[ReturnedImage]:
    """Read the texts below a folder; an image without a text has not been looked at.

    Raises:
        InputError: no names of classes, or a line is not of YOLO's form.
    """
    names = _read_names(folder)
    texts = sorted(path for path in folder.rglob("*.txt") if path.name not in OTHER_TEXTS)
    return [_read_text(path, folder, names) for path in texts]


def _read_text(path: Path, folder: Path, names: dict[int, str]) -> ReturnedImage:
    shapes, problems = parse_lines(_decode(path), names, (1, 1), str(path))
    if problems:
        raise InputError(f"{problems[0].where}: {problems[0].message}")
    boxes = [RawBox(np.array(shape.yxyx), shape.name, None, f"{path}:{shape.number}") for shape in shapes]
    parts = path.relative_to(folder).with_suffix("").parts
    below = parts[parts.index("labels") + 1 :] if "labels" in parts[:-1] else parts
    return ReturnedImage(("/".join(below), path.stem), tuple(boxes), str(path), is_relative=True)


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
    return parse_names(document.get("names") if isinstance(document, dict) else None, str(path))


def _decode(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error})") from None
