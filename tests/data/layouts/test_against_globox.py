"""An independent reader finds the same boxes: globox, where it is installed (`pip install globox`)."""

import pathlib

import numpy as np
import pytest

from configs import common
from selftrain_jax.tasks.lookup import get_task
from tests.data.layouts.exports import draw, labelme, roboflow, yolo

globox = pytest.importorskip("globox")
SPLITS = {"train": draw(6), "val": draw(3, seed=1)}


def ours(root: pathlib.Path) -> dict[str, np.ndarray]:
    config = common.get_config()
    config.data.update(kind="auto", dir=str(root))
    source = get_task("detection").open_split(config, "data", "train")
    boxes = [source.read_labels(index)["boxes"] for index in range(len(source))]
    return {name.rpartition("/")[2]: box for name, box in zip(source.file_names, boxes, strict=True)}


@pytest.mark.parametrize("tool", ["roboflow", "yolo", "labelme"])
def test_boxes_are_those_of_globox(tool: str, tmp_path: pathlib.Path) -> None:
    {"roboflow": roboflow, "yolo": yolo, "labelme": labelme}[tool](tmp_path, SPLITS)
    train = tmp_path / "train"
    if tool == "roboflow":
        theirs = globox.AnnotationSet.from_coco(train / "_annotations.coco.json")
    elif tool == "labelme":
        theirs = globox.AnnotationSet.from_labelme(train)
    else:
        images, labels = train / "images", train / "labels"
        theirs = globox.AnnotationSet.from_yolo_v5(labels, image_folder=images, image_extension=".png")
    found = ours(tmp_path)
    assert len(theirs) >= 4  # it has no image without a text file
    for annotation in theirs:
        expected = [[box.ymin, box.xmin, box.ymax, box.xmax] for box in annotation.boxes]
        expected = np.array(expected).reshape(-1, 4)
        np.testing.assert_allclose(found[annotation.image_id], expected, rtol=0, atol=1e-4)
