"""The findings hold for the paper's own numbers, and not for numbers that say otherwise."""

import dataclasses
import math

import pytest

from selftrain_jax.paper.compare.findings import FINDINGS, average, fall, find, minus
from selftrain_jax.paper.compare.verdicts import FAILS, HOLDS, UNKNOWN, judge, published_numbers
from selftrain_jax.paper.rows import rows

BY_NAME = {finding.name: finding for finding in FINDINGS}
LOSS = "loss_normalization_steadies_large_alpha"
# Means of the claims in the paper, by hand from its tables.
PUBLISHED = {
    "pretraining_falls_with_augmentation": [0.38],  # 0.3, -0.8, -0.7, -1.0
    "pretraining_hurts_with_strong_augmentation": [1.0, 0.7, 0.7],
    "pretraining_falls_with_labels": [1.8, 2.85],  # 2.6 to -1.0 and 5.2 to -0.5 in two steps
    "joint_training_is_comparable": [2.9, -0.5, 0.3],
    "gains_are_additive": [1.0, 1.5, 0.6, 2.6, 1.5],
    "student_from_teacher_converges_sooner": [0.25],  # -0.1, 0.3, 0.4, 0.4
    LOSS: [1.0] * 6,
    "best_alpha_falls_with_augmentation": [2.5, 3.0],
    "best_alpha_rises_with_steps": [1.0, 1.0, 0.5],
    "pseudo_labels_beat_noisy_human_labels": [0.9, 1.9],
    "source_matters_12": [0.5],  # 0.5, 0.6, 0.6, 0.3
    "source_matters_13": [0.35],  # 0.3, 0.6, 0.1, 0.4
    "source_matters_14": [0.45, 0.65],  # 0.3, 0.6 and 0.6, 0.7
}


def negated(row):
    """Turn every comparison round; in Figure 2 what diverges and what does not."""
    if row.table == "figure2":
        return {0: None if row.loss_norm == "ema" else 40.0}
    return {0: None if row.value is None else -row.value}


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.name)
def test_the_papers_numbers_say_what_the_paper_says(finding) -> None:
    found = judge(finding, published_numbers, is_exact=True)
    assert found.verdict == HOLDS
    if finding.name in PUBLISHED:
        assert [claim.estimate.mean for claim in found.claims] == pytest.approx(PUBLISHED[finding.name])


def test_self_training_gains_are_those_that_the_paper_prints() -> None:
    found = judge(BY_NAME["self_training_helps_in_every_cell"], published_numbers, is_exact=True)
    gains = [1.7, 1.5, 1.5, 1.3, 3.4, 1.8, 1.3, 2.7, 1.7, 1.3, 1.3, 1.6, 0.8, 0.8]
    assert [claim.estimate.mean for claim in found.claims] == pytest.approx(gains)


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.name)
def test_negated_numbers_say_that_it_does_not_hold(finding) -> None:
    assert judge(finding, negated, is_exact=True).verdict == FAILS


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.name)
def test_equal_numbers_everywhere_say_that_it_does_not_hold(finding) -> None:
    if finding.name == "student_from_teacher_converges_sooner":
        return  # equal with fewer steps is what is claimed
    assert judge(finding, lambda row: {0: 40.0}, is_exact=True).verdict == FAILS


def test_permuted_policies_turn_what_falls_with_augmentation() -> None:
    order = dict(zip(("S1", "S2", "S3", "S4"), ("S4", "S3", "S2", "S1"), strict=True))

    def permuted(row):
        return published_numbers(find(row.table, setup=row.setup, augment=order[row.augment]))

    assert judge(BY_NAME["pretraining_falls_with_augmentation"], permuted, is_exact=True).verdict == FAILS


def with_seeds(*shifts):
    """The paper's numbers, with a shift for each seed on students alone."""
    return lambda row: {
        seed: None if row.value is None else row.value + (shift if row.unlabeled else 0.0)
        for seed, shift in enumerate(shifts)
    }


