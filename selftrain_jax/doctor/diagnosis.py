"""What the data doctor finds, as values; `doctor.examine` makes a `Diagnosis`.

`doctor_report` shows one in the terminal and as a page.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from selftrain_jax.data.source import Problem

Level = Literal["ok", "warning", "error"]


class Verdict(NamedTuple):
    """One line of the diagnosis."""

    level: Level
    finding: str
    remedy: str  # what to do; empty when all is well


class Pair(NamedTuple):
    """An evaluation image and the image that it repeats."""

    image_id: str
    evaluation_image_id: str
    distance: int  # bits of 64 in which the perceptual hashes differ
    is_exact: bool  # every pixel equal


@dataclass(frozen=True)
class Duplicates:
    """Images of an evaluation split that are found again in a split, or earlier in the same one."""

    split: str
    evaluation_split: str
    pairs: tuple[Pair, ...]  # one for each evaluation image concerned, exact ones first

    @property
    def num_exact(self) -> int:
        """Evaluation images found again pixel by pixel."""
        return sum(pair.is_exact for pair in self.pairs)

    @property
    def num_near(self) -> int:
        """Evaluation images of which only look-alikes were found."""
        return len(self.pairs) - self.num_exact


@dataclass(frozen=True)
class SplitSummary:
    """A split in numbers. Boxes are those that are no crowd."""

    split: str
    source: str
    is_labelled: bool
    num_images: int
    num_examined: int
    unreadable: tuple[str, ...]  # messages
    image_sizes: Mapping[str, int]  # "640 x 480" (width, height) -> images, the most frequent first
    class_counts: Mapping[str, int] = field(default_factory=dict)  # boxes, in the order of the categories
    num_crowd: int = 0
    num_images_without_boxes: int = 0
    boxes_per_image: Mapping[int, int] = field(default_factory=dict)  # boxes -> images
    object_areas: Mapping[str, int] = field(default_factory=dict)  # COCO's small, medium, large -> objects
    box_side_px: tuple[float, ...] = ()  # square root of a box's area: least, quartiles, greatest

    @property
    def num_boxes(self) -> int:
        """Boxes that are no crowd."""
        return sum(self.class_counts.values())


class MaskStatistics(NamedTuple):
    """A split's masks in numbers; bad masks are left out."""

    split: str
    num_masks: int
    num_bad_masks: int
    num_ignored_masks: int  # masks without one pixel that has a class
    num_pixels: int
    ignored_frac: float  # of the pixels
    pixels_by_class: Mapping[str, int]
    images_by_class: Mapping[str, int]


class Picture(NamedTuple):
    """Thumbnails that belong together."""

    caption: str
    jpegs: tuple[bytes, ...]


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found."""

    splits: tuple[SplitSummary, ...]
    problems: tuple[Problem, ...]
    duplicates: tuple[Duplicates, ...]
    max_distance: int
    verdicts: tuple[Verdict, ...]
    problem_pictures: tuple[Picture, ...]
    duplicate_pictures: tuple[Picture, ...]

    @property
    def has_errors(self) -> bool:
        """Whether training on this data would stop or give results that do not count."""
        return any(verdict.level == "error" for verdict in self.verdicts)

    @property
    def problem_counts(self) -> dict[str, int]:
        """Problems by kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())


class MaskDiagnosis(NamedTuple):
    """All that the doctor found: of the images, and of the masks."""

    images: Diagnosis  # its verdicts and problems include those of the masks
    masks: tuple[MaskStatistics, ...]
    examples: tuple[Picture, ...]  # masks beside their images
    class_ids: Mapping[str, int]
