import numpy as np
import pytest
from scipy.stats import binomtest

from selftrain_jax.data.source import Source
from selftrain_jax.run_files.calibration import ClassCurve, TeacherCalibration, TeacherIdentity
from selftrain_jax.selftrain.calibration import (
    Z,
    add_curves,
    fewest_trials,
    hash_labels,
    pooled_curve,
    reliability,
    wilson_interval,
)
from selftrain_jax.types import Category


@pytest.mark.parametrize(
    ("right", "trials"), [(0, 1), (0, 40), (1, 1), (8, 10), (37, 40), (40, 40), (500, 999)]
)
def test_wilson_interval_is_scipys(right, trials):
    expected = binomtest(right, trials).proportion_ci(confidence_level=0.9, method="wilson")
    assert wilson_interval(right / trials, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_ends_of_the_interval_are_where_the_score_test_just_rejects(share):
    for end in wilson_interval(share, 50):
        assert (share - end) ** 2 == pytest.approx(Z**2 * end * (1 - end) / 50, abs=1e-12)


def test_nothing_is_known_without_a_trial():
    assert wilson_interval(0.5, 0) == (0.0, 1.0)


def test_fewest_trials_by_hand_and_by_search():
    assert fewest_trials(0.9) == 25  # 2.7055 * 9 = 24.3
    assert fewest_trials(0.8) == 11  # 2.7055 * 4 = 10.8
    for wanted in (0.3, 0.5, 0.77, 0.9, 0.95, 0.99):
        found = next(n for n in range(1, 999) if wilson_interval(1.0, n)[0] >= wanted)
        assert fewest_trials(wanted) == found


def curve(num_truth, num_labels, num_right, num_trials=None):
    return ClassCurve(
        num_truth=int(num_truth),
        num_labels=tuple(map(int, num_labels)),
        num_right=tuple(map(int, num_right)),
        num_trials=tuple(map(int, num_trials or num_labels)),
    )


def calibration(curves, cuts, *, num_images=9, trials="boxes"):
    return TeacherCalibration(
        teacher=TeacherIdentity(digest="ab", step=9),
        split="toy/val",
        num_images=num_images,
        data_sha256="cd",
        settings={},
        unit="boxes" if trials == "boxes" else "pixels",
        trials=trials,
        ignored_below=trials != "boxes",
        cuts=tuple(cuts),
        curves=curves,
    )


def test_curves_of_hosts_and_of_classes_add_up():
    first, second = curve(3, [4, 2], [3, 2]), curve(5, [7, 1], [5, 0])
    both = curve(8, [11, 3], [8, 2])
    assert add_curves([{"IoU 0.5": {"cat": first}}, {"IoU 0.5": {"cat": second}}]) == {
        "IoU 0.5": {"cat": both}
    }
    of_boxes = calibration({"IoU 0.5": {"cat": first, "dog": second}}, [0.1, 0.5], num_images=2)
    assert pooled_curve(of_boxes, "IoU 0.5") == both


def test_an_image_of_several_classes_is_one_trial():
    by_class = {"cat": curve(90, [80, 70], [60, 55], [4, 1]), "dog": curve(50, [40, 9], [30, 9], [3, 2])}
    of_masks = calibration({"pixels": by_class}, [0.0, 0.5], num_images=5, trials="images")
    assert pooled_curve(of_masks, "pixels").num_trials == (5, 3)


def make_source(boxes, names=("cat",), ids=("a", "b")):
    return Source(
        name="toy",
        categories=tuple(Category(index + 1, name) for index, name in enumerate(names)),
        image_ids=ids,
        read_labels=lambda index: {"image_id": ids[index], "boxes": np.array(boxes[index], np.float32)},
        read_encoded=lambda index: b"",
        read_image=lambda index: np.zeros((1, 1, 3), np.uint8),
    )


def test_hash_of_labels_changes_with_ids_classes_and_boxes_only():
    boxes = [[[0, 0, 1, 1]], [[0, 0, 2, 2]]]
    moved = [[[0, 0, 1, 1]], [[0, 0, 2, 3]]]
    hashes = {
        hash_labels(source)
        for source in (
            make_source(boxes),
            make_source(moved),
            make_source(boxes, names=("dog",)),
            make_source(boxes, ids=("a", "c")),
            make_source([boxes[0], boxes[0]]),
        )
    }
    assert len(hashes) == 5
    assert hash_labels(make_source(boxes)) == hash_labels(make_source([*boxes]))
    assert hash_labels(make_source(boxes, ids=("a", "\udcff")))  # names of files may hold any bytes


def test_reliability_bins_the_scores_of_all_classes():
    # 10 labels of about 0.055, 3 right; 6 of about 0.905, all right, in two classes.
    first, second = curve(9, [13, 3, 3, 0], [6, 3, 3, 0]), curve(9, [3, 3, 3, 0], [3, 3, 3, 0])
    found = calibration({"IoU 0.5": {"cat": first, "dog": second}}, [0.05, 0.06, 0.9, 0.91])
    binned = reliability(found, "IoU 0.5")
    assert binned.count == (10, 0, 0, 0, 0, 0, 0, 0, 0, 6)
    assert (binned.mean_score[0], binned.mean_score[9]) == pytest.approx((0.055, 0.905))
    assert (binned.precision[0], binned.precision[9]) == (0.3, 1.0)
    assert binned.expected_calibration_error == pytest.approx((10 * (0.3 - 0.055) + 6 * 0.095) / 16)
