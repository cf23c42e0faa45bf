"""What the data doctor finds in the images of a data set, as values; a task adds what it finds in labels."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.source import Problem
from selftrain_jax.html.blocks import Finding
from selftrain_jax.types import Example

TRAIN, UNLABELLED = "train", "unlabelled"  # the splits that are trained on; all others are for evaluation


class ImageScan(NamedTuple):
    """What one reading of an image and its labels gave."""

    labels: Example  # less the pixels, of image and mask
    size_px: tuple[int, int]  # height, width
    digest: str
    hash: np.uint64  # what it looks like

    @property
    def image_id(self) -> str:
        """The image's name in its split."""
        return self.labels["image_id"]


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
    """The images of a split in numbers."""

    split: str
    source: str
    is_labelled: bool
    num_images: int
    num_examined: int
    unreadable: tuple[str, ...]  # messages
    image_sizes: Mapping[str, int]  # "640 x 480" (width, height) -> images, the most frequent first


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found, but for the statistics of the labels."""

    splits: tuple[SplitSummary, ...]
    problems: tuple[Problem, ...]
    duplicates: tuple[Duplicates, ...]
    max_distance: int
    verdicts: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether training on this data would stop or give results that do not count."""
        return any(verdict.level == "error" for verdict in self.verdicts)

    @property
    def problem_counts(self) -> dict[str, int]:
        """Problems by kind, the most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())
