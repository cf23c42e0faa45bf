"""results.json of --job=predict, which COCO's server takes, or a line that says why there is none."""

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from configs import common
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.inference import Detector, detect
from selftrain_jax.tasks.detection.predictor import write_found
from selftrain_jax.types import Category, Detections

pytestmark = pytest.mark.tf

CATEGORIES = (Category(1, "person"), Category(13, "stop sign"))
BOX = np.float32([[[2, 3, 12, 18]]])  # yxyx


def detector() -> Detector:
    """Find one stop sign in every image."""
    one = (np.float32([[0.75]]), np.int32([[13]]), np.array([[True]]))
    return Detector(
        place=lambda variables: variables,
        predict=lambda variables, images: Detections(BOX, *one),
        load=lambda image: (np.zeros((64, 64, 3), np.uint8), np.array(image.shape[:2])),
        batch_size=1,
        image_size_px=64,
        score_floor=0.05,
        eval_backend="pycocotools",
    )


def predict(tmp_path: pathlib.Path, *names: str, annotations: Any = None) -> pathlib.Path:
    """Predict for images of these names; return the folder of what was written."""
    for name in names:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    config = common.get_config()
    if annotations is not None:
        config.predict.annotations = str(tmp_path / "labels.json")
        (tmp_path / "labels.json").write_text(json.dumps(annotations))
    source = read_image_folder(tmp_path / "images")
    write_found(config, source, detect(detector(), {}, source), CATEGORIES, tmp_path / "out")
    return tmp_path / "out"


def images(**ids: Any) -> dict[str, Any]:
    return {"images": [{"id": id, "file_name": f"{name}.png"} for name, id in ids.items()]}


def test_names_that_are_numbers_are_the_ids_and_pycocotools_takes_the_list(tmp_path: pathlib.Path) -> None:
    output = predict(tmp_path, "000000397133.png", "139.png")
    found = json.loads((output / "results.json").read_text())
    assert found == [
        {"image_id": id, "category_id": 13, "bbox": [3, 2, 15, 10], "score": 0.75} for id in (397133, 139)
    ]
    assert all(type(record["image_id"]) is int for record in found)
    coco = COCO()
    coco.dataset = images(a=139, b=397133) | {"annotations": [], "categories": [{"id": 13, "name": "x"}]}
    coco.createIndex()
    assert len(coco.loadRes(str(output / "results.json")).anns) == 2


def test_an_annotation_file_gives_the_ids_whatever_the_names_are(tmp_path: pathlib.Path) -> None:
    content = images(cat=7, **{"12": 99, "not here": 5})
    output = predict(tmp_path, "cat.png", "12.png", annotations=content)
    found = json.loads((output / "results.json").read_text())
    assert [(record["image_id"], record["category_id"]) for record in found] == [(99, 13), (7, 13)]


def test_classes_of_the_annotation_file_are_found_by_name(tmp_path: pathlib.Path) -> None:
    classes = [{"id": 3, "name": "stop sign"}, {"id": 8, "name": "person"}, {"id": 13, "name": "dog"}]
    output = predict(tmp_path, "1.png", annotations=images(**{"1": 1}) | {"categories": classes})
    (found,) = json.loads((output / "results.json").read_text())
    assert found["category_id"] == 3


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["12.png", "cat.png"], "1 of 2 file names are no numbers: cat.png"),
        (["1.png", "a/01.png"], "2 of 2 file names stand for the same number: 1.png, a/01.png"),
        (["²" + ".png"], "1 of 1 file names are no numbers"),
    ],
)
def test_without_integers_one_line_says_why_and_which_key_makes_the_file(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], names: list[str], reason: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("of other images")
    output = predict(tmp_path, *names)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "results.json" in line]
    assert reason in line
    assert "--config.predict.annotations=FILE" in line
    assert not (output / "results.json").exists()
    assert len(json.loads((output / "predictions.json").read_text())["annotations"]) == len(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (images(cat=1), r"images: 1 of 2 are not in the file: dog\.png; it has cat\.png\. Expected"),
        ({"images": []}, r"images: 2 of 2 are not in the file: cat\.png, dog\.png; it has none"),
        (images(cat=1, dog="a"), r"images\[1\]: .*expected an integer id and a file_name"),
        (images(cat=1, dog=True), r"images\[1\]: .*expected an integer id"),
        (images(cat=1, dog=1), r"2 have the id of another: cat\.png, dog\.png"),
        (
            {"images": [*images(cat=1)["images"], *images(cat=2)["images"]]},
            r"has the ids 1 and 2; give it one",
        ),
        ([], r'no list "images"; expected a COCO annotation file'),
        (
            images(cat=1, dog=2) | {"categories": [{"id": 1, "name": "person"}]},
            r"classes: 1 of 2 are not in the file: stop sign; it has person",
        ),
    ],
)
def test_an_annotation_file_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: pathlib.Path, content: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        predict(tmp_path, "cat.png", "dog.png", annotations=content)
    assert "labels.json" in str(caught.value)
    assert not (tmp_path / "out").exists()
