import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from selftrain_jax.data.source import without_labels
from selftrain_jax.data.sources.coco import read_coco_json
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.detection.coco_eval import STATS, ImageDetections, evaluate_detections
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.coco_export import (
    export_image_ids,
    image_file_name,
    to_coco_results,
    write_coco_json,
)
from tests.data.sources.coco_files import (
    HEIGHT,
    WIDTH,
    annotation,
    document,
    make_folder,
    read,
    with_annotation,
)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return make_folder(tmp_path)


def test_written_truth_reads_back_the_same(folder: pathlib.Path) -> None:
    source = read(folder, document())
    write_coco_json(source, folder / "truth.json")
    again = read_coco_json(folder / "truth.json", folder / "images")
    assert again.categories == source.categories
    assert again.image_ids == source.image_ids
    for index in range(len(source)):
        for key, value in source.read_labels(index).items():
            assert np.array_equal(again.read_labels(index)[key], value), key
    written = json.loads((folder / "truth.json").read_text())
    assert written["images"][0] == {"id": 42, "file_name": "42.jpg", "width": WIDTH, "height": HEIGHT}
    assert list(folder.glob("*.tmp")) == []


def test_truth_is_written_without_pixels_where_sizes_and_file_names_are_known(tmp_path: pathlib.Path) -> None:
    def fail(index: int) -> Any:
        raise AssertionError(f"image {index} was read")

    source = dataclasses.replace(
        read_builtin("test", num_images=2, image_size_px=96), read_image=fail, read_encoded=fail
    )
    write_coco_json(source, tmp_path / "truth.json")
    assert json.loads((tmp_path / "truth.json").read_text())["images"] == [
        {"id": f"test-00000{index}", "file_name": f"test-00000{index}.png", "width": 96, "height": 96}
        for index in range(2)
    ]


def test_files_are_called_as_the_source_does_else_by_id_and_bytes(folder: pathlib.Path) -> None:
    numbered = read(folder, document())
    named = dataclasses.replace(numbered, file_names=("cats/1.jpeg", "2.JPG", "3.png"))
    whole = dataclasses.replace(numbered, file_names=(), image_ids=("a.jpg", "b", "c.x"))
    assert [image_file_name(named, index) for index in range(3)] == ["cats/1.jpeg", "2.JPG", "3.png"]
    assert [image_file_name(whole, index) for index in range(3)] == ["a.jpg", "b.jpg", "c.x"]


def evaluate(truth: pathlib.Path, results: list[dict[str, Any]]) -> np.ndarray:
    """Let pycocotools itself judge."""
    coco = COCO(str(truth))
    judge = COCOeval(coco, coco.loadRes(results), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge.stats


def test_truth_as_detections_has_ap_exactly_one(folder: pathlib.Path) -> None:
    """Sparse ids, a crowd and odd coordinates all survive the way to pycocotools."""
    content = document()
    content["annotations"] += [annotation(4, 7, 1, 10.1, 3.3, 20.7, 30.9), annotation(5, 7, 1, 30, 5, 8, 9)]
    source = read(folder, content)
    write_coco_json(source, folder / "truth.json")
    results = []
    for index, image_id in enumerate(export_image_ids(source.image_ids)):
        labels = source.read_labels(index)
        real = ~labels["is_crowd"]
        scores = np.ones(int(real.sum()), np.float32)
        results += to_coco_results(image_id, labels["boxes"][real], scores, labels["classes"][real])
    assert {result["category_id"] for result in results} == {1, 13, 90}
    stats = evaluate(folder / "truth.json", results)
    assert stats[0] == stats[1] == stats[2] == 1.0
    swapped = [{**result, "category_id": {1: 13, 13: 90, 90: 1}[result["category_id"]]} for result in results]
    assert evaluate(folder / "truth.json", swapped)[0] == 0.0


def test_written_area_is_the_objects_own_where_known_else_its_boxs(folder: pathlib.Path) -> None:
    content = with_annotation(1, 2, 3, 4, area=7.25)
    write_coco_json(read(folder, content), folder / "truth.json")
    written = json.loads((folder / "truth.json").read_text())["annotations"]
    assert [entry["area"] for entry in written] == [2400, 56, 202.5, 7.25]
    again = read_coco_json(folder / "truth.json", folder / "images")
    assert again.read_labels(2)["areas"].tolist() == [202.5, 7.25]


def test_ap_by_size_goes_by_the_annotated_area_as_in_pycocotools(folder: pathlib.Path) -> None:
    """All boxes are medium, but one holds an outline of 30 x 30 px²."""
    content = document()
    content["annotations"] = [
        annotation(1, 9, 1, 0, 0, 40, 40, area=900, iscrowd=0),
        annotation(2, 42, 1, 10, 0, 40, 40, area=1600, iscrowd=0),
        annotation(3, 7, 1, 0, 0, 50, 40, area=1100.5, iscrowd=0),
    ]
    content["categories"] = [{"id": 1, "name": "person"}]
    source = read(folder, content)
    found = {"9": ([0, 0, 40, 34], 0.9), "42": ([0, 10, 40, 37], 0.8), "7": ([0, 0, 33, 50], 0.7)}
    detections = [
        ImageDetections(image_id, np.float32([box]), np.float32([score]), np.int32([1]))
        for image_id, (box, score) in found.items()
    ]
    truth = [source.read_labels(index) for index in range(len(source))]
    ours = evaluate_detections(truth, detections, source.categories)
    results = [result for image in detections for result in to_coco_results(int(image.image_id), *image[1:])]
    write_coco_json(source, folder / "truth.json")
    for file in ("labels.json", "truth.json"):
        stats = evaluate(folder / file, results)
        np.testing.assert_allclose([ours[name] for name in STATS], stats, atol=1e-9, err_msg=file)
    # IoU 34/40 = 0.85 passes 8 of the 10 thresholds; the box's own area would leave nothing small.
    assert ours["ap_small"] == pytest.approx(0.8)
    for labels in truth:
        del labels["areas"]
    assert evaluate_detections(truth, detections, source.categories)["ap_small"] == -1


def test_results_are_xywh_with_plain_numbers() -> None:
    boxes = np.array([[1, 2, 4, 8], [0, 0, 0.5, 0.25]], np.float32)
    scores = np.array([0.5, 0.25], np.float32)
    results = to_coco_results("a", boxes, scores, np.array([90, 1], np.int32))
    assert results == [
        {"image_id": "a", "category_id": 90, "bbox": [2, 1, 6, 3], "score": 0.5},
        {"image_id": "a", "category_id": 1, "bbox": [0, 0, 0.25, 0.5], "score": 0.25},
    ]
    json.dumps(results)


def test_image_ids_become_integers_only_when_none_would_change() -> None:
    assert export_image_ids(("42", "0")) == [42, 0]
    assert export_image_ids(("42", "007")) == ["42", "007"]
    assert export_image_ids(("42", "a")) == ["42", "a"]
    assert export_image_ids(("42", "²")) == ["42", "²"]


def test_unlabelled_source_has_no_truth_to_write(folder: pathlib.Path) -> None:
    with pytest.raises(InputError, match="no labels to write"):
        write_coco_json(without_labels(read(folder, document())), folder / "truth.json")
