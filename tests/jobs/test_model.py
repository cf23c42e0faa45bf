"""A run's network in Python: the boxes that --job=predict writes, whatever form an image has."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

import selftrain_jax
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.found import Boxes
from selftrain_jax.jobs.model import Model
from tests.tiny_run import config_with

pytestmark = [pytest.mark.tf, pytest.mark.compiles]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of three photographs of different sizes."""
    folder = tmp_path_factory.mktemp("images")
    source = read_builtin("test", num_images=3, image_size_px=96)
    for index, (height, width) in enumerate([(96, 96), (70, 96), (96, 50)]):
        Image.fromarray(source.read_image(index)[:height, :width]).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def model(finished: pathlib.Path) -> Model:
    return selftrain_jax.load(finished, batch_size=2)


@pytest.fixture(scope="module")
def found(model: Model, images: pathlib.Path) -> list[Boxes]:
    """What is found in the folder of images."""
    return model.predict(images)


def test_it_is_what_the_job_writes(base, images, found: list[Boxes], tmp_path: pathlib.Path) -> None:
    run_job("predict", config_with(predict__input=str(images), predict__output=str(tmp_path)), base)
    written = json.loads((tmp_path / "predictions.json").read_text())
    names = {category["id"]: category["name"] for category in written["categories"]}
    for image, boxes in zip(written["images"], found, strict=True):
        rows = [row for row in written["annotations"] if row["image_id"] == image["id"]]
        rows.sort(key=lambda row: -row["score"])
        xywh = np.array([row["bbox"] for row in rows])
        yxyx = np.stack([xywh[:, 1], xywh[:, 0], xywh[:, 1] + xywh[:, 3], xywh[:, 0] + xywh[:, 2]], axis=1)
        np.testing.assert_allclose(boxes.boxes, yxyx, atol=1e-3)
        np.testing.assert_allclose(boxes.scores, [row["score"] for row in rows], atol=1e-5)
        assert sorted(boxes.class_names) == sorted(names[row["category_id"]] for row in rows)
        assert len(boxes.scores) > 0


def test_an_image_may_be_a_path_an_array_or_pils(model: Model, images, found: list[Boxes]) -> None:
    paths = sorted(images.iterdir())
    pixels = [np.array(Image.open(path)) for path in paths]
    forms = [[str(path) for path in paths], paths, pixels, [Image.fromarray(array) for array in pixels]]
    for given in forms:
        for got, wanted in zip(model.predict(given), found, strict=True):
            np.testing.assert_array_equal(got.boxes, wanted.boxes)
            np.testing.assert_array_equal(got.scores, wanted.scores)
            assert got.class_names == wanted.class_names
    (alone,) = model.predict(pixels[1])
    np.testing.assert_allclose(alone.boxes, found[1].boxes, atol=1e-3)


def test_boxes_above_a_score_keep_their_names(found: list[Boxes]) -> None:
    middle = float(np.median(found[0].scores))
    above = found[0].above(middle)
    assert 0 < len(above.scores) < len(found[0].scores)
    assert above.scores.min() >= middle
    assert above.class_names == found[0].class_names[: len(above.scores)]


def test_a_stage_is_opened_by_its_folder(model: Model, finished: pathlib.Path, images) -> None:
    assert model.checkpoint == finished / "student"
    teacher = selftrain_jax.load(finished / "teacher", batch_size=2)
    assert teacher.checkpoint == finished / "teacher"
    ours, theirs = model.predict(images), teacher.predict(images)
    assert any(not np.array_equal(own.scores, other.scores) for own, other in zip(ours, theirs, strict=True))


def test_a_run_of_an_older_version_lacks_keys(base: pathlib.Path, images, found: list[Boxes]) -> None:
    stored = json.loads((base / "config.json").read_text())
    del stored["export"], stored["image"]["tile_px"], stored["predict"]["flip"]
    (base / "config.json").write_text(json.dumps(stored))
    older = selftrain_jax.load(base, batch_size=2).predict(images)
    for got, wanted in zip(older, found, strict=True):
        np.testing.assert_array_equal(got.boxes, wanted.boxes)


def test_an_image_is_drawn_in_its_own_size(model: Model, images: pathlib.Path) -> None:
    drawn = model.draw(images / "1.png")
    assert drawn.size == (96, 70)
    assert (np.array(drawn) != np.array(Image.open(images / "1.png"))).any()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "there is no image"),
        ("clip.mp4", r"clip\.mp4 is a video; .*ffmpeg -i clip\.mp4"),
        (["nowhere.jpg"], r"images\[0\]: nowhere\.jpg is no file"),
        (np.zeros((4, 4, 3), np.float32), r"images\[0\] is an array of float32 .*expected uint8"),
        ([np.zeros((4, 4), np.uint8)], r"shape \(4, 4\); expected uint8 of \[height, width, 3\]"),
        ([np.zeros((0, 4, 3), np.uint8)], "at least one pixel"),
    ],
)
def test_what_is_no_image_is_told(model: Model, given, words: str) -> None:
    with pytest.raises(InputError, match=words):
        model.predict(given)


def test_a_video_is_told_by_the_job_too(base: pathlib.Path) -> None:
    with pytest.raises(InputError, match="is a video"):
        run_job("predict", config_with(predict__input="clip.mov"), base)


def test_a_folder_that_is_no_run_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="nothing was trained in this folder; expected the --workdir"):
        selftrain_jax.load(tmp_path)