def test_seeds_that_agree_hold_and_those_that_spread_cannot_be_said() -> None:
    finding = BY_NAME["self_training_helps_in_every_cell"]
    assert judge(finding, with_seeds(-0.1, 0.0, 0.1)).verdict == HOLDS
    # The least gain is 0.8; a deviation of 1 gives half a width of 4.303 / sqrt(3) = 2.48.
    spread = judge(finding, with_seeds(-1.0, 0.0, 1.0))
    assert spread.verdict == UNKNOWN
    widths = {round(claim.estimate.half_width, 2) for claim in spread.claims}
    assert widths == {2.48}
    assert [claim.verdict for claim in spread.claims].count(HOLDS) == 2  # 3.4 and 2.7
    assert judge(finding, with_seeds(-9.0, -9.1, -8.9)).verdict == FAILS


def test_a_shift_of_all_rows_of_a_seed_does_not_widen_what_is_compared_within_it() -> None:
    def drifting(row):
        return {seed: row.value + 5 * seed for seed in range(3)}

    assert judge(BY_NAME["self_training_helps_in_every_cell"], drifting).verdict == HOLDS


def test_one_seed_or_none_in_common_cannot_be_said() -> None:
    finding = BY_NAME["source_matters_12"]
    one = judge(finding, with_seeds(0.0))
    assert one.verdict == UNKNOWN
    assert one.claims[0].estimate.half_width == math.inf
    apart = judge(finding, lambda row: {0 if row.unlabeled == "imagenet" else 1: 40.0})
    assert (apart.verdict, apart.claims[0].estimate, apart.claims[0].missing) == (UNKNOWN, None, ())
    nothing = judge(finding, lambda row: {})
    assert nothing.verdict == UNKNOWN
    assert len(nothing.claims[0].missing) == 8


def test_comparable_means_that_the_whole_interval_is_within_the_bound() -> None:
    finding = BY_NAME["joint_training_is_comparable"]
    joint = finding.claims[0].terms[0][1]

    def shifted(shifts):
        def numbers(row):
            return {seed: row.value + (shift if row == joint else 0.0) for seed, shift in enumerate(shifts)}

        return numbers

    assert judge(finding, shifted([-0.01, 0.0, 0.01])).verdict == HOLDS
    assert judge(finding, shifted([-0.6, -0.5, -0.4])).verdict == UNKNOWN  # -1.0 less self-training
    assert judge(finding, shifted([-5.0, -5.1, -4.9])).verdict == FAILS
    assert judge(finding, shifted([5.0, 5.1, 4.9])).verdict == FAILS


def test_divergence_of_the_normalized_loss_or_none_at_all_refutes() -> None:
    both = judge(BY_NAME[LOSS], lambda row: {0: None, 1: None})
    neither = judge(BY_NAME[LOSS], lambda row: {0: 40.0, 1: 41.0})
    assert (both.verdict, neither.verdict) == (FAILS, FAILS)
    some = judge(BY_NAME[LOSS], lambda row: {0: None if row.loss_norm == "plain" else 1.0, 1: 40.0})
    assert some.verdict == UNKNOWN


def test_a_fall_is_the_slope_of_least_squares() -> None:
    lines = [minus(row, row) for row in rows("2")[:4]]
    weights = fall(lines)[::2]  # of each difference the first term
    # Places -1.5, -0.5, 0.5, 1.5, whose squares add up to 5.
    assert [weight for weight, _ in weights] == pytest.approx([0.3, 0.1, -0.1, -0.3])
    assert [weight for weight, _ in average(lines)] == pytest.approx([0.25, -0.25] * 4)


def test_every_claim_is_of_different_rows_and_every_name_once() -> None:
    assert len(BY_NAME) == len(FINDINGS) == 14
    for finding in FINDINGS:
        assert dataclasses.is_dataclass(finding)
        for claim in finding.claims:
            assert len({row for _, row in claim.terms}) == len(claim.terms)
            assert sum(weight for weight, _ in claim.terms) == pytest.approx(0.0)
