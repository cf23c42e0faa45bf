"""What only segmentation writes into the files of a run's folder: counts of pixels, confusion of classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.fields import Count, FiniteNumber, Flag, Fraction, Number, Text
from selftrain_jax.run_files.manifest import FractionHistogram, LabelTotals


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """How pseudo masks were made."""

    sizes_px: tuple[Count, ...] | None = None  # of the inputs that were averaged
    flip: Flag | None = None
    max_side_px: Count | None = None
    top_k: Count = 1  # classes of a pixel that are kept, with their probabilities
    num_models: Count = 1  # that labelled together
    tile_px: Count = 0  # side of the tiles that images were cut into; 0: they were not
    tile_overlap_px: Count = 0


@dataclass(frozen=True, kw_only=True)
class ClassPixels:
    """Pseudo-labelled pixels of one class."""

    pixels: Count
    pixels_at_threshold: Count


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The share of pixels that each threshold keeps; None without pixels."""

    thresholds: tuple[Fraction, ...]
    coverage: tuple[Fraction | None, ...]


@dataclass(frozen=True, kw_only=True)
class MaskTotals(LabelTotals):
    """What a manifest says of pseudo masks."""

    kind: ClassVar = "masks"
    unit: ClassVar = "pixels"

    settings: MaskSettings
    num_pixels: Count
    num_pixels_at_threshold: Count
    coverage: Fraction | None  # pixels kept / all pixels
    images_without_pixels_at_threshold: Count
    per_class: Mapping[Text, ClassPixels]
    confidence_histogram: FractionHistogram
    coverage_by_threshold: Coverage | None = None

    @property
    def summary(self) -> dict[str, Number | None]:
        """The coverage, and room for the mIoU that quality.json may have."""
        return {"coverage": self.coverage, "miou": None}


@dataclass(frozen=True, kw_only=True)
class MaskDetails(EvaluationDetails):
    """What an evaluation says of masks, beside its scores."""

    score_names: ClassVar = ("miou", "miou_resized", "pixel_accuracy")
    key_order: ClassVar = (
        *("miou", "pixel_accuracy", "per_class", "confusion", "miou_resized", "per_image"),
        *("image_size_px", "sizes_px", "flip", "split", "num_images", "checkpoint_step", "checkpoint"),
        "training_secs",
    )

    confusion: tuple[tuple[Count, ...], ...]  # pixels, rows by true and columns by predicted class
    per_image: Mapping[Text, FiniteNumber | None]  # mIoU by image id, None where all is ignored
    image_size_px: Count | None = None
    sizes_px: tuple[Count, ...] | None = None  # of the inputs that were averaged
    flip: Flag | None = None
    scales: tuple[FiniteNumber, ...] | None = None  # in evaluation_scales.json
