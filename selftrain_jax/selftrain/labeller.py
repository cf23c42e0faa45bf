"""The teacher as it labels one source, with boxes or with masks (Paper: Section 3.1).

Make one by `box_labeller` or `mask_labeller` and hand it to `pseudo_labels.write_pseudo_labels`.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.selftrain.inference import InferredChunk
from selftrain_jax.selftrain.manifest import BOXES, MASKS
from selftrain_jax.tasks.detection.pseudo.counts import count_boxes, tally_boxes
from selftrain_jax.tasks.detection.pseudo.inference import Network, infer_images
from selftrain_jax.tasks.segmentation.pseudo.counts import count_masks, tally_masks
from selftrain_jax.tasks.segmentation.pseudo.inference import infer_masks
from selftrain_jax.tasks.segmentation.pseudo.network import MaskNetwork
from selftrain_jax.types import Category, Example


class Labeller(NamedTuple):
    """What is particular to a kind of pseudo label; shards, resuming and the manifest are not."""

    infer: Callable[[Iterable[tuple[int, Sequence[int]]]], Iterator[InferredChunk]]  # of (shard, indices)
    batch_size: int
    identity: Mapping[str, Any]  # what makes the labels what they are, beside teacher and source
    summarise: Callable[[Iterable[Example], np.ndarray], Any]  # count a shard, at thresholds by class
    tally: Callable[[Sequence[Any], Sequence[Category]], dict[str, Any]]  # all counts, for the manifest


def box_labeller(source: Source, network: Network, *, num_threads: int = 8) -> Labeller:
    """Label with boxes of score >= `network.score_floor`."""
    return Labeller(
        infer=functools.partial(infer_images, source=source, network=network, num_threads=num_threads),
        batch_size=network.batch_size,
        identity={
            "kind": BOXES,
            "score_floor": network.score_floor,
            "image_size_px": network.image_size_px,
        },
        summarise=count_boxes,
        tally=tally_boxes,
    )


def mask_labeller(source: Source, network: MaskNetwork, *, num_threads: int = 8) -> Labeller:
    """Label every pixel with its class and confidence, averaged over the network's sizes."""
    return Labeller(
        infer=functools.partial(infer_masks, source=source, network=network, num_threads=num_threads),
        batch_size=network.batch_size,
        identity={
            "kind": MASKS,
            "sizes_px": list(network.sizes_px),
            "flip": network.flip,
            "max_side_px": network.max_side_px,
        },
        summarise=count_masks,
        tally=tally_masks,
    )
