"""From which score on are a class's labels as precise as wanted? Call `advise` on a teacher's calibration.

The lower end of Wilson's interval decides, not the observed share: the lowest cut at which the share is as
high as wanted is the one where chance helped most, so that its labels would on average be worse than wanted.
The search over cuts takes some of the bound's confidence away again. The price is recall, which the ignore
band makes cheap.

Paper: Section 3.1 has one threshold of 0.5 for all classes. Differs: by class, from labelled images.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from selftrain_jax.run_files.calibration import ClassCurve, TeacherCalibration
from selftrain_jax.selftrain.calibration import fewest_trials, pooled_curve, wilson_interval


class Reading(NamedTuple):
    """The labels of a class from one cut on."""

    cut: float
    precision: float | None  # None without labels
    interval: tuple[float, float]
    recall: float | None  # None without truth
    num_labels: int
    num_trials: int


class ClassAdvice(NamedTuple):
    """What the calibration says of one class; of `threshold`, `is_reached` and `num_missing` one counts."""

    threshold: float | None  # None: too few labels to say, the common threshold stays
    is_reached: bool  # False with a threshold: no cut is as precise as wanted, this one comes nearest
    num_missing: int  # trials that are missing at the least; 0 with a threshold
    readings: Mapping[str, Reading]  # at the threshold, advised or common, by how a label is judged


class Advice(NamedTuple):
    """Thresholds for a wanted precision."""

    precision: float
    common: float  # the threshold of the classes without one of their own
    classes: Mapping[str, ClassAdvice]
    pooled: ClassAdvice  # all classes as one: what the common threshold could be
    ignore_below: float  # as config.pseudo.ignore_below; 0: no band

    @property
    def thresholds(self) -> dict[str, float]:
        """The advised thresholds by class, without the classes that have too few labels."""
        return {name: found.threshold for name, found in self.classes.items() if found.threshold is not None}


def advise(calibration: TeacherCalibration, precision: float, common: float) -> Advice:
    """Find the lowest threshold of each class that surely has the wanted precision, and the ignore band.

    `precision` is above 0 and below 1; `common` is the threshold that stays where there are too few labels.
    """
    judged = next(iter(calibration.curves))
    classes = {
        name: _advise_class(
            {key: by_class[name] for key, by_class in calibration.curves.items()},
            calibration.cuts,
            precision,
            common,
        )
        for name in calibration.curves[judged]
    }
    pooled = {key: pooled_curve(calibration, key) for key in calibration.curves}
    advice = Advice(precision, common, classes, _advise_class(pooled, calibration.cuts, precision, common), 0)
    if calibration.ignored_below:
        return advice
    return advice._replace(ignore_below=_find_band(pooled[judged], calibration.cuts, advice))


def read_curve(curve: ClassCurve, cuts: tuple[float, ...], index: int) -> Reading:
    """Read precision, recall and interval off a curve at one of its cuts."""
    labels, right, trials = curve.num_labels[index], curve.num_right[index], curve.num_trials[index]
    share = right / labels if labels else None
    return Reading(
        cut=cuts[index],
        precision=share,
        interval=wilson_interval(share or 0.0, trials),
        recall=right / curve.num_truth if curve.num_truth else None,
        num_labels=labels,
        num_trials=trials,
    )


def first_from(cuts: tuple[float, ...], threshold: float) -> int:
    """Return the first cut from a threshold on, the last one where there is none."""
    return next((index for index, cut in enumerate(cuts) if cut >= threshold), len(cuts) - 1)


def _advise_class(
    curves: Mapping[str, ClassCurve], cuts: tuple[float, ...], precision: float, common: float
) -> ClassAdvice:
    deciding = next(iter(curves.values()))
    readings = [read_curve(deciding, cuts, index) for index in range(len(cuts))]
    sure = next((i for i, reading in enumerate(readings) if reading.interval[0] >= precision), None)
    num_missing = 0 if sure is not None else _count_missing(readings, precision)
    chosen = sure
    if sure is None and not num_missing:  # no cut is good enough, and more labels would hardly help
        chosen = max(range(len(cuts)), key=lambda index: (readings[index].interval[0], index))
    shown = first_from(cuts, common) if chosen is None else chosen
    return ClassAdvice(
        threshold=None if chosen is None else cuts[chosen],
        is_reached=sure is not None,
        num_missing=num_missing,
        readings={key: read_curve(curve, cuts, shown) for key, curve in curves.items()},
    )


def _count_missing(readings: list[Reading], precision: float) -> int:
    """Count how many trials are missing at the least, where too few are precise enough to be sure of it.

    Looked at are the cuts whose observed precision is as high as wanted, or all labels without such a cut.
    """
    good = [reading for reading in readings if (reading.precision or 0.0) >= precision] or readings[:1]
    return max(fewest_trials(precision) - max(reading.num_trials for reading in good), 0)


def _find_band(pooled: ClassCurve, cuts: tuple[float, ...], advice: Advice) -> float:
    """Return the score below which labels are background as surely as those at the threshold are right.

    Up to it at most 1 - precision of the labels of each block of `rising_blocks` are right, by the upper end
    of the interval; the lowest cut where there is none. Not above any threshold; 0, no band, above all.
    """
    used = [
        advice.common if found.threshold is None else found.threshold for found in advice.classes.values()
    ]
    lowest, highest = min(used, default=advice.common), max(used, default=advice.common)
    band = cuts[0]
    for last, labels, right in rising_blocks(pooled):
        if not labels or wilson_interval(right / labels, labels)[1] > 1 - advice.precision:
            break
        band = cuts[last + 1] if last + 1 < len(cuts) else 1.0
    return 0.0 if band >= highest else min(band, lowest)


def rising_blocks(curve: ClassCurve) -> list[tuple[int, int, int]]:
    """Join neighbouring bins between cuts until the share of right labels rises from block to block.

    Isotonic regression by pooling adjacent violators: the share at a score without the noise of small bins.
    Blocks are (last bin, labels, right ones), bin k being from cut k to the next one.
    """
    labels, right = (-np.diff([*values, 0]) for values in (curve.num_labels, curve.num_right))
    blocks: list[tuple[int, int, int]] = []
    for last, block in enumerate(zip(labels.tolist(), right.tolist(), strict=True)):
        while blocks and blocks[-1][2] * block[0] >= block[1] * blocks[-1][1]:
            _, *before = blocks.pop()
            block = (block[0] + before[0], block[1] + before[1])
        blocks.append((last, *block))
    return blocks
