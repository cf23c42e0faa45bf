"""quality.json: how good pseudo labels are where the truth is known after all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import (
    Count,
    FiniteNumber,
    Fraction,
    JsonObject,
    Text,
    open_document,
    to_json,
)

QUALITY_FILE = "quality.json"
REMEDY = "Delete it and run --job=pseudo_label again; the labels are kept."

Curve = tuple[Fraction | None, ...]
"""A number at each threshold; None where there is nothing to divide by."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Mean score against precision in the bins between neighbouring edges."""

    edges: tuple[Fraction, ...]
    mean_score: tuple[FiniteNumber | None, ...]
    precision: tuple[FiniteNumber | None, ...]
    count: tuple[Count, ...]
    expected_calibration_error: FiniteNumber | None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Precision, recall and what else a task measures, at every threshold and at the one in use."""

    iou: Fraction | None = None  # of boxes, from which one is right
    thresholds: tuple[Fraction, ...]
    overall: Mapping[Text, Curve]  # by name: precision, recall; of masks miou and coverage too
    per_class: Mapping[Text, Mapping[Text, Curve]]
    calibration: Calibration
    at_threshold: Mapping[Text, FiniteNumber | None]  # threshold, then the names of `overall`
    bad_truth: Count | None = None  # images left out because their true mask is bad
    # As `at_threshold`, by source, at each one's own threshold, where several are labelled and known.
    sources: Mapping[Text, Mapping[Text, FiniteNumber | None]] | None = None

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Quality":
        """Check a file. Raises: InputError, as `Document.read`, and where curves do not fit together."""
        document = open_document(value, path, REMEDY)
        quality = document.read(cls)
        for curves in (quality.overall, *quality.per_class.values()):
            if not {"precision", "recall"} <= set(curves):
                raise document.error("overall and per_class need precision and recall")
            if any(len(curve) != len(quality.thresholds) for curve in curves.values()):
                raise document.error("thresholds and the curves in overall and per_class differ in length")
        return quality

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)
