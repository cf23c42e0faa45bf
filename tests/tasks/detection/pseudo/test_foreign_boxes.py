"""Other models' boxes in our pixels and classes: those of a real outside model, bad ones, merged ones.

`golden/centernet_results.json` is what CenterNet of the npm package @vladmandic/human 3.3.6 finds in
photographs of scikit-image and scikit-learn; `golden/centernet_images.json` says under "info" how.
"""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import skimage.data
from PIL import Image

from selftrain_jax.data.source import Source, image_size
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.data.sources.image_folder import read_image_folder
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.labels import Teacher
from selftrain_jax.selftrain.inference import chunks_in_order
from selftrain_jax.tasks.detection.pseudo.foreign import merge_boxes, read_foreign
from selftrain_jax.tasks.detection.pseudo.foreign_boxes import ModelBoxes, open_model_boxes
from selftrain_jax.tasks.detection.pseudo.foreign_weights import measure_weights, weigh_scores
from selftrain_jax.tasks.foreign_settings import ForeignModel, ForeignSettings, check_label_keys
from selftrain_jax.types import Category, Example
from tests import tiny

GOLDEN = pathlib.Path(__file__).parents[3] / "golden"
RESULTS, NAMES = GOLDEN / "centernet_results.json", GOLDEN / "centernet_images.json"
PETS = (Category(1, "cat"), Category(2, "dog"), Category(3, "cup"))
SIZE_PX = (50, 100)  # height, width


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "coffee", "astronaut"):
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return read_image_folder(folder)


@pytest.fixture
def images(tmp_path: pathlib.Path) -> Source:
    for name in "abc":
        Image.new("RGB", SIZE_PX[::-1]).save(tmp_path / f"{name}.png")
    return read_image_folder(tmp_path)


def open_boxes(
    path: pathlib.Path,
    source: Source,
    *,
    annotations: str = "",
    class_map: str = "",
    floor: float = 0.05,
    **changes,
) -> ModelBoxes:
    model = ForeignModel("", path, class_map, annotations, None, "")
    settings = ForeignSettings((model,), "empty", "error", "error")._replace(**changes)
    return open_model_boxes(model, settings, source, PETS, floor)


def result(image: str = "a", category: int = 17, box: tuple = (10, 5, 20, 10), score: float = 0.5) -> dict:
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def write(folder: pathlib.Path, results: list, name: str = "results.json") -> pathlib.Path:
    (folder / "classes.csv").write_text("17,cat\n18,dog\n")
    (folder / name).write_text(json.dumps(results))
    return folder / name


def open_results(folder: pathlib.Path, results: list, source: Source, **changes) -> ModelBoxes:
    path = write(folder, results)
    return open_boxes(path, source, class_map=str(folder / "classes.csv"), **changes)


def test_a_real_models_file_becomes_boxes_of_our_classes(photographs: Source) -> None:
    found = open_boxes(RESULTS, photographs, annotations=str(NAMES), unknown_images="drop")
    cups, pets = found.labels_of("coffee.png"), found.labels_of("chelsea.png")
    assert cups["classes"].tolist() == [3] * len(cups["classes"])
    np.testing.assert_allclose(cups["boxes"][0], [21.5, 165.7, 21.5 + 238.1, 165.7 + 245.6], atol=1e-3)
    assert pets["classes"].tolist() == [2]  # it takes the cat for a dog
    assert pets["boxes"][0].tolist() == [pytest.approx(5.7), 0, pytest.approx(299.3), pytest.approx(422.3)]
    text = "\n".join(found.lines)
    assert "centernet_results: COCO results" in text
    assert "images that are not in" in text
    assert "'rocket.jpg'" in text
    assert "none of ours, dropped: " in text
    assert "1 boxes reach beyond their image, cut at its edge" in text


def test_the_golden_file_names_its_images_and_classes_as_coco_does() -> None:
    document = json.loads(NAMES.read_text())
    assert [(entry["id"], entry["name"]) for entry in document["categories"]] == [
        *map(tuple, COCO_CATEGORIES)
    ]
    sizes = {entry["file_name"]: (entry["height"], entry["width"]) for entry in document["images"]}
    assert sizes["chelsea.png"] == skimage.data.chelsea().shape[:2]


def test_a_real_models_file_is_refused_for_other_images(tmp_path: pathlib.Path, photographs: Source) -> None:
    with pytest.raises(InputError, match=r"for 3 images that are not in .*'rocket.jpg'.*unknown_images=drop"):
        open_boxes(RESULTS, photographs, annotations=str(NAMES))
    with pytest.raises(InputError, match=r"none fits.*config.foreign.annotations"):
        open_boxes(write(tmp_path, [result("7")]), photographs, class_map=str(tmp_path / "classes.csv"))


