"""Is the teacher right as often as its score says? Intervals, and curves added up over hosts.

`tasks/<task>/pseudo/calibration.py` counts, `threshold_advice` draws conclusions.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.run_files.calibration import ClassCurve, TeacherCalibration
from selftrain_jax.run_files.quality import Calibration
from selftrain_jax.selftrain.quality import CALIBRATION_EDGES, calibrate

CUTS = np.round(np.arange(0, 1, 0.01), 2)
Z = 1.6448536269514722  # the 95 % quantile of the normal distribution: each end of an interval is 95 % sure

Curves = Mapping[str, Mapping[str, ClassCurve]]
"""By how a label is judged, then by class, as `TeacherCalibration.curves`."""


class Counted(NamedTuple):
    """What a task counts on labelled images: its part of a `TeacherCalibration`."""

    unit: str
    trials: str
    ignored_below: bool
    cuts: np.ndarray
    curves: Curves


def wilson_interval(share: float, num_trials: int, z: float = Z) -> tuple[float, float]:
    """Return Wilson's interval of a share that was observed in `num_trials`; (0, 1) without any.

    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). With the default `z` it is the 90 % interval: the
    true share is above the lower end with 95 % confidence.
    """
    if not num_trials:
        return 0.0, 1.0
    ratio = z * z / num_trials
    middle, half = share + ratio / 2, math.sqrt(ratio * share * (1 - share) + ratio * ratio / 4)
    return max((middle - half) / (1 + ratio), 0.0), min((middle + half) / (1 + ratio), 1.0)


def fewest_trials(wanted: float, z: float = Z) -> int:
    """Return how many trials it takes to show a share, at the least: that many right ones and no wrong one.

    n = z² w / (1 - w), where the lower end of Wilson's interval for p = 1 is `wanted`.
    """
    return math.ceil(z * z * wanted / (1 - wanted) - 1e-9)


def add_curves(parts: Sequence[Curves]) -> Curves:
    """Add up the curves of disjoint sets of images."""
    first = parts[0]
    return {
        judged: {name: _add([part[judged][name] for part in parts]) for name in by_class}
        for judged, by_class in first.items()
    }


def pooled_curve(calibration: TeacherCalibration, judged: str) -> ClassCurve:
    """Add up the curves of all classes; an image is one trial, however many classes it has."""
    pooled = _add(list(calibration.curves[judged].values()))
    if calibration.trials == calibration.unit:
        return pooled
    trials = tuple(min(number, calibration.num_images) for number in pooled.num_trials)
    return dataclasses.replace(pooled, num_trials=trials)


def reliability(calibration: TeacherCalibration, judged: str) -> Calibration:
    """Compare score and precision of all classes in ten bins; a score counts as the middle of its cuts."""
    pooled, cuts = pooled_curve(calibration, judged), np.append(calibration.cuts, 1.0)
    labels, right = (-np.diff([*values, 0]) for values in (pooled.num_labels, pooled.num_right))
    bins = np.searchsorted(CALIBRATION_EDGES[1:-1], cuts[:-1], side="right")
    sums = [
        np.bincount(bins, weights=weights, minlength=len(CALIBRATION_EDGES) - 1)
        for weights in (labels, labels * (cuts[:-1] + cuts[1:]) / 2, right)
    ]
    return calibrate(sums[0].astype(int), sums[1], sums[2])


def _add(curves: Sequence[ClassCurve]) -> ClassCurve:
    def total(key: str) -> tuple[int, ...]:
        return tuple(np.sum([getattr(curve, key) for curve in curves], axis=0).tolist())

    return ClassCurve(
        num_truth=sum(curve.num_truth for curve in curves),
        num_labels=total("num_labels"),
        num_right=total("num_right"),
        num_trials=total("num_trials"),
    )


def hash_labels(source: Source) -> str:
    """Return the SHA-256 of a source's image ids, classes and labels, which reads all labels."""
    digest = hashlib.sha256(repr([tuple(category) for category in source.categories]).encode())
    for index, image_id in enumerate(source.image_ids):
        digest.update(image_id.encode(errors="backslashreplace"))
        for key, value in sorted(source.read_labels(index).items()):
            array = np.asarray(value)
            digest.update(f"{key} {array.dtype} {array.shape}".encode())
            digest.update(b"" if key == "image_id" else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
