import json

import numpy as np
import pytest

from selftrain_jax.detection.coco_eval import (
    STATS,
    ImageDetections,
    coco_ground_truth,
    coco_results,
    evaluate_detections,
)
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category

CAT = (Category(1, "cat"),)
COCO_LIKE = (Category(1, "person"), Category(80, "toaster"), Category(90, "toothbrush"))
BACKENDS = ["pycocotools", "faster_coco_eval"]


def truth_of(image_id, boxes, classes=None, **kwargs):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.ones(len(boxes), np.int32) if classes is None else np.array(classes, np.int32)
    return {
        "image_id": image_id,
        "boxes": boxes,
        "classes": classes,
        **{key: np.array(value) for key, value in kwargs.items()},
    }


def found_in(image_id, boxes, scores, classes=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.ones(len(boxes), np.int32) if classes is None else np.array(classes, np.int32)
    return ImageDetections(image_id, boxes, np.array(scores, np.float32), classes)


def random_boxes(rng, num_boxes):
    corner = rng.uniform(0, 300, (num_boxes, 2))
    size = np.exp(rng.uniform(np.log(8), np.log(200), (num_boxes, 1))) * rng.uniform(
        0.8, 1.25, (num_boxes, 2)
    )
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def random_data(seed, num_images=25, crowds=True):
    """Truth of three sizes with crowds; detections near it and elsewhere, many of equal score."""
    rng = np.random.default_rng(seed)
    ids = np.array([category.id for category in COCO_LIKE], np.int32)
    truth, found = [], []
    for i in rng.permutation(num_images):
        boxes, extra = random_boxes(rng, rng.integers(0, 9)), random_boxes(rng, rng.integers(0, 9))
        classes = rng.choice(ids, len(boxes))
        is_crowd = rng.uniform(size=len(boxes)) < 0.2 * crowds
        truth.append(truth_of(f"im{i}", boxes, classes, is_crowd=is_crowd))
        near = boxes + rng.normal(0, 0.08, boxes.shape) * (boxes[:, 2:3] - boxes[:, :1])
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        near_classes = np.where(rng.uniform(size=len(boxes)) < 0.8, classes, rng.choice(ids, len(boxes)))
        scores = np.round(rng.uniform(0, 1, len(near) + len(extra)), 1)
        found.append(
            found_in(
                f"im{i}",
                np.concatenate([near, extra]),
                scores,
                np.concatenate([near_classes, rng.choice(ids, len(extra))]),
            )
        )
    return truth, found


def iou(a, b):
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    both = max(height, 0.0) * max(width, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def oracle_ap50(truth, found, class_id):
    """Average, over 101 recalls, the best precision from there on."""
    ranked, num_truth = [], 0
    for example, image in sorted(zip(truth, found, strict=True), key=lambda pair: pair[0]["image_id"]):
        targets = example["boxes"][example["classes"] == class_id].astype(float)
        num_truth += len(targets)
        free = [True] * len(targets)
        of_class = image.classes == class_id
        boxes, scores = image.boxes[of_class].astype(float), image.scores[of_class]
        for box, score in sorted(zip(boxes, scores, strict=True), key=lambda pair: -pair[1]):
            overlaps = [iou(box, target) if ok else 0.0 for target, ok in zip(targets, free, strict=True)]
            hit = bool(overlaps) and max(overlaps) >= 0.5
            if hit:
                free[int(np.argmax(overlaps))] = False
            ranked.append((score, hit))
    hits = np.cumsum([hit for _, hit in sorted(ranked, key=lambda pair: -pair[0])])
    recall, precision = hits / num_truth, hits / np.arange(1, len(hits) + 1)
    points = [precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)]
    return np.mean(points)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hand_worked_two_images(backend):
    truth = [truth_of("a", [[0, 0, 100, 100]]), truth_of("b", [[0, 0, 100, 100], [200, 200, 300, 300]])]
    found = [
        found_in("a", [[0, 0, 100, 100]], [0.9]),
        found_in("b", [[400, 400, 500, 500], [0, 0, 100, 62]], [0.8, 0.7]),
    ]
    metrics = evaluate_detections(truth, found, CAT, backend=backend)
    # Right at 0.9 (precision 1, recall 1/3), wrong at 0.8, at 0.7 IoU 0.62 (precision 2/3, recall 2/3).
    # 34 of the 101 recalls lie up to 1/3, 33 more up to 2/3.
    assert metrics["ap50"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert metrics["ap75"] == pytest.approx(34 / 101)
    assert metrics["ap"] == pytest.approx((3 * 56 + 7 * 34) / 1010)  # 0.62 passes 0.5, 0.55 and 0.6
    assert metrics["ar_1"] == pytest.approx(1 / 3)
    assert metrics["ar_100"] == pytest.approx((3 * 2 / 3 + 7 / 3) / 10)
    assert metrics["ap_large"] == metrics["ap"]
    assert metrics["ap_small"] == metrics["ap_medium"] == -1
    assert metrics["per_class"] == {"cat": {"ap": metrics["ap"], "ap50": metrics["ap50"], "num_boxes": 3}}
    curves = metrics["pr_curves"]
    np.testing.assert_allclose(curves["precision_iou50"], [1] * 34 + [2 / 3] * 33 + [0] * 34)
    np.testing.assert_allclose(curves["precision_iou75"], [1] * 34 + [0] * 67)
    assert curves["per_class_iou50"]["cat"] == curves["precision_iou50"]
    assert curves["recall"] == pytest.approx(np.linspace(0, 1, 101))
    assert metrics["num_images"] == 2
    json.dumps(metrics)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ap50_agrees_with_an_independent_oracle(backend):
    truth, found = random_data(0, num_images=40, crowds=False)
    metrics = evaluate_detections(truth, found, COCO_LIKE, backend=backend)
    for category in COCO_LIKE:
        expected = oracle_ap50(truth, found, category.id)
        assert 0.1 < expected < 0.9
        assert metrics["per_class"][category.name]["ap50"] == pytest.approx(expected, abs=1e-9)
    assert np.mean(metrics["pr_curves"]["precision_iou50"]) == pytest.approx(metrics["ap50"])
    assert np.mean(metrics["pr_curves"]["precision_iou75"]) == pytest.approx(metrics["ap75"])


@pytest.mark.parametrize("seed", range(8))
def test_both_backends_agree_exactly(seed):
    truth, found = random_data(seed)
    slow, fast = (evaluate_detections(truth, found, COCO_LIKE, backend=backend) for backend in BACKENDS)
    assert slow == fast
    assert all(slow[name] > 0 for name in STATS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_truth_as_detections_gives_exactly_one_in_every_number_that_can_be(backend):
    truth, _ = random_data(5)
    found = [
        found_in(
            e["image_id"],
            e["boxes"][~e["is_crowd"]],
            np.ones((~e["is_crowd"]).sum()),
            e["classes"][~e["is_crowd"]],
        )
        for e in truth
    ]
    metrics = evaluate_detections(truth, found, COCO_LIKE, backend=backend)
    for name in set(STATS) - {"ar_1", "ar_10"}:  # these cap the boxes of an image
        assert metrics[name] == 1.0, name
    assert {row["ap"] for row in metrics["per_class"].values()} == {1.0}


def test_coco_ids_survive():
    truth = [truth_of("a", [[0, 0, 50, 50], [0, 60, 50, 110]], [80, 90])]
    right = [found_in("a", [[0, 0, 50, 50], [0, 60, 50, 110]], [0.9, 0.8], [80, 90])]
    swapped = [found_in("a", [[0, 0, 50, 50], [0, 60, 50, 110]], [0.9, 0.8], [90, 80])]
    assert evaluate_detections(truth, right, COCO_LIKE)["ap"] == 1.0
    assert evaluate_detections(truth, swapped, COCO_LIKE)["ap"] == 0.0
    assert evaluate_detections(truth, right, COCO_LIKE)["per_class"]["person"] == {
        "ap": -1,
        "ap50": -1,
        "num_boxes": 0,
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("key", ["is_crowd", "is_ignore"])
def test_detections_in_a_crowd_are_neither_right_nor_wrong(backend, key):
    truth = [truth_of("a", [[0, 0, 50, 50], [100, 100, 300, 300]], **{key: [False, True]})]
    found = [found_in("a", [[110, 110, 140, 140], [0, 0, 50, 50]], [0.9, 0.5])]
    metrics = evaluate_detections(truth, found, CAT, backend=backend)
    assert metrics["ap"] == 1.0
    assert metrics["per_class"]["cat"]["num_boxes"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_without_truth_or_detections(backend):
    truth = [truth_of("a", [[0, 0, 50, 50]]), truth_of("b", []), truth_of("c", [])]
    found = [found_in("a", [[0, 0, 50, 50]], [0.5]), found_in("b", [], [])]
    assert evaluate_detections(truth, found, CAT, backend=backend)["ap"] == 1.0
    false_alarm = [*found, found_in("c", [[0, 0, 9, 9]], [0.9])]
    assert evaluate_detections(truth, false_alarm, CAT, backend=backend)["ap"] == pytest.approx(0.5)
    assert evaluate_detections(truth, [], CAT, backend=backend)["ap"] == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_set_without_any_box_is_undefined(backend, capsys):
    metrics = evaluate_detections([truth_of("a", [])], [], CAT, backend=backend)
    assert {metrics[name] for name in STATS} == {-1.0}
    assert metrics["pr_curves"]["precision_iou50"] == [-1.0] * 101
    assert capsys.readouterr().out == ""


def test_area_of_the_object_decides_its_size_where_it_is_known():
    box = [[0, 0, 40, 40]]  # 1600 px²: medium; a mask of 900 px² would be small
    found = [found_in("a", box, [0.9])]
    assert evaluate_detections([truth_of("a", box)], found, CAT)["ap_medium"] == 1.0
    thin = evaluate_detections([truth_of("a", box, areas=np.float32([900]))], found, CAT)
    assert (thin["ap_small"], thin["ap_medium"]) == (1.0, -1.0)


def test_exported_files_give_pycocotools_the_same_numbers(tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = random_data(6)
    (tmp_path / "truth.json").write_text(json.dumps(coco_ground_truth(truth, COCO_LIKE)))
    (tmp_path / "found.json").write_text(json.dumps(coco_results(found)))
    dataset = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(dataset, dataset.loadRes(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = evaluate_detections(truth, found, COCO_LIKE)
    assert [metrics[name] for name in STATS] == pytest.approx(evaluation.stats.tolist(), abs=1e-12)


def test_boxes_are_exported_as_x_y_width_height():
    (result,) = coco_results([found_in("a", [[10, 20, 40, 80]], [0.5], [90])])
    assert result == {"image_id": "a", "category_id": 90, "bbox": [20.0, 10.0, 60.0, 30.0], "score": 0.5}


@pytest.mark.parametrize(
    ("truth_ids", "found_ids", "class_id", "message"),
    [
        (["a", "a"], [], 1, r"1 images are twice in the ground truth: \['a'\]"),
        (["a"], ["a", "a"], 1, "are twice in the detections"),
        (["a"], ["b"], 1, r"1 images that are not in the ground truth: \['b'\]"),
        (["a"], ["a"], 2, r"classes \[2\] are not among the category ids \[1\]"),
    ],
)
def test_mismatched_inputs_are_refused(truth_ids, found_ids, class_id, message):
    truth = [truth_of(id, [[0, 0, 9, 9]]) for id in truth_ids]
    found = [found_in(id, [[0, 0, 9, 9]], [0.5], [class_id]) for id in found_ids]
    with pytest.raises(InputError, match=message):
        evaluate_detections(truth, found, CAT)
