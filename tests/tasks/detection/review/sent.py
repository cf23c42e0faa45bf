"""An export of three images by hand, and what an annotator may do to it in each tool's files."""

import json
import pathlib

import numpy as np
from PIL import Image

from selftrain_jax.io import hash_file
from selftrain_jax.run_files.corrections import Corrections
from selftrain_jax.run_files.review import REVIEW_FILE, Review, SentBox, SentImage
from selftrain_jax.tasks.detection.review.read_back import FORMATS, read_corrections
from selftrain_jax.tasks.detection.review.send import Layout, find_files, write_review
from selftrain_jax.types import Category

CATEGORIES = (Category(1, "cat"), Category(3, 'dog & "co"'), Category(7, "ünder <7>"))
SIZE = (61, 97)  # height, width: no fraction of them is exact
LAYOUT = Layout("/data/local-files/?d=", pathlib.Path("/"), False)


def box(index: int, class_id: int, sides: tuple[float, ...], score: float = 0.75) -> SentBox:
    exact = tuple(np.float32(sides).tolist())
    return SentBox(index=index, box=exact, class_id=class_id, score=float(np.float32(score)))


# yxyx; indices have gaps, as boxes below the threshold stay.
BOXES = {
    "a/one 1": (
        box(0, 1, (1.1, 2.2, 21.3, 32.7), 0.9),
        box(2, 3, (30.123456, 40.7, 60.9, 96.99), 0.8),
        box(3, 7, (5, 50, 25, 70)),
        box(5, 1, (35.5, 3.25, 55.75, 28)),
    ),
    "a/two": (box(1, 7, (0, 0, 61, 97)),),
    "b/three": (),
}


def make_review(folder: pathlib.Path, tool: str, layout: Layout = LAYOUT) -> tuple[Review, pathlib.Path]:
    """Write images below `folder` and an export of them; return what went out, and where."""
    from selftrain_jax.data.sources.image_folder import read_image_folder

    for image_id in BOXES:
        path = folder / "images" / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), 99, np.uint8)).save(path)
    source = read_image_folder(folder / "images")
    files = find_files(source, range(len(source)), folder / tool)
    images = tuple(
        SentImage(image_id=image_id, name=file.name, path=str(file.path), size_px=SIZE, boxes=boxes)
        for (image_id, boxes), file in zip(BOXES.items(), files, strict=True)
    )
    review = Review(
        label_set="3 images, abc",
        layer="",
        teacher={"digest": "d" * 64},
        format=tool,
        choose="all",
        threshold=0.5,
        per_class_thresholds={},
        created="2026-11-27T08:00:00+00:00",
        categories=CATEGORIES,
        images=images,
    )
    write_review(review, files, folder / tool, layout)
    return review, folder / tool


def digest(output: pathlib.Path) -> str:
    return hash_file(output / REVIEW_FILE)


def read_back(path: pathlib.Path, review: Review, **changes) -> Corrections:
    options = {"removed": "background", "confirmed": False, "by": "anna", **changes}
    return read_corrections(path, review, "review-digest", **options)


def submit(tasks: pathlib.Path, *numbers: int) -> list[dict]:
    """Submit the predictions of tasks as annotations, as Label Studio does; return the tasks."""
    document = json.loads(tasks.read_text())
    for number in numbers:
        result = document[number]["predictions"][0]["result"]
        document[number]["annotations"] = [
            {
                "result": result,
                "completed_by": 1,
                "updated_at": "2026-11-27T09:00:00Z",
                "was_cancelled": False,
            }
        ]
    for task in document:
        task.setdefault("annotations", [])
    tasks.write_text(json.dumps(document))
    return document


ALL_FORMATS = FORMATS
