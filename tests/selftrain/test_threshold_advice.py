import numpy as np
import pytest
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest

from selftrain_jax.selftrain.calibration import CUTS
from selftrain_jax.selftrain.threshold_advice import advise, rising_blocks
from tests.selftrain.test_calibration import calibration, curve


def curve_of(scores, is_right, cuts=CUTS, num_truth=None):
    """Count box by box."""
    labels = [sum(score >= cut for score in scores) for cut in cuts]
    right = [sum(score >= cut and ok for score, ok in zip(scores, is_right, strict=True)) for cut in cuts]
    return curve(sum(is_right) if num_truth is None else num_truth, labels, right)


def curve_of_many(scores, is_right, num_truth):
    from_cut = lambda values: (len(values) - np.searchsorted(np.sort(values), CUTS)).tolist()  # noqa: E731
    return curve(num_truth, from_cut(scores), from_cut(scores[is_right]))


def advise_one(found, precision=0.9, common=0.5, cuts=CUTS):
    advice = advise(calibration({"IoU 0.5": {"cat": found}}, cuts), precision, common)
    return advice.classes["cat"], advice


def test_hand_worked_threshold_is_where_thirty_right_boxes_outweigh_the_wrong_ones():
    # From 0.56 on 30 of 30 are right: the lower end is 30 / (30 + 2.7055) = 0.917; before, 30 of 31: 0.868.
    scores, right = [0.7] * 30 + [0.55] + [0.2] * 20, [True] * 30 + [False] + [True] * 5 + [False] * 15
    found, _ = advise_one(curve_of(scores, right, num_truth=40), 0.9)
    assert (found.threshold, found.is_reached, found.num_missing) == (0.56, True, 0)
    reading = found.readings["IoU 0.5"]
    assert (reading.precision, reading.recall, reading.num_labels) == (1.0, 30 / 40, 30)
    assert reading.interval[0] == pytest.approx(30 / (30 + 2.7055434540954))
    found, _ = advise_one(curve_of(scores, right), 0.85)
    assert found.threshold == 0.21  # 30 of 31
    found, _ = advise_one(curve_of(scores, right), 0.5)
    assert found.threshold == 0.0  # 35 of 51: lower end 0.574


def brute_force(scores, is_right, wanted):
    for cut in CUTS:
        kept = [ok for score, ok in zip(scores, is_right, strict=True) if score >= cut]
        if kept and binomtest(sum(kept), len(kept)).proportion_ci(0.9, "wilson").low >= wanted:
            return cut
    return None


def test_threshold_agrees_with_brute_force_over_the_cuts():
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(30):
        scores = np.round(rng.uniform(0.05, 1, rng.integers(1, 150)), 3)
        right = rng.uniform(size=len(scores)) < scores ** rng.uniform(0.3, 2)
        wanted = rng.choice([0.6, 0.75, 0.9])
        found, _ = advise_one(curve_of(scores, right), wanted)
        expected = brute_force(scores, right, wanted)
        assert found.is_reached == (expected is not None)
        if expected is not None:
            reached += 1
            assert found.threshold == expected
    assert 8 < reached < 27


def test_calibrated_scores_give_the_analytic_threshold_and_band():
    # Uniform scores that are right as often as they say: precision from t on is (1 + t) / 2, at t it is t.
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=2_000_000)
    right = rng.uniform(size=len(scores)) < scores
    found, advice = advise_one(curve_of_many(scores, right, int(right.sum())), 0.897)
    assert found.threshold == 0.80  # (1 + 0.79) / 2 is just too little
    assert advice.ignore_below == 0.10  # below it at most 1 - 0.897 are right
    assert found.readings["IoU 0.5"].recall == pytest.approx(1 - 0.8**2, abs=2e-3)


