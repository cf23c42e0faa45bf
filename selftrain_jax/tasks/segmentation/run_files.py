"""What only segmentation writes into the files of a run's folder: counts of pixels, confusion of classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.fields import (
    COUNT,
    FLAG,
    FRACTION,
    NUMBER,
    NUMBERS,
    Fields,
    Number,
    dict_of,
    list_of,
    or_null,
)
from selftrain_jax.run_files.manifest import Histogram, LabelTotals


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """How pseudo masks were made."""

    sizes_px: tuple[int, ...] | None = None  # of the inputs that were averaged
    flip: bool | None = None
    max_side_px: int | None = None


@dataclass(frozen=True, kw_only=True)
class ClassPixels:
    """Pseudo-labelled pixels of one class."""

    pixels: int
    pixels_at_threshold: int

    @classmethod
    def from_fields(cls, fields: Fields) -> "ClassPixels":
        """Read a class of `per_class`."""
        return cls(
            pixels=fields.get("pixels", COUNT), pixels_at_threshold=fields.get("pixels_at_threshold", COUNT)
        )


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The share of pixels that each threshold keeps; None without pixels."""

    thresholds: tuple[Number, ...]
    coverage: tuple[Number | None, ...]

    @classmethod
    def from_fields(cls, fields: Fields) -> "Coverage":
        """Read the object `coverage_by_threshold`."""
        return cls(
            thresholds=tuple(fields.get("thresholds", _FRACTIONS)),
            coverage=tuple(fields.get("coverage", _FRACTIONS_OR_NULL)),
        )


@dataclass(frozen=True, kw_only=True)
class MaskTotals(LabelTotals):
    """What a manifest says of pseudo masks."""

    kind: ClassVar[str] = "masks"
    unit: ClassVar[str] = "pixels"

    settings: MaskSettings
    num_pixels: int
    num_pixels_at_threshold: int
    coverage: Number | None  # pixels kept / all pixels
    images_without_pixels_at_threshold: int
    per_class: Mapping[str, ClassPixels]
    confidence_histogram: Histogram
    coverage_by_threshold: Coverage | None = None

    @classmethod
    def from_fields(cls, fields: Fields) -> "MaskTotals":
        """Read them from the manifest's keys."""
        return cls(
            settings=MaskSettings(
                sizes_px=_tuple_or_none(fields.get("sizes_px", _COUNTS, None)),
                flip=fields.get("flip", FLAG, None),
                max_side_px=fields.get("max_side_px", COUNT, None),
            ),
            num_pixels=fields.get("num_pixels", COUNT),
            num_pixels_at_threshold=fields.get("num_pixels_at_threshold", COUNT),
            coverage=fields.get("coverage", or_null(FRACTION)),
            images_without_pixels_at_threshold=fields.get("images_without_pixels_at_threshold", COUNT),
            per_class=fields.parse_by_name("per_class", ClassPixels.from_fields),
            confidence_histogram=Histogram.read(fields, "confidence_histogram"),
            coverage_by_threshold=fields.parse("coverage_by_threshold", Coverage.from_fields)
            if "coverage_by_threshold" in fields.values
            else None,
        )

    @property
    def num_labels(self) -> int:
        """All pixels in the shards."""
        return self.num_pixels

    @property
    def num_kept(self) -> int:
        """The pixels at the threshold."""
        return self.num_pixels_at_threshold

    @property
    def summary(self) -> dict[str, Number | None]:
        """The coverage, and room for the mIoU that quality.json may have."""
        return {"coverage": self.coverage, "miou": None}

    @property
    def kept_per_class(self) -> dict[str, int]:
        """The pixels at the threshold, by class name."""
        return {name: counts.pixels_at_threshold for name, counts in self.per_class.items()}


@dataclass(frozen=True, kw_only=True)
class MaskDetails(EvaluationDetails):
    """What an evaluation says of masks, beside its scores."""

    score_names: ClassVar[tuple[str, ...]] = ("miou", "miou_resized", "pixel_accuracy")
    key_order: ClassVar[tuple[str, ...]] = (
        *("miou", "pixel_accuracy", "per_class", "confusion", "miou_resized", "per_image"),
        *("image_size_px", "sizes_px", "flip", "split", "num_images", "checkpoint_step", "checkpoint"),
        "training_secs",
    )

    confusion: tuple[tuple[int, ...], ...]  # pixels, rows by true and columns by predicted class
    per_image: Mapping[str, Number | None]  # mIoU by image id, None where all is ignored
    image_size_px: int | None = None
    sizes_px: tuple[int, ...] | None = None  # of the inputs that were averaged
    flip: bool | None = None
    scales: tuple[Number, ...] | None = None  # in evaluation_scales.json

    @classmethod
    def from_fields(cls, fields: Fields) -> "MaskDetails":
        """Read them from the evaluation's keys."""
        return cls(
            confusion=tuple(map(tuple, fields.get("confusion", _MATRIX))),
            per_image=fields.get("per_image", _NUMBER_OR_NULL_BY_IMAGE),
            image_size_px=fields.get("image_size_px", COUNT, None),
            sizes_px=_tuple_or_none(fields.get("sizes_px", _COUNTS, None)),
            flip=fields.get("flip", FLAG, None),
            scales=_tuple_or_none(fields.get("scales", NUMBERS, None)),
        )


def _tuple_or_none(values: list | None) -> tuple | None:
    return None if values is None else tuple(values)


_COUNTS = list_of(COUNT, "a list of whole numbers")
_MATRIX = list_of(_COUNTS, "rows of whole numbers")
_FRACTIONS = list_of(FRACTION, "a list of numbers of 0 to 1")
_FRACTIONS_OR_NULL = list_of(or_null(FRACTION), "a list of numbers of 0 to 1, or null")
_NUMBER_OR_NULL_BY_IMAGE = dict_of(or_null(NUMBER), "numbers, or null, by image")
