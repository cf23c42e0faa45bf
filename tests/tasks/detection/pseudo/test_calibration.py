import numpy as np

from selftrain_jax.selftrain.calibration import CUTS
from selftrain_jax.tasks.detection.pseudo.calibration import count_right_boxes
from selftrain_jax.tasks.detection.run_files import BoxSettings
from selftrain_jax.types import Category
from tests.tasks.detection.pseudo.test_quality import brute_force, example, random_pair, scored

CATEGORIES = (Category(1, "cat"), Category(2, "dog"))


def count(pairs, score_floor=0.05):
    return count_right_boxes(iter(pairs), CATEGORIES, BoxSettings(score_floor=score_floor))


def test_hand_worked_counts_at_both_ious():
    truth = example([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]], [1, 1, 2])
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 26], [70, 70, 80, 80]]
    found = scored(boxes, [1, 1, 1, 1], [0.9, 0.8, 0.6, 0.2])  # right, its double, IoU 0.6, nothing there
    counted = count([(truth, found)])
    cuts = counted.cuts.tolist()
    assert cuts == [0.05, *CUTS[6:].tolist()]
    for judged, right in (("IoU 0.5", [2, 2, 1, 1]), ("IoU 0.75", [1, 1, 1, 1])):
        cat, dog = (counted.curves[judged][name] for name in ("cat", "dog"))
        assert (cat.num_truth, dog.num_truth) == (2, 1)
        at = [cuts.index(cut) for cut in (0.05, 0.6, 0.61, 0.9)]
        assert [cat.num_labels[index] for index in at] == [4, 3, 2, 1]
        assert [cat.num_right[index] for index in at] == right
        assert cat.num_trials == cat.num_labels
        assert set(dog.num_labels) == {0}
    assert (counted.unit, counted.trials, counted.ignored_below) == ("boxes", "boxes", False)


def test_counts_agree_with_brute_force():
    rng = np.random.default_rng(3)
    pairs = [random_pair(rng) for _ in range(25)]
    counted = count(pairs)
    for class_id, name in CATEGORIES:
        curve = counted.curves["IoU 0.5"][name]
        for index in range(0, len(counted.cuts), 7):
            num_right, num_boxes, num_truth = brute_force(pairs, class_id, counted.cuts[index])
            assert (curve.num_right[index], curve.num_labels[index]) == (num_right, num_boxes)
            assert curve.num_truth == num_truth


def test_cuts_begin_at_the_score_floor():
    assert count([], 0.001).cuts[:3].tolist() == [0.001, 0.01, 0.02]
    assert count([], 0.3).cuts[:2].tolist() == [0.3, 0.31]


def test_boxes_in_ignored_regions_are_no_trial():
    truth = example([[0, 0, 100, 100]], [1], is_crowd=[True])
    counted = count([(truth, scored([[10, 10, 20, 20]], [1], [0.9]))])
    assert counted.curves["IoU 0.5"]["cat"].num_labels[0] == 0