def test_what_is_left_out_is_counted(tmp_path: pathlib.Path, images: Source) -> None:
    results = [result(), result(category=18, score=0.02), result("b", 1), result("b", 17, (-5, 0, 20, 10))]
    found = open_results(tmp_path, results, images)
    assert found.num_boxes == 2
    assert found.named == {"a.png", "b.png"}
    assert found.class_ids == {1, 2}
    assert [line.strip() for line in found.lines[1:]] == [
        "classes that are none of ours, dropped: '1' (1)",
        "1 boxes below config.pseudo.score_floor=0.05, left out",
        "1 boxes reach beyond their image, cut at its edge",
    ]


def test_boxes_of_an_image_come_best_first(tmp_path: pathlib.Path, images: Source) -> None:
    results = [result(score=0.2), result("b", score=0.3), result(category=18, score=0.9)]
    labels = open_results(tmp_path, results, images).labels_of("a.png")
    np.testing.assert_allclose(labels["scores"], [0.9, 0.2])
    assert labels["classes"].tolist() == [2, 1]
    np.testing.assert_allclose(labels["boxes"], [[5, 10, 15, 30]] * 2)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (
            (0.1, 0.1, 0.4, 0.5),
            "all coordinates are at most 0.6: they are shares of the image, but COCO results",
        ),
        (
            (150, 5, 20, 10),
            r"(?s)1 of 1 boxes do not fit.*\[0\]: image a: .*outside the image of 100 x 50 pixels",
        ),
        ((10, 5, 0, 10), "(?s)has no area.*--config.foreign.bad_boxes=drop"),
        ((10, 5, float("nan"), 10), "not a finite number"),
    ],
)
def test_boxes_that_do_not_fit_are_named(
    tmp_path: pathlib.Path, images: Source, box: tuple, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_results(tmp_path, [result(box=box)], images)


def test_bad_boxes_are_dropped_where_that_is_asked(tmp_path: pathlib.Path, images: Source) -> None:
    found = open_results(tmp_path, [result(box=(150, 5, 20, 10)), result()], images, bad_boxes="drop")
    assert found.num_boxes == 1
    assert "1 boxes without area or outside their image, dropped" in found.lines[-1]


def test_yolos_shares_become_pixels(tmp_path: pathlib.Path, images: Source) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("1 0.2 0.2 0.2 0.2 0.5\n")
    (tmp_path / "classes.csv").write_text("1,cat\n")
    found = open_boxes(tmp_path / "labels", images, class_map=str(tmp_path / "classes.csv"))
    np.testing.assert_allclose(found.labels_of("a.png")["boxes"], [[5, 10, 15, 30]], atol=1e-5)


def example(*boxes: tuple, classes: tuple = (), scores: tuple = (), **more: object) -> Example:
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.array(classes, np.int32),
        "scores": np.array(scores, np.float32),
        **more,
    }


def test_weights_are_precision_by_score_drawn_to_the_models_own() -> None:
    truth = example((0, 0, 9, 9), (20, 20, 29, 29), classes=(1, 2))
    found = example((0, 0, 9, 9), (40, 0, 49, 9), (20, 20, 29, 29), classes=(1, 1, 2), scores=(0.8, 0.4, 0.6))
    overall = 1.4 / 1.8
    expected = [overall, (0.8 + 2 * overall) / 3.2, (0.6 + 2 * overall) / 2.6, overall]
    np.testing.assert_allclose(measure_weights([(truth, found)], PETS), expected, rtol=1e-6)
    assert measure_weights([(truth, example())], PETS).tolist() == [1, 1, 1, 1]


def fuse_by_the_reference(boxes, scores, models, weights) -> tuple[np.ndarray, float]:
    """ZFTurbo's weighted_boxes_fusion of one cluster: scores times weights, mean, times min(T, N) / sum w."""
    weighted = scores * weights[models]
    box = (boxes * weighted[:, None]).sum(axis=0) / weighted.sum()
    return box, weighted.mean() * min(len(weights), len(scores)) / weights.sum()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.9, 0.3), (2.0, 0.5)])
def test_merging_by_weights_is_the_references(weights: tuple[float, float]) -> None:
    boxes = np.array([(10, 10, 30, 30), (11, 10, 32, 31)], np.float32)
    scores, own = np.array([0.6, 0.7]), np.array(weights)
    table = np.tile(own[:, None], 4)
    found = [example(boxes[i], classes=(1,), scores=(scores[i],)) for i in range(2)]
    merged = merge_boxes(found, table, 0.05)
    box, score = fuse_by_the_reference(boxes, scores, np.arange(2), own)
    np.testing.assert_allclose(merged["boxes"], [box], rtol=1e-5)
    np.testing.assert_allclose(merged["scores"], [score], rtol=1e-5)
    alone = merge_boxes([found[0], example()], table, 0.05)
    np.testing.assert_allclose(alone["scores"], [scores[0] * own[0] / own.sum()], rtol=1e-5)


def test_a_model_that_cannot_find_a_class_does_not_lower_others() -> None:
    table = np.array([[1, 1, 1, 1], [1, 0, 1, 1]], float)
    merged = merge_boxes([example((10, 10, 30, 30), classes=(1,), scores=(0.6,)), example()], table, 0.05)
    np.testing.assert_allclose(merged["scores"], [0.6], rtol=1e-6)
    scores, classes = np.array([0.5]), np.array([1])
    assert weigh_scores(scores, classes, np.array([1]), np.zeros((2, 4))).tolist() == [0.5]


