"""Classes that the teacher hardly ever finds, from its calibration; call `find_unfound`.

Pseudo labels teach a class that the teacher never names as background, or as what it names instead: a student
unlearns it. Such a class is better ignored.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.selftrain.threshold_advice import first_from, read_curve

NEVER = 1.0  # a threshold that keeps no pixel, and no box but one of a score of exactly 1


class UnfoundClass(NamedTuple):
    """A class with the share of its labels in data.val that the teacher finds at the student's threshold."""

    name: str
    recall: float


def find_unfound(
    calibration: TeacherCalibration, per_class: Mapping[str, float], common: float, bound: float
) -> list[UnfoundClass]:
    """List the classes whose recall at their threshold is under `bound`, the least first.

    A class without a label in the images of the calibration is not among them: nothing is known of it. Boxes
    count at IoU 0.5.
    """
    by_class = next(iter(calibration.curves.values()))
    found = []
    for name, curve in by_class.items():
        index = first_from(calibration.cuts, per_class.get(name, common))
        recall = read_curve(curve, calibration.cuts, index).recall
        if recall is not None and recall < bound:
            found.append(UnfoundClass(name, recall))
    return sorted(found, key=lambda unfound: (unfound.recall, unfound.name))


def describe_unfound(
    calibration: TeacherCalibration, unfound: Sequence[UnfoundClass], bound: float
) -> list[str]:
    """Say which classes are ignored and why, and of which nothing is known."""
    by_class = next(iter(calibration.curves.values()))
    unknown = [repr(name) for name, curve in by_class.items() if not curve.num_truth]
    listed = [f"{name!r} (recall {recall:.2f} of {by_class[name].num_truth:,})" for name, recall in unfound]
    lines = [
        f"ignored in pseudo labels, neither taught nor background: {', '.join(listed) or 'no class'}; "
        f"those of a recall under {bound:g} in {calibration.split} (config.pseudo.min_class_recall)"
    ]
    if unknown:
        lines.append(f"not among them, for {calibration.split} has none of them: {', '.join(unknown)}")
    return lines
