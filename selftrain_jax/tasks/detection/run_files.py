"""What only detection writes into the files of a run's folder: counts of boxes, precision-recall curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.fields import COUNT, FRACTION, NUMBERS, Fields, Number, dict_of
from selftrain_jax.run_files.manifest import Histogram, LabelTotals


@dataclass(frozen=True, kw_only=True)
class BoxSettings:
    """How pseudo boxes were made."""

    score_floor: Number  # boxes of lower scores are not in the shards
    image_size_px: int | None = None


@dataclass(frozen=True, kw_only=True)
class ClassBoxes:
    """Pseudo boxes of one class."""

    boxes_at_floor: int
    boxes_at_threshold: int

    @classmethod
    def from_fields(cls, fields: Fields) -> "ClassBoxes":
        """Read a class of `per_class`."""
        return cls(
            boxes_at_floor=fields.get("boxes_at_floor", COUNT),
            boxes_at_threshold=fields.get("boxes_at_threshold", COUNT),
        )


@dataclass(frozen=True, kw_only=True)
class BoxTotals(LabelTotals):
    """What a manifest says of pseudo boxes."""

    kind: ClassVar[str] = "boxes"
    unit: ClassVar[str] = "boxes"

    settings: BoxSettings
    num_boxes: int
    num_boxes_at_threshold: int
    images_without_boxes_at_threshold: int
    per_class: Mapping[str, ClassBoxes]
    score_histogram: Histogram

    @classmethod
    def from_fields(cls, fields: Fields) -> "BoxTotals":
        """Read them from the manifest's keys."""
        return cls(
            settings=BoxSettings(
                score_floor=fields.get("score_floor", FRACTION),
                image_size_px=fields.get("image_size_px", COUNT, None),
            ),
            num_boxes=fields.get("num_boxes", COUNT),
            num_boxes_at_threshold=fields.get("num_boxes_at_threshold", COUNT),
            images_without_boxes_at_threshold=fields.get("images_without_boxes_at_threshold", COUNT),
            per_class=fields.parse_by_name("per_class", ClassBoxes.from_fields),
            score_histogram=Histogram.read(fields, "score_histogram"),
        )

    @property
    def num_labels(self) -> int:
        """All boxes in the shards."""
        return self.num_boxes

    @property
    def num_kept(self) -> int:
        """The boxes at the threshold."""
        return self.num_boxes_at_threshold

    @property
    def kept_per_class(self) -> dict[str, int]:
        """The boxes at the threshold, by class name."""
        return {name: counts.boxes_at_threshold for name, counts in self.per_class.items()}


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """Precision at each recall, the mean of all classes and of each; -1 where it is undefined."""

    recall: tuple[Number, ...]
    precision_iou50: tuple[Number, ...]
    precision_iou75: tuple[Number, ...]
    per_class_iou50: Mapping[str, tuple[Number, ...]]

    @classmethod
    def from_fields(cls, fields: Fields) -> "PrecisionRecall":
        """Read the object `pr_curves`."""
        return cls(
            recall=tuple(fields.get("recall", NUMBERS)),
            precision_iou50=tuple(fields.get("precision_iou50", NUMBERS)),
            precision_iou75=tuple(fields.get("precision_iou75", NUMBERS)),
            per_class_iou50={
                name: tuple(curve) for name, curve in fields.get("per_class_iou50", _CURVES).items()
            },
        )


@dataclass(frozen=True, kw_only=True)
class BoxDetails(EvaluationDetails):
    """What an evaluation says of boxes, beside its scores."""

    score_names: ClassVar[tuple[str, ...]] = ("ap", "ap50", "ap75")

    pr_curves: PrecisionRecall

    @classmethod
    def from_fields(cls, fields: Fields) -> "BoxDetails":
        """Read them from the evaluation's keys."""
        return cls(pr_curves=fields.parse("pr_curves", PrecisionRecall.from_fields))


_CURVES = dict_of(NUMBERS, "lists of numbers by class")