@pytest.mark.parametrize("seed", range(10))
def test_threshold_does_not_fall_when_more_precision_is_wanted(seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(size=rng.integers(20, 3000))
    right = rng.uniform(size=len(scores)) < scores**0.5
    counted = curve_of_many(scores, right, len(scores))
    advised = [advise_one(counted, wanted)[0] for wanted in np.arange(0.5, 0.99, 0.01)]
    thresholds = [found.threshold for found in advised if found.threshold is not None]
    assert thresholds == sorted(thresholds)
    is_reached = [found.is_reached for found in advised]
    assert is_reached == sorted(is_reached, reverse=True)


def test_class_with_too_few_boxes_is_refused_with_the_number_that_is_missing():
    # 12 right boxes on top; 13 more would make the 25 that a precision of 0.9 takes.
    scores, right = [0.9] * 12 + [0.3] * 40, [True] * 12 + [False] * 40
    found, advice = advise_one(curve_of(scores, right), 0.9, common=0.7)
    assert (found.threshold, found.is_reached, found.num_missing) == (None, False, 13)
    assert advice.thresholds == {}
    assert found.readings["IoU 0.5"].cut == 0.7  # what the common threshold does
    found, _ = advise_one(curve_of([0.9] * 25 + [0.3] * 40, [True] * 25 + [False] * 40), 0.9)
    assert (found.threshold, found.num_missing) == (0.31, 0)


def test_class_without_any_box_lacks_all():
    found, _ = advise_one(curve_of([], [], num_truth=3), 0.9)
    assert (found.threshold, found.num_missing) == (None, 25)
    assert found.readings["IoU 0.5"].precision is None


def test_teacher_that_is_not_so_precise_gets_the_nearest_threshold_and_says_so():
    scores, right = [0.9] * 100 + [0.4] * 100, [True] * 80 + [False] * 20 + [False] * 100
    found, advice = advise_one(curve_of(scores, right), 0.9)
    assert (found.is_reached, found.num_missing) == (False, 0)
    assert found.threshold == 0.9  # the highest of equals
    assert advice.thresholds == {"cat": 0.9}


def test_class_that_is_never_right_gets_the_highest_threshold():
    found, _ = advise_one(curve_of([0.3] * 50, [False] * 50, num_truth=0), 0.9)
    assert (found.threshold, found.is_reached) == (0.99, False)
    assert found.readings["IoU 0.5"].recall is None


def test_rising_blocks_are_the_isotonic_regression():
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.uniform(size=300)
        right = rng.uniform(size=300) < scores
        counted = curve_of_many(scores, right, 300)
        labels, hits = (-np.diff([*values, 0]) for values in (counted.num_labels, counted.num_right))
        filled = labels > 0
        expected = isotonic_regression(hits[filled] / labels[filled], weights=labels[filled]).x
        blocks, first = np.full(len(CUTS), np.nan), 0
        for last, num_labels, num_right in rising_blocks(counted):
            blocks[first : last + 1] = num_right / num_labels if num_labels else np.nan
            first = last + 1
        assert first == len(CUTS)
        np.testing.assert_allclose(blocks[filled], expected)


def test_band_begins_at_the_lowest_cut_where_even_low_scores_are_often_right():
    cuts = (0.05, 0.5, 0.9)
    often = curve_of([0.1] * 40 + [0.95] * 40, [True] * 20 + [False] * 20 + [True] * 40, cuts)
    assert advise_one(often, 0.9, cuts=cuts)[1].ignore_below == 0.05


def test_no_band_where_all_below_the_threshold_is_surely_background():
    cuts = (0.05, 0.5, 0.9)
    never = curve_of([0.1] * 400 + [0.95] * 40, [False] * 400 + [True] * 40, cuts)
    found, advice = advise_one(never, 0.9, cuts=cuts)
    assert (found.threshold, advice.ignore_below) == (0.5, 0.0)


def test_band_is_not_above_any_threshold_the_common_one_included():
    low = curve_of_many(np.full(400, 0.3), np.ones(400, bool), 400)
    junk = curve_of_many(np.full(9000, 0.6), np.zeros(9000, bool), 10)
    few = curve_of_many(np.full(3, 0.9), np.ones(3, bool), 3)
    both = calibration({"IoU 0.5": {"cat": low, "dog": junk, "owl": few}}, CUTS)
    advice = advise(both, 0.9, 0.25)
    assert advice.thresholds == {"cat": 0.0, "dog": 0.99}
    assert advice.ignore_below <= min(*advice.thresholds.values(), 0.25)


def test_masks_have_no_band():
    found = curve(400, [400] * 100, [100] * 100, [60] * 100)
    advice = advise(calibration({"pixels": {"cat": found}}, CUTS, trials="images", num_images=60), 0.9, 0.5)
    assert advice.ignore_below == 0


def test_second_judgement_is_read_at_the_threshold_of_the_first():
    cuts = (0.05, 0.5)
    first, second = curve(50, [60, 40], [40, 40]), curve(50, [60, 40], [21, 20])
    advice = advise(calibration({"IoU 0.5": {"cat": first}, "IoU 0.75": {"cat": second}}, cuts), 0.9, 0.7)
    assert advice.classes["cat"].readings["IoU 0.75"].precision == 0.5
