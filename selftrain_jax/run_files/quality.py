"""quality.json: how good pseudo labels are where the truth is known after all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import (
    COUNT,
    CURVES,
    FRACTION,
    NUMBER,
    NUMBER_OR_NULL_BY_NAME,
    Fields,
    JsonObject,
    Number,
    dict_of,
    list_of,
    open_fields,
    or_null,
    to_json,
)

QUALITY_FILE = "quality.json"
REMEDY = "Delete it and run --job=pseudo_label again; the labels are kept."

Curve = tuple[Number | None, ...]
"""A number at each threshold; None where there is nothing to divide by."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Mean score against precision in the bins between neighbouring edges."""

    edges: tuple[Number, ...]
    mean_score: Curve
    precision: Curve
    count: tuple[int, ...]
    expected_calibration_error: Number | None

    @classmethod
    def from_fields(cls, fields: Fields) -> "Calibration":
        """Read the object `calibration`."""
        return cls(
            edges=tuple(fields.get("edges", _FRACTIONS)),
            mean_score=tuple(fields.get("mean_score", _NUMBERS_OR_NULL)),
            precision=tuple(fields.get("precision", _NUMBERS_OR_NULL)),
            count=tuple(fields.get("count", _COUNTS)),
            expected_calibration_error=fields.get("expected_calibration_error", or_null(NUMBER)),
        )


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Precision, recall and what else a task measures, at every threshold and at the one in use."""

    iou: Number | None = None  # of boxes, from which one is right
    thresholds: tuple[Number, ...]
    overall: Mapping[str, Curve]  # by name: precision, recall; of masks miou and coverage too
    per_class: Mapping[str, Mapping[str, Curve]]
    calibration: Calibration
    at_threshold: Mapping[str, Number | None]  # threshold, then the names of `overall`
    bad_truth: int | None = None  # images left out because their true mask is bad

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Quality":
        """Check a file.

        Raises:
            InputError: a key is missing or of another form than expected.
        """
        fields = open_fields(value, path, REMEDY)
        quality = cls(
            iou=fields.get("iou", FRACTION, None),
            thresholds=tuple(fields.get("thresholds", _FRACTIONS)),
            overall=_read_curves(fields.get("overall", CURVES)),
            per_class={
                name: _read_curves(curves)
                for name, curves in fields.get("per_class", _CURVES_BY_CLASS).items()
            },
            calibration=fields.parse("calibration", Calibration.from_fields),
            at_threshold=fields.get("at_threshold", NUMBER_OR_NULL_BY_NAME),
            bad_truth=fields.get("bad_truth", COUNT, None),
        )
        for curves in (quality.overall, *quality.per_class.values()):
            if not {"precision", "recall"} <= set(curves):
                raise fields.error("overall and per_class need precision and recall")
            if any(len(curve) != len(quality.thresholds) for curve in curves.values()):
                raise fields.error("thresholds and the curves in overall and per_class differ in length")
        return quality

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)


def _read_curves(curves: Mapping[str, list[Number | None]]) -> dict[str, Curve]:
    return {name: tuple(curve) for name, curve in curves.items()}


_FRACTIONS = list_of(FRACTION, "a list of numbers of 0 to 1")
_NUMBERS_OR_NULL = list_of(or_null(NUMBER), "a list of numbers, or null")
_COUNTS = list_of(COUNT, "a list of whole numbers")
_CURVES_BY_CLASS = dict_of(CURVES, "curves by class, each a list of numbers of 0 to 1, or null")
