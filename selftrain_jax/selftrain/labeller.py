"""How a task labels images: a `Labeller`, which `label_job.write_pseudo_labels` takes."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.run_files.manifest import LabelTotals
from selftrain_jax.selftrain.inference import Chunk, InferredChunk
from selftrain_jax.types import Category, Example


class Labeller(NamedTuple):
    """The teacher of one task as it labels one source; shards, resuming and the manifest know no task."""

    infer: Callable[[Iterable[Chunk]], Generator[InferredChunk, None, None]]
    batch_size: int
    settings: Any  # a dataclass: what makes the labels what they are, beside teacher and source
    totals: type[LabelTotals]
    # A NamedTuple of counts that can be added, of images at thresholds by class.
    count_images: Callable[[Iterable[Example], np.ndarray], Any]
    describe_counts: Callable[[Any, Sequence[Category], Any], LabelTotals]  # of all images; with settings
