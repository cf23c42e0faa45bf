"""The same 20 images as several tools export them are the same source, number for number."""

import pathlib

import numpy as np
import pytest

from configs import common
from selftrain_jax.data.source import Source
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.detection.coco_eval import STATS, ImageDetections, evaluate_detections
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.lookup import get_task
from tests.data.layouts.exports import EXPORTS, NAMES, Picture, draw, open_images

# Of YOLO's six decimals on 128 px: a centre and half a side, each off by half a millionth of the side.
ROUNDING_PX = {"yolo": 1.5 * 0.5e-6 * 128 + 1e-5}
FLOAT32_PX = 1e-5


def open_folder(root: pathlib.Path, name: str, **data) -> Source:
    config = common.get_config()
    config.data.update(kind="auto", dir=str(root), **data)
    return get_task("detection").open_split(config, "data", name)


def by_name(source: Source) -> dict[str, int]:
    return {name.rpartition("/")[2]: index for index, name in enumerate(source.file_names)}


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[Picture]]:
    """Twenty images of the demo, digits 0 to 4 as cats and the others as dogs, in three splits."""
    source = read_builtin("train", num_images=20, image_size_px=128)
    found = []
    for index in range(20):
        example = source.read(index)
        classes = np.where(example["classes"] <= 5, 1, 2)
        found.append(Picture(f"scene_{index}.png", example["image"], example["boxes"].astype(float), classes))
    return {"train": found[:12], "val": found[12:16], "test": found[16:]}


@pytest.mark.parametrize("tool", EXPORTS)
def test_export_is_the_same_source(tool: str, pictures, tmp_path: pathlib.Path) -> None:
    EXPORTS[tool](tmp_path, pictures)
    for split, expected in pictures.items():
        source = open_folder(tmp_path, split)
        assert source.categories == ((1, "cat"), (2, "dog"))
        places = by_name(source)
        assert set(places) == {picture.name for picture in expected}
        for picture in expected:
            example = source.read(places[picture.name])
            np.testing.assert_array_equal(example["image"], picture.pixels)
            np.testing.assert_array_equal(example["classes"], picture.classes)
            tolerance = ROUNDING_PX.get(tool, FLOAT32_PX)
            np.testing.assert_allclose(example["boxes"], picture.boxes, rtol=0, atol=tolerance)
            assert not example["is_crowd"].any()


def test_same_detections_have_the_same_ap_on_every_export(pictures, tmp_path: pathlib.Path) -> None:
    scores = {}
    for tool, export in EXPORTS.items():
        root = tmp_path / tool
        root.mkdir()
        export(root, pictures)
        source = open_folder(root, "train")
        places = by_name(source)
        rng = np.random.default_rng(0)
        detections = []
        for picture in pictures["train"]:
            moved = (picture.boxes + rng.normal(0, 2.0, picture.boxes.shape)).astype(np.float32)
            found = rng.permutation(len(moved)).astype(np.float32) / 100 + rng.random()
            image_id = source.image_ids[places[picture.name]]
            detections.append(ImageDetections(image_id, moved, found, picture.classes.astype(np.int32)))
        truth = [source.read_labels(index) for index in range(len(source))]
        result = evaluate_detections(truth, detections, source.categories, backend="pycocotools")
        scores[tool] = [result[name] for name in STATS[:3]]
    assert 0.2 < scores["cvat"][0] < 0.9
    assert all(found == scores["cvat"] for found in scores.values()), scores


def test_open_images_are_the_images_on_the_disk(tmp_path: pathlib.Path) -> None:
    splits = {"train": draw(6), "val": draw(4, seed=1)}
    open_images(tmp_path, splits)
    source = open_folder(tmp_path, "train")
    assert source.categories == ((1, "cat"), (2, "dog"))  # no tree occurs
    labelled = [picture for picture in splits["train"] if len(picture.boxes)]
    assert set(by_name(source)) == {picture.name for picture in labelled}
    for picture in labelled:
        example = source.read_labels(by_name(source)[picture.name])
        np.testing.assert_allclose(example["boxes"], picture.boxes, rtol=0, atol=FLOAT32_PX)
    assert "2 rows of images that are not here" in " ".join(source.notes)


def test_notes_say_format_splits_classes_and_decisions_in_three_lines(tmp_path: pathlib.Path) -> None:
    EXPORTS["roboflow"](tmp_path, {"train": draw(3), "val": draw(2, seed=1)})
    train, test = open_folder(tmp_path, "train"), open_folder(tmp_path, "test")
    assert train.notes == test.notes
    assert train.notes == (
        f"data: COCO as Roboflow exports it in {tmp_path}: train 3 images, valid 2 images (val and test of "
        "this run); no test split: valid is measured on in its place",
        "classes: 1 cat, 2 dog (ids of the file; 'pets' (id 0) only groups the others and has no box: left "
        "out)",
    )
    assert [test.file_names[0]] == ["valid/pic_1_0.png"]


def test_one_file_without_splits_opens_whole_where_it_is_divided(tmp_path: pathlib.Path) -> None:
    EXPORTS["cvat"](tmp_path, {"default": draw(5)})
    with pytest.raises(InputError, match=r"has no splits.*--config.data.split=0.7,0.1,0.2"):
        open_folder(tmp_path, "train")
    for split in ("train", "val", "test"):
        assert len(open_folder(tmp_path, split, split="0.7,0.1,0.2")) == 5


def test_classes_are_kept_by_name_with_their_ids(tmp_path: pathlib.Path) -> None:
    EXPORTS["yolo"](tmp_path, {"train": draw(5), "val": draw(3, seed=1)})
    source = open_folder(tmp_path, "train", classes="dog")
    assert source.categories == ((2, NAMES[1]),)
    assert {int(number) for index in range(5) for number in source.read_labels(index)["classes"]} == {2}
    with pytest.raises(InputError, match="nearest: dog"):
        open_folder(tmp_path, "train", classes="dgo")
