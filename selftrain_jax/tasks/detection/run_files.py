"""What only detection writes into the files of a run's folder: counts of boxes, precision-recall curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.fields import Count, FiniteNumber, Fraction, Text
from selftrain_jax.run_files.manifest import FractionHistogram, LabelTotals


@dataclass(frozen=True, kw_only=True)
class BoxSettings:
    """How pseudo boxes were made."""

    score_floor: Fraction  # boxes of lower scores are not in the shards
    image_size_px: Count | None = None
    views: Text = "1"  # as config.pseudo.views
    num_models: Count = 1  # that labelled together
    tile_px: Count = 0  # side of the tiles that images were cut into; 0: they were not
    tile_overlap_px: Count = 0

    @property
    def has_places(self) -> bool:
        """Whether records have `place_std`: boxes were merged, of views or of models."""
        return "," in self.views or self.num_models > 1


@dataclass(frozen=True, kw_only=True)
class ClassBoxes:
    """Pseudo boxes of one class."""

    boxes_at_floor: Count
    boxes_at_threshold: Count


@dataclass(frozen=True, kw_only=True)
class BoxTotals(LabelTotals):
    """What a manifest says of pseudo boxes."""

    kind: ClassVar = "boxes"
    unit: ClassVar = "boxes"

    settings: BoxSettings
    num_boxes: Count
    num_boxes_at_threshold: Count
    images_without_boxes_at_threshold: Count
    per_class: Mapping[Text, ClassBoxes]
    score_histogram: FractionHistogram


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """Precision at each recall, the mean of all classes and of each; -1 where it is undefined."""

    recall: tuple[FiniteNumber, ...]
    precision_iou50: tuple[FiniteNumber, ...]
    precision_iou75: tuple[FiniteNumber, ...]
    per_class_iou50: Mapping[Text, tuple[FiniteNumber, ...]]


@dataclass(frozen=True, kw_only=True)
class BoxDetails(EvaluationDetails):
    """What an evaluation says of boxes, beside its scores."""

    score_names: ClassVar = ("ap", "ap50", "ap75")

    pr_curves: PrecisionRecall
