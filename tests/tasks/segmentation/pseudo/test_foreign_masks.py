"""Other models' masks: class maps and confidences in our classes, bad folders, merged masks."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.inference import chunks_in_order
from selftrain_jax.tasks.segmentation.pseudo.foreign import read_foreign
from selftrain_jax.tasks.segmentation.pseudo.foreign_masks import measure_mask_weights, merge_masks
from selftrain_jax.types import IGNORED, Category
from tests import tiny_masks

OURS = (Category(0, "background"), Category(1, "road"), Category(2, "car"))
VALUES = np.array([[7, 7, 9], [3, 255, 0]], np.uint8)  # the model's ids: 0 sky, 7 road, 9 car, 3 dropped
LEVELS = np.array([[255, 128, 26], [255, 255, 51]], np.uint8)
MAP = "0,background\n7,road\n9,car\n3,\n"


@pytest.fixture
def images(tmp_path: pathlib.Path) -> Source:
    for name in "ab":
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / f"images/{name}.png")
    return read_image_folder(tmp_path / "images")


def save(path: pathlib.Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def folder_of(
    tmp_path: pathlib.Path, name: str = "model", values: np.ndarray = VALUES, level=LEVELS
) -> pathlib.Path:
    folder = tmp_path / name
    for image in "ab":
        save(folder / f"classes/{image}.png", values)
        if level is not None:
            save(folder / f"confidence/{image}.png", level)
    (tmp_path / "classes.csv").write_text(MAP)
    return folder


def label(
    tmp_path: pathlib.Path, images: Source, *folders: pathlib.Path, val: Source | None = None, **foreign
):
    config = tiny_masks.get_config()
    config.pseudo.labels = "foreign"
    config.foreign.update(
        predictions=",".join(map(str, folders)), map=str(tmp_path / "classes.csv"), **foreign
    )
    found = read_foreign(config, images, val or images, OURS)
    labeller, described = found.label_with(None)
    chunks = labeller.infer(chunks_in_order(len(found.source), labeller.batch_size))
    return [image.labels for _, chunk in chunks for image in chunk], found.lines, described


def test_class_maps_become_our_classes_and_dropped_pixels_have_no_confidence(
    tmp_path: pathlib.Path, images: Source
) -> None:
    labels, lines, described = label(tmp_path, images, folder_of(tmp_path))
    assert labels[0]["mask"].tolist() == [[1, 1, 2], [0, 0, 0]]
    assert labels[0]["confidence"].tolist() == [[255, 128, 26], [0, 0, 51]]  # floor(256 v / 255)
    assert lines[0].startswith("model: masks in")
    assert "  classes that the map drops: '3' (2)" in lines
    assert described[0]["num_masks"] == 2


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (0.5, [[128, 128, 128], [0, 0, 128]]),
        ({"7": 0.9, "9": 0.25, "0": 1, "3": 1}, [[230, 230, 64], [0, 0, 255]]),
    ],
)
def test_confidences_of_an_image_or_its_classes(
    tmp_path: pathlib.Path, images: Source, stated: object, expected: list
) -> None:
    folder = folder_of(tmp_path, level=None)
    (folder / "confidence.json").write_text(json.dumps({"a": stated, "b": stated}))
    assert label(tmp_path, images, folder)[0][0]["confidence"].tolist() == expected


def test_the_folder_itself_may_hold_the_class_maps(tmp_path: pathlib.Path, images: Source) -> None:
    folder = folder_of(tmp_path)
    for path in (folder / "classes").iterdir():
        path.rename(folder / path.name)
    (folder / "classes").rmdir()
    assert label(tmp_path, images, folder)[0][1]["mask"].tolist() == [[1, 1, 2], [0, 0, 0]]


def break_folder(folder: pathlib.Path, how: str) -> None:
    if how == "no confidence":
        (folder / "confidence/b.png").unlink()
    elif how == "percent":
        for path in (folder / "confidence").iterdir():
            save(path, np.array([[100, 50, 0], [7, 7, 7]], np.uint8))
    elif how == "size":
        save(folder / "classes/a.png", VALUES.T)
        save(folder / "confidence/a.png", LEVELS.T)
    elif how == "confidence size":
        save(folder / "confidence/a.png", LEVELS.T)
    elif how == "unknown image":
        save(folder / "classes/z.png", VALUES)
        save(folder / "confidence/z.png", LEVELS)
    elif how == "missing image":
        (folder / "classes/b.png").unlink()
    elif how == "json percent":
        (folder / "confidence.json").write_text(json.dumps({"a": 90, "b": 90}))
    elif how == "json class":
        (folder / "confidence.json").write_text(json.dumps({"a": {"7": 0.5}, "b": 1}))
    elif how == "no map":
        (folder.parent / "classes.csv").write_text("70,road\n")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no confidence", "1 of 2 class maps have no confidence: b; expected class maps as"),
        ("percent", "The scores are in percent: divide them by 100"),
        ("json percent", "the score is 90.*in percent, up to 90: divide them by 100"),
        ("json class", r"a.png: its classes 0, 3, 9 have no confidence"),
        ("size", "a.png is 2 x 3 pixels .*image a.png is 3 x 2; enlarge"),
        ("confidence size", "expected one confidence for each pixel"),
        ("unknown image", "1 masks of images that are not in .*: 'z'.*unknown_images=drop"),
        ("missing image", "1 of 2 unlabelled images have no class map: b.png.*unpredicted=unknown"),
        ("no map", "none of its classes is one of this run's"),
    ],
)
def test_bad_folders_are_named(tmp_path: pathlib.Path, images: Source, how: str, words: str) -> None:
    folder = folder_of(tmp_path)
    break_folder(folder, how)
    with pytest.raises(InputError, match=words):
        label(tmp_path, images, folder)


def test_masks_need_a_class_map(tmp_path: pathlib.Path, images: Source) -> None:
    folder = folder_of(tmp_path)
    config = tiny_masks.get_config()
    config.pseudo.labels, config.foreign.predictions = "foreign", str(folder)
    with pytest.raises(InputError, match=r"class ids and no names: 0, 3, 7, 9. Say which they are by"):
        read_foreign(config, images, images, OURS)


def test_images_without_a_map_are_left_out_where_that_is_said(tmp_path: pathlib.Path, images: Source) -> None:
    folder = folder_of(tmp_path)
    break_folder(folder, "missing image")
    labels, lines, _ = label(tmp_path, images, folder, unpredicted="unknown")
    assert [labels["image_id"] for labels in labels] == ["a.png"]
    assert lines[-1].endswith("b.png: left out")


def maps(mask: list, confidence: list) -> dict:
    return {"mask": np.array([mask], np.uint8), "confidence": np.array([confidence], np.uint8)}


def test_merging_votes_by_confidence_and_weight() -> None:
    first, second = maps([1, 1, 2, 0], [200, 100, 50, 0]), maps([1, 2, 2, 2], [100, 200, 0, 40])
    merged = merge_masks([first, second], np.ones((2, 3)))
    # Both say 1; the surer of two wins at half its confidence; one alone is heard; likewise.
    p = (np.array([200, 100, 50, 40]) + 0.5) / 256
    expected = [(p[0] + p[1]) / 2, p[0] / 2, p[2], p[3]]
    assert merged["mask"].tolist() == [[1, 2, 2, 2]]
    assert merged["confidence"].tolist() == [np.floor(256 * np.array(expected)).astype(int).tolist()]
    trusted = merge_masks([first, second], np.array([[1, 3, 1], [1, 3, 1]], float))
    assert trusted["mask"].tolist() == [[1, 1, 2, 2]]


def test_merging_one_model_changes_nothing() -> None:
    only = maps([1, 2, 0, 1], [255, 7, 1, 0])
    merged = merge_masks([only], np.ones((1, 3)))
    assert merged["confidence"].tolist() == only["confidence"].tolist()
    assert merged["mask"][0, :3].tolist() == [1, 2, 0]


def test_mask_weights_are_precision_by_confidence() -> None:
    truth = {"mask": np.array([[1, 1, 2, IGNORED]], np.uint8)}
    weights = measure_mask_weights([(truth, maps([1, 2, 2, 2], [128, 64, 128, 255]))], OURS)
    overall = (0.5 + 0.5) / 1.25
    expected = [overall, (0.5 + 1000 * overall) / 1000.5, (0.5 + 1000 * overall) / 1000.75]
    np.testing.assert_allclose(weights, expected)
