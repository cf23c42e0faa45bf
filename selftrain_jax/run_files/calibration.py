"""teacher/calibration.json: how often the teacher is right from each score on, on images it did not see."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import (
    Count,
    Document,
    Flag,
    Fraction,
    JsonObject,
    Object,
    Text,
    open_document,
    to_json,
)

CALIBRATION_FILE = "calibration.json"
REMEDY = "Delete it and run --job=thresholds again."


@dataclass(frozen=True, kw_only=True)
class ClassCurve:
    """The labels that the teacher gives one class, counted from each cut of the score on."""

    num_truth: Count  # true boxes or pixels, whatever their score
    num_labels: tuple[Count, ...]
    num_right: tuple[Count, ...]
    # How many of them count as independent: of boxes all, of pixels the images that they are in.
    num_trials: tuple[Count, ...]


@dataclass(frozen=True, kw_only=True)
class TeacherIdentity:
    """Which weights were measured."""

    digest: Text
    step: Count


@dataclass(frozen=True, kw_only=True)
class TeacherCalibration:
    """Curves of every class, and what they were measured with and on."""

    teacher: TeacherIdentity
    split: Text
    num_images: Count
    data_sha256: Text  # of image ids, classes and labels
    settings: Object  # how the labels were made, as in the manifest of pseudo labels
    unit: Text  # of labels: boxes or pixels
    trials: Text  # what `num_trials` counts: boxes or images
    ignored_below: Flag  # labels below a threshold are ignored anyway, so that a band has no meaning
    cuts: tuple[Fraction, ...]  # ascending
    # By how a label is judged (the first decides), then by the name of the class.
    curves: Mapping[Text, Mapping[Text, ClassCurve]]

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "TeacherCalibration":
        """Check a file. Raises: InputError, as `Document.read`, and where curves do not fit together."""
        document = open_document(value, path, REMEDY)
        calibration = document.read(cls)
        _check_curves(calibration, document)
        return calibration

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)


def _check_curves(calibration: TeacherCalibration, document: Document) -> None:
    cuts, judged = calibration.cuts, list(calibration.curves.values())
    if not cuts or list(cuts) != sorted(set(cuts)):
        raise document.error("cuts must be at least one score, in ascending order")
    if not judged or any(by_class.keys() != judged[0].keys() for by_class in judged):
        raise document.error("curves must have the same classes under every key, and at least one key")
    for curve in (curve for by_class in judged for curve in by_class.values()):
        if {len(curve.num_labels), len(curve.num_right), len(curve.num_trials)} != {len(cuts)}:
            raise document.error("the curves and cuts differ in length")
        for values in (curve.num_labels, curve.num_right, curve.num_trials):
            if list(values) != sorted(values, reverse=True):
                raise document.error("num_labels, num_right and num_trials must fall from cut to cut")
        pairs = zip(curve.num_labels, curve.num_right, curve.num_trials, strict=True)
        if any(right > labels or trials > labels for labels, right, trials in pairs):
            raise document.error("num_right and num_trials are above num_labels")
        if curve.num_right[0] > curve.num_truth:
            raise document.error("num_right is above num_truth")
