import json

import numpy as np
import pytest

from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.quality import suggest_thresholds
from selftrain_jax.tasks.detection.pseudo.quality import judge_boxes, measure_quality, write_quality
from selftrain_jax.types import Category
from tests.tasks.detection.pseudo.pseudo_toy import CATEGORIES, label, make_source

pytestmark = pytest.mark.tf  # the toy folder is made of records


def example(boxes, classes, **kwargs):
    return {
        "image_id": "a",
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "classes": np.array(classes, np.int32),
        **{key: np.array(value) for key, value in kwargs.items()},
    }


def scored(boxes, classes, scores):
    return example(boxes, classes, scores=np.array(scores, np.float32))


def random_example(rng, num_boxes):
    corner = rng.uniform(0, 60, (num_boxes, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (num_boxes, 2))], axis=1)
    return example(boxes, rng.integers(1, 3, num_boxes))


def random_pair(rng):
    truth = random_example(rng, rng.integers(0, 6))
    extra = random_example(rng, rng.integers(0, 6))
    boxes = np.concatenate([truth["boxes"] + rng.normal(0, 3, truth["boxes"].shape), extra["boxes"]])
    classes = np.concatenate([truth["classes"], extra["classes"]])
    return truth, scored(boxes, classes, np.round(rng.uniform(0.05, 1, len(boxes)), 3))


def test_hand_worked_precision_recall_and_calibration():
    truth = example([[0, 0, 10, 10], [20, 20, 30, 30]], [1, 1])
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 26], [50, 50, 60, 60]]
    found = scored(boxes, [1, 1, 1, 1], [0.9, 0.8, 0.6, 0.2])  # true, its double, IoU 0.6, nothing there
    quality = measure_quality([(truth, found)], (Category(1, "cat"),), threshold=0.5).to_json()
    thresholds = quality["thresholds"]
    at = dict(zip(thresholds, zip(*quality["overall"].values(), strict=True), strict=True))
    assert at[0.05] == (2 / 4, 1.0)
    assert at[0.25] == (2 / 3, 1.0)
    assert at[0.65] == (1 / 2, 0.5)
    assert at[0.85] == (1.0, 0.5)
    assert at[0.95] == (None, 0.0)
    assert quality["at_threshold"] == {"threshold": 0.5, "precision": 2 / 3, "recall": 1.0}
    assert quality["per_class"]["cat"] == quality["overall"]
    calibration = quality["calibration"]
    assert calibration["count"] == [0, 0, 1, 0, 0, 0, 1, 0, 1, 1]
    assert calibration["precision"][2:] == [0.0, None, None, None, 1.0, None, 0.0, 1.0]
    # |0.2 - 0| + |0.6 - 1| + |0.8 - 0| + |0.9 - 1| over 4 boxes
    assert calibration["expected_calibration_error"] == pytest.approx(1.5 / 4)
    json.dumps(quality)


def test_perfect_detections_have_precision_and_recall_one():
    rng = np.random.default_rng(0)
    truths = [random_example(rng, 4) for _ in range(5)]
    pairs = [(truth, scored(truth["boxes"], truth["classes"], np.ones(4))) for truth in truths]
    quality = measure_quality(pairs, (Category(1, "cat"), Category(2, "dog"))).to_json()
    for curves in (quality["overall"], *quality["per_class"].values()):
        assert set(curves["precision"]) == set(curves["recall"]) == {1.0}
    assert quality["calibration"]["expected_calibration_error"] == 0


def test_box_of_another_class_is_false():
    truth = example([[0, 0, 10, 10]], [1])
    assert judge_boxes(truth, scored([[0, 0, 10, 10]], [2], [0.9])).tolist() == [0]


def test_better_score_takes_the_truth_and_its_best_overlap():
    truth = example([[0, 0, 10, 10], [0, 2, 10, 12]], [1, 1])
    found = scored([[0, 2, 10, 12], [0, 1, 10, 11]], [1, 1], [0.4, 0.9])
    assert judge_boxes(truth, found).tolist() == [
        1,
        1,
    ]  # the second takes the first truth (ties: the earlier)
    assert judge_boxes(example([[0, 0, 10, 10]], [1]), found).tolist() == [0, 1]


