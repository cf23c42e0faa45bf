"""What our numbers say of a finding: it holds, it does not hold, or it cannot be said; call `judge`.

A claim is about a sum of rows' numbers with weights, such as student less teacher. It holds where the whole
interval of the sum lies between the claim's bounds, and does not hold where none of the interval does. A
finding holds if all its claims do, and does not hold if one does not. Each interval is at 95 % by itself:
a finding of many claims is held to be true too seldom rather than too often, and of many claims that are
true one may by chance be called wrong.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from selftrain_jax.paper.compare.intervals import Estimate, estimate
from selftrain_jax.paper.compare.results import Sample
from selftrain_jax.paper.row import Row

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot be said"
Terms = tuple[tuple[float, Row], ...]
"""Weights and rows; the sum of weight times number is what a claim is about."""


@dataclass(frozen=True)
class Claim:
    """The sum of some rows' numbers lies strictly between two bounds."""

    name: str
    terms: Terms
    low: float = 0.0
    high: float = math.inf
    is_divergence: bool = False  # the number is 1 where the training diverged, else 0


@dataclass(frozen=True)
class Finding:
    """What the paper found, as claims about its tables."""

    name: str
    tables: str  # in words
    statement: str
    claims: tuple[Claim, ...]


class ClaimVerdict(NamedTuple):
    """A claim with its numbers; `estimate` is None where a seed with all of them is missing."""

    claim: Claim
    estimate: Estimate | None
    verdict: str
    missing: tuple[Row, ...]  # the rows without any number


class FindingVerdict(NamedTuple):
    """A finding with the verdicts of its claims."""

    finding: Finding
    verdict: str
    claims: tuple[ClaimVerdict, ...]


Numbers = Callable[[Row], Sample]
"""Returns a row's numbers by seed."""


def published_numbers(row: Row) -> Sample:
    """Return the paper's own number as a sample, to judge with `is_exact`."""
    return {0: row.value}


def judge(finding: Finding, numbers: Numbers, *, is_exact: bool = False) -> FindingVerdict:
    """Judge a finding. `is_exact`: each row has one number, which is taken as it is, without an interval."""
    claims = tuple(_judge_claim(claim, numbers, is_exact) for claim in finding.claims)
    verdicts = {own.verdict for own in claims}
    verdict = FAILS if FAILS in verdicts else UNKNOWN if UNKNOWN in verdicts else HOLDS
    return FindingVerdict(finding, verdict, claims)


def _judge_claim(claim: Claim, numbers: Numbers, is_exact: bool) -> ClaimVerdict:
    samples = {row: numbers(row) for _, row in claim.terms}
    missing = tuple(row for row, sample in samples.items() if not sample)
    sums = _sum_by_seed(claim, samples)
    if not sums:
        return ClaimVerdict(claim, None, UNKNOWN, missing)
    found = Estimate(sums[0], 0.0, 0) if is_exact else estimate(sums)
    if claim.low < found.low and found.high < claim.high:
        verdict = HOLDS
    elif found.high <= claim.low or found.low >= claim.high:
        verdict = FAILS
    else:
        verdict = UNKNOWN
    return ClaimVerdict(claim, found, verdict, missing)


def _sum_by_seed(claim: Claim, samples: dict[Row, Sample]) -> list[float]:
    """Return the sum of each seed that has all rows; of a training that diverged there is no number."""
    seeds = set.intersection(*(set(sample) for sample in samples.values()))
    sums = []
    for seed in sorted(seeds):
        values = [(weight, samples[row][seed]) for weight, row in claim.terms]
        if claim.is_divergence:
            sums.append(sum(weight * (value is None) for weight, value in values))
        elif all(value is not None for _, value in values):
            sums.append(sum(weight * value for weight, value in values if value is not None))
    return [float(value) for value in sums]
