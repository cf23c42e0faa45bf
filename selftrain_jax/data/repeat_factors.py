"""Images drawn by class: those with a rare class come more often than once an epoch; call `repeat_rare`.

Repeat-factor sampling of Gupta et al. 2019 (LVIS, appendix): with f(c) the share of images that have class c,
r(c) = max(1, sqrt(t / f(c))), and an image is drawn as often as its class with the largest r(c).
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from selftrain_jax.data.sampling import Permutation, raw_permutation
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import IGNORED, Example

_REPEATS = 2  # third word of the seed, beside that of `raw_permutation`


class Epoch(NamedTuple):
    """How many positions an epoch has, and which example is at each of them."""

    length: int
    permutation: Permutation


class RepeatFactors(NamedTuple):
    """How often each image is drawn an epoch on average, and why: by Category.id."""

    of_images: Float[np.ndarray, " N"]
    num_images: Mapping[int, int]  # with the class
    of_classes: Mapping[int, float]


def repeat_rare(source: Source, threshold: float) -> RepeatFactors:
    """Read all labels of a source and return its repeat factors; classes below `threshold` count as rare.

    Labels that cannot be read are those of an image without a class: the reader of batches counts them.
    """

    def read(index: int) -> frozenset[int]:
        try:
            return classes_of(source.read_labels(index))
        except InputError:
            return frozenset()

    with thread_pool(os.cpu_count() or 1) as pool:
        return repeat_factors(list(pool.map(read, range(len(source)))), threshold)


def classes_of(labels: Example) -> frozenset[int]:
    """Return the classes of an image that are learnt from it: its mask's, else its boxes', else its own."""
    if "mask" in labels:
        return frozenset(np.unique(labels["mask"]).tolist()) - {IGNORED}
    if "classes" in labels:
        nothing = np.zeros(len(labels["classes"]), bool)
        left_out = labels.get("is_crowd", nothing) | labels.get("is_ignore", nothing)
        return frozenset(labels["classes"][~left_out].tolist())
    return frozenset([labels["image_class"]] if "image_class" in labels else [])


def repeat_factors(classes_by_image: Sequence[frozenset[int]], threshold: float) -> RepeatFactors:
    """Return r = max(1, sqrt(t / f)) of each class, and of each image the largest of its classes, at least 1.

    Paper: Gupta et al. 2019, LVIS, where t is 0.001.
    """
    counts = Counter(class_id for classes in classes_by_image for class_id in classes)
    total = len(classes_by_image)
    of_classes = {
        class_id: max(1.0, float(np.sqrt(threshold * total / count)))
        for class_id, count in sorted(counts.items())
    }
    of_images = [
        max((of_classes[class_id] for class_id in classes), default=1.0) for classes in classes_by_image
    ]
    return RepeatFactors(np.array(of_images, np.float64), counts, of_classes)


def repeated_epoch(factors: Float[np.ndarray, " N"]) -> Epoch:
    """Return an order in which image i is drawn about factors[i] >= 1 times an epoch.

    All epochs have the sum of the factors, rounded up to a whole number L, as their length: so which image is
    at a position depends on the seed and the position alone, and a run resumes at any step. Stretched by L /
    sum, a factor r gives floor(r) or ceil(r) draws, on average r.

    Differs: the authors round each image's factor at random on its own, and their epochs differ in length.
    Here one number between 0 and 1 rounds all of them, after the images are shuffled (systematic sampling).
    """
    length = int(np.ceil(np.cumsum(factors)[-1] - 1e-9))

    def permutation(positions: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
        assert positions == length
        shuffled = raw_permutation(len(factors), seed, epoch)
        bits = np.random.PCG64(np.random.SeedSequence((seed, epoch, _REPEATS)))
        ends = np.cumsum(factors[shuffled])
        ends *= length / ends[-1]
        ends[-1] = length
        whole = np.floor(ends + bits.random_raw() / 2.0**64).astype(np.int64)
        drawn = np.repeat(shuffled, np.diff(whole, prepend=0))
        return drawn[np.argsort(bits.random_raw(length), kind="stable")]

    return Epoch(length, permutation)
