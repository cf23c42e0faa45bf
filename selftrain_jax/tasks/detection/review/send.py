"""Pseudo labels as files for an annotation tool; call `select_boxes`, `find_files`, then `write_review`."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.image_files import is_file
from selftrain_jax.data.source import Source, encoded_suffix
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.run_files.review import REVIEW_FILE, Review, SentBox
from selftrain_jax.tasks.detection.pseudo.source import is_label
from selftrain_jax.tasks.detection.review.formats.coco import write_coco
from selftrain_jax.tasks.detection.review.formats.cvat import write_cvat
from selftrain_jax.tasks.detection.review.formats.label_studio import write_label_studio
from selftrain_jax.tasks.detection.review.formats.labelme import write_labelme
from selftrain_jax.tasks.detection.review.formats.yolo import write_yolo
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example

IMAGES = "images"  # in the export: images that are in no files of their own


class Layout(NamedTuple):
    """How an export is written, beside its format."""

    url_prefix: str  # Label Studio: before an image's path below url_root; "": the absolute path
    url_root: Path
    yolo_scores: bool


class ImageFile(NamedTuple):
    """Where an image is and what a tool calls it."""

    name: str  # unique in the export, relative
    path: Path  # absolute
    encoded: bytes | None  # what is to be written there; None: the file is there


def select_boxes(record: Example, thresholds: np.ndarray, agnostic_iou: float) -> tuple[SentBox, ...]:
    """Return the boxes of a record that are labels, with their indices in it."""
    indices = np.flatnonzero(is_label(record, thresholds, agnostic_iou))
    return tuple(
        SentBox(
            index=int(index),
            box=tuple(record["boxes"][index].tolist()),
            class_id=int(record["classes"][index]),
            score=float(record["scores"][index]),
        )
        for index in indices
    )


def find_files(source: Source, indices: Sequence[int], output: Path) -> list[ImageFile]:
    """Find the files of images; those that are in none go into the export.

    Raises:
        InputError: files are gone, or two images have names that differ by their suffix alone.
    """
    find = source.path
    files = (
        [_new_file(source, index, output) for index in indices]
        if find is None
        else _named([Path(os.path.abspath(find(index))) for index in indices])
    )
    gone = [str(file.path) for file in files if file.encoded is None and not is_file(file.path)]
    if gone:
        raise InputError(
            f"{source.name}: {len(gone)} of the {len(files)} images that are to go out are gone: "
            f"{shorten_list(gone)}. Restore them; the pseudo labels are of these files."
        )
    stems: dict[str, str] = {}
    for file in files:
        other = stems.setdefault(str(Path(file.name).with_suffix("")), file.name)
        if other != file.name:
            raise InputError(
                f"{source.name}: {other} and {file.name} differ by their suffix alone, and tools that keep a "
                "file of labels for each image cannot tell them apart; rename one"
            )
    return files


def _new_file(source: Source, index: int, output: Path) -> ImageFile:
    encoded, image_id = source.read_encoded(index), source.image_ids[index]
    suffix = encoded_suffix(encoded) or ""
    name = re.sub(r"[^\w.-]+", "_", image_id.removesuffix(suffix)) + suffix
    return ImageFile(name, output / IMAGES / name, encoded)


def _named(paths: Sequence[Path]) -> list[ImageFile]:
    """Name files by their paths below the folder that they share."""
    shared = os.path.commonpath([path.parent for path in paths])
    return [ImageFile(path.relative_to(shared).as_posix(), path, None) for path in paths]


def check_output(output: Path) -> None:
    """Refuse a folder that holds something. Raises: InputError."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(
            f"config.review.output={output} is not empty; name a new folder, as what an annotator has "
            "changed there would be lost"
        )


def write_review(review: Review, files: Sequence[ImageFile], output: Path, layout: Layout) -> None:
    """Write an export, whole or not at all.

    Raises:
        InputError: the folder is not empty, or an image has no address below config.review.url_root.
    """
    check_output(output)
    with _appearing(output) as folder:
        for file in files:
            if file.encoded is not None:
                (folder / IMAGES).mkdir(exist_ok=True)
                (folder / IMAGES / file.name).write_bytes(file.encoded)
        if review.format == "label_studio":
            write_label_studio(review, folder, url_prefix=layout.url_prefix, url_root=layout.url_root)
        elif review.format == "yolo":
            write_yolo(review, folder, scores=layout.yolo_scores)
        else:
            {"cvat": write_cvat, "coco": write_coco, "labelme": write_labelme}[review.format](review, folder)
        write_json(folder / REVIEW_FILE, review.to_json())


@contextmanager
def _appearing(output: Path) -> Iterator[Path]:
    """Give a folder to write into that gets its name when all is in it."""
    unfinished = output.with_name(f"{output.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.replace(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def thresholds_by_id(thresholds: np.ndarray, ignored: Sequence[int]) -> np.ndarray:
    """Return the scores from which boxes go out; of classes that the student ignores none does."""
    found = thresholds.copy()
    found[list(ignored)] = np.inf
    return found