def config_of(folder: pathlib.Path, **foreign: str):
    config = tiny.get_config()
    config.pseudo.update(labels="foreign", score_floor=0.05)
    config.foreign.update(map=str(folder / "classes.csv"), **foreign)
    return config


def label(config, source: Source, teacher: Teacher | None = None) -> tuple[dict, tuple]:
    foreign = read_foreign(config, source, source, PETS)
    labeller, described = foreign.label_with(teacher)
    chunks = labeller.infer(chunks_in_order(len(foreign.source), labeller.batch_size))
    images = [image for _, chunk in chunks for image in chunk]
    return {image.labels["image_id"]: image.labels for image in images}, described


def test_one_models_boxes_are_the_labels_as_they_are(tmp_path: pathlib.Path, images: Source) -> None:
    path = write(tmp_path, [result(score=0.3), result("b", 18)])
    labels, described = label(config_of(tmp_path, predictions=str(path), model="DINO"), images)
    assert list(labels) == ["a.png", "b.png", "c.png"]
    np.testing.assert_allclose(labels["a.png"]["boxes"], [[5, 10, 15, 30]])
    assert "place_std" not in labels["a.png"]
    assert labels["c.png"]["scores"].tolist() == []
    assert described[0]["model"] == "DINO"
    assert described[0]["num_boxes"] == 2
    assert described[0]["weights"] == {"cat": 1, "dog": 1, "cup": 0}


def test_images_that_no_model_has_seen_are_left_out_where_that_is_said(
    tmp_path: pathlib.Path, images: Source
) -> None:
    path = write(tmp_path, [result(), result("b")])
    config = config_of(tmp_path, predictions=str(path), unpredicted="unknown")
    assert list(label(config, images)[0]) == ["a.png", "b.png"]
    assert (
        "1 of 3 unlabelled images are not in the predictions: left out"
        in read_foreign(config, images, images, PETS).lines
    )


def test_the_teachers_boxes_are_merged_with_a_models(tmp_path: pathlib.Path, images: Source) -> None:
    paths = [
        write(tmp_path, [result(score=0.4)], "one.json"),
        write(tmp_path, [result(score=0.4)], "two.json"),
    ]
    config = config_of(tmp_path, predictions=str(paths[0]))
    alone = read_foreign(config, images, images, PETS).label_with(None)[0]
    config.foreign.predictions = str(paths[1])
    labels, described = label(config, images, Teacher(alone, lambda: iter(())))
    np.testing.assert_allclose(labels["a.png"]["scores"], [0.4], rtol=1e-6)
    np.testing.assert_allclose(labels["a.png"]["place_std"], [0])
    assert [model["model"] for model in described] == ["teacher", "two"]


def test_models_are_weighted_by_what_val_says(tmp_path: pathlib.Path, images: Source) -> None:
    truth = example((5, 10, 15, 30), classes=(1,), is_pseudo=False)
    val = dataclasses.replace(images, categories=PETS, read_labels=lambda _: truth)
    good = write(tmp_path, [result(image) for image in "abc"], "good.json")
    bad = write(tmp_path, [result(image, box=(60, 20, 20, 10)) for image in "abc"], "bad.json")
    both = f"{good},{bad}"
    foreign = read_foreign(config_of(tmp_path, predictions=both, val=both), images, val, PETS)
    _, described = foreign.label_with(None)
    assert described[0]["weights"] == {"cat": 1, "dog": 1, "cup": 0}
    assert described[1]["weights"] == {"cat": 0, "dog": 0, "cup": 0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pseudo.labels": "model"}, "labels='model' is not one of teacher, foreign, both"),
        ({"pseudo.labels": "foreign"}, "config.foreign.predictions is empty"),
        (
            {"foreign.predictions": "a", "foreign.bad_boxes": "keep"},
            "bad_boxes='keep' is not one of error, drop",
        ),
        ({"foreign.predictions": "a,b", "foreign.map": "a,b,c"}, "lists 3 values for 2 predictions"),
        ({"foreign.predictions": "a,b", "foreign.val": "v"}, "the same val predictions for several models"),
        ({"foreign.predictions": "a", "selftrain.rounds": 2}, "the same labels in each of .*rounds=2"),
        (
            {"foreign.predictions": "a", "pseudo.thresholds": "auto"},
            "pseudo.thresholds=auto goes by the teach",
        ),
    ],
)
def test_keys_that_do_not_fit_are_refused(changes: dict, words: str) -> None:
    config = tiny.get_config()
    config.pseudo.labels = "foreign"
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        check_label_keys(config)


def test_golden_photographs_have_the_size_that_the_file_states(photographs: Source) -> None:
    stated = {entry["file_name"]: entry for entry in json.loads(NAMES.read_text())["images"]}
    for index, name in enumerate(photographs.image_ids):
        height, width = image_size(photographs.read_encoded(index), name)
        assert (stated[name]["height"], stated[name]["width"]) == (height, width)