def test_boxes_in_crowds_and_ignored_regions_do_not_count():
    region = [[0, 0, 100, 100]]
    found = scored([[10, 10, 20, 20], [95, 95, 105, 105]], [1, 1], [0.9, 0.8])
    for key in ("is_crowd", "is_ignore"):
        truth = example(region, [1], **{key: [True]})
        assert judge_boxes(truth, found).tolist() == [-1, 0]  # a quarter of the second lies inside
        quality = measure_quality([(truth, found)], (Category(1, "cat"),)).to_json()
        assert quality["overall"]["recall"] == [None] * 19
        assert quality["overall"]["precision"][0] == 0


def brute_force(pairs, class_id, threshold):
    """Count true boxes, boxes and truth of a class, box by box."""
    num_true = num_boxes = num_truth = 0
    for truth, found in pairs:
        rows = [i for i in range(len(truth["classes"])) if truth["classes"][i] == class_id]
        num_truth += len(rows)
        free = set(rows)
        candidates = [i for i in range(len(found["classes"])) if found["classes"][i] == class_id]
        for i in sorted(candidates, key=lambda i: -found["scores"][i]):
            if found["scores"][i] < np.float32(threshold):
                continue
            num_boxes += 1
            best, best_row = 0.0, None
            for row in free:
                a, b = found["boxes"][i].astype(float), truth["boxes"][row].astype(float)
                high, wide = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                both = max(high, 0) * max(wide, 0)
                overlap = both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
                if overlap > best:
                    best, best_row = overlap, row
            if best >= 0.5:
                free.discard(best_row)
                num_true += 1
    return num_true, num_boxes, num_truth


def test_curves_agree_with_brute_force():
    rng = np.random.default_rng(1)
    pairs = [random_pair(rng) for _ in range(40)]
    quality = measure_quality(pairs, (Category(1, "cat"), Category(2, "dog"))).to_json()
    for class_id, name in ((1, "cat"), (2, "dog")):
        for threshold, precision, recall in zip(
            quality["thresholds"], *quality["per_class"][name].values(), strict=True
        ):
            num_true, num_boxes, num_truth = brute_force(pairs, class_id, threshold)
            assert (precision, recall) == (num_true / num_boxes, num_true / num_truth)


def test_suggested_threshold_has_the_best_f1():
    truth = example([[0, 0, 10, 10], [20, 20, 30, 30], [0, 50, 9, 60]], [1, 1, 2])
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60], [70, 70, 80, 80]]
    found = scored(boxes, [1, 1, 1, 2], [0.9, 0.62, 0.41, 0.9])
    quality = measure_quality([(truth, found)], (Category(1, "cat"), Category(2, "dog")))
    assert suggest_thresholds(quality) == {"cat": 0.45}  # the false 0.41 is out, 0.62 still in


def make_truth(num_images):
    """The cat stands where the toy teacher says; there is no dog."""
    plain = make_source(num_images, name="truth")
    return Source(
        name="truth",
        categories=CATEGORIES,
        image_ids=plain.image_ids,
        read_labels=lambda index: example([[2, 4, 10, 24]], [1]),
        read_encoded=plain.read_encoded,
        read_image=plain.read_image,
    )


def test_quality_of_a_folder_counts_from_the_floor(tmp_path):
    label(tmp_path, 60)
    shuffled = subset(make_truth(70), np.random.default_rng(0).permutation(70), "shuffled")
    quality = write_quality(tmp_path, shuffled, threshold=0.5).to_json()
    assert quality == json.loads((tmp_path / "quality.json").read_text())
    assert quality["per_class"]["cat"]["recall"][0] == 55 / 60  # scores 0.05 .. 0.59
    assert quality["per_class"]["dog"] == {
        "precision": [0.0] * 6 + [None] * 13,
        "recall": [None] * 19,
    }
    assert quality["at_threshold"] == {"threshold": 0.5, "precision": 1.0, "recall": 10 / 60}
    with_dogs = write_quality(tmp_path, shuffled, threshold=0.5, per_class_thresholds={"dog": 0.2}).to_json()
    assert with_dogs["at_threshold"]["precision"] == 10 / 70


def test_quality_needs_the_labels_of_every_image(tmp_path):
    label(tmp_path, 10)
    with pytest.raises(InputError, match=r"no labels for 2 images .*image-8"):
        write_quality(tmp_path, make_truth(8))
