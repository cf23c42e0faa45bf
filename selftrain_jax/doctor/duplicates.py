"""Find images that are the same, or nearly so, to keep evaluation images out of training (leaks).

Call `pixel_digest` and `perceptual_hash` on each image, then `find_duplicates` on what they gave.
Not in the paper; its unlabelled images come from the makers of the evaluation sets, so a leak is likely.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8, UInt64
from PIL import Image

from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Example

TRAIN, UNLABELLED = "train", "unlabelled"  # the splits that are trained on; all others are for evaluation
FURTHER = f"{UNLABELLED}/"  # begins the names of further sources of unlabelled images
# JPEG at quality 20 moves a hash by 0 to 4 bits; of 66,000 pairs of cell images one is under 10.
MAX_DISTANCE = 6
SIDE_PX = 32  # the grey thumbnail whose spectrum is hashed
NUM_FREQUENCIES = 8
BLOCK_ROWS = 512
UPRIGHT = 1  # the EXIF orientation of an image that no viewer turns
NO_MATCH = 255  # more than the 64 bits that can differ

# The first rows of a DCT-II.
_COSINES = np.cos(np.pi / SIDE_PX * np.outer(np.arange(NUM_FREQUENCIES), np.arange(SIDE_PX) + 0.5))


class ImageScan(NamedTuple):
    """What one reading of an image and its labels gave."""

    labels: Example  # less the pixels, of image and mask
    size_px: tuple[int, int]  # height, width
    digest: str
    hash: np.uint64  # what it looks like
    content: str = ""  # SHA-256 of the file
    orientation: int = UPRIGHT  # of EXIF

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
    is_same_file: bool = False  # every byte, as config.data.drop_leaks asks


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
    def num_same_file(self) -> int:
        """Evaluation images found again byte by byte."""
        return sum(pair.is_same_file for pair in self.pairs)

    @property
    def num_near(self) -> int:
        """Evaluation images of which only look-alikes were found."""
        return len(self.pairs) - self.num_exact


def split_name(source: str) -> str:
    """Return how a source of unlabelled images is called among the splits."""
    return UNLABELLED if source == FIRST_SOURCE else f"{FURTHER}{source}"


def is_unlabelled(split: str) -> bool:
    """Tell whether a split is a source of unlabelled images."""
    return split == UNLABELLED or split.startswith(FURTHER)


def is_trained_on(split: str) -> bool:
    """Tell whether a split is trained on, with labels or without; all others are measured on."""
    return split == TRAIN or is_unlabelled(split)


def find_copies(splits: Mapping[str, Sequence[ImageScan]]) -> dict[str, int]:
    """Count the images of each source of unlabelled images that equal a labelled image of train."""
    labelled = {image.digest for image in splits.get(TRAIN, ())}
    return {
        name: sum(image.digest in labelled for image in images)
        for name, images in splits.items()
        if is_unlabelled(name)
    }


def find_duplicates(splits: Mapping[str, Sequence[ImageScan]]) -> tuple[Duplicates, ...]:
    """Compare each evaluation split with what is trained on, with itself and with those before it."""
    trained = [name for name in splits if is_trained_on(name)]
    evaluated = [name for name in splits if name not in trained]
    return tuple(
        _compare(splits, name, evaluation)
        for position, evaluation in enumerate(evaluated)
        for name in (*trained, *evaluated[: position + 1])
    )


def perceptual_hash(image: UInt8[np.ndarray, "H W 3"]) -> np.uint64:
    """Hash what an image looks like into 64 bits: similar images differ in few bits.

    Bit (u, v) tells whether the DCT coefficient (u, v) of the 32 x 32 grey thumbnail, u, v in 0..7,
    lies above the median of all but the first, which is the brightness. An image without structure
    hashes to 0 or 1.
    """
    side = (SIDE_PX, SIDE_PX)
    grey = Image.fromarray(image).convert("L").resize(side, Image.Resampling.BOX, reducing_gap=2)
    spectrum = np.rint(_COSINES @ (np.asarray(grey, np.float64) - 128) @ _COSINES.T).ravel()
    bits = spectrum > np.median(spectrum[1:])
    return np.packbits(bits, bitorder="little").view(np.uint64)[0]


def pixel_digest(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """Return the SHA-256 of the size and the pixels, whatever file they were read from."""
    header = f"{image.shape[0]}x{image.shape[1]}:".encode()
    return hashlib.sha256(header + np.ascontiguousarray(image).tobytes()).hexdigest()


def near_duplicates(
    hashes_a: UInt64[np.ndarray, " A"],
    hashes_b: UInt64[np.ndarray, " B"],
    max_distance: int,
    *,
    only_earlier: bool = False,
) -> Int[np.ndarray, "P 3"]:
    """Pair each image of b with the image of a closest to it, where that is within `max_distance` bits.

    With `only_earlier` a and b are the same set, and an image pairs with one before it. A row is (index in
    a, index in b, bits that differ), by index in b; of equals the first in a wins. One row an image of b,
    not all pairs: a video in which all frames are alike has billions of those.
    """
    matches, indices_a = [np.zeros((0, 3), np.int64)], np.arange(len(hashes_a))
    for start in range(0, len(hashes_b), BLOCK_ROWS) if len(hashes_a) else ():
        block = hashes_b[start : start + BLOCK_ROWS]
        indices_b = np.arange(start, start + len(block))
        distances = count_bits(block[:, None] ^ hashes_a[None, :])
        if only_earlier:
            distances[indices_a[None, :] >= indices_b[:, None]] = NO_MATCH
        closest = distances.argmin(axis=1)
        least = distances[np.arange(len(block)), closest]
        rows = np.stack([closest, indices_b, least], axis=1).astype(np.int64)
        matches.append(rows[least <= max_distance])
    return np.concatenate(matches)


_BITS_OF_16 = np.array([value.bit_count() for value in range(2**16)], np.uint8)


def count_bits(words: UInt64[np.ndarray, "A B"]) -> UInt8[np.ndarray, "A B"]:
    """Count the bits that are set; by table where NumPy (before 2.0) has no function for it."""
    return np.bitwise_count(words) if hasattr(np, "bitwise_count") else count_bits_by_table(words)


def count_bits_by_table(words: UInt64[np.ndarray, "A B"]) -> UInt8[np.ndarray, "A B"]:
    """Count set bits 16 at a time."""
    return _BITS_OF_16[words.view(np.uint16)].reshape(*words.shape, 4).sum(-1, dtype=np.uint8)


def _compare(splits: Mapping[str, Sequence[ImageScan]], name: str, evaluation: str) -> Duplicates:
    images, evaluated = splits[name], splits[evaluation]
    hashes, other_hashes = (
        np.array([image.hash for image in side], np.uint64) for side in (images, evaluated)
    )
    is_within = name == evaluation
    near = near_duplicates(hashes, other_hashes, MAX_DISTANCE, only_earlier=is_within).tolist()
    exact = _exact_duplicates(images, evaluated, only_earlier=is_within)
    matches = sorted((0, other, index) for other, index in exact.items())
    matches += sorted((bits, other, index) for index, other, bits in near if other not in exact)
    pairs = [
        Pair(
            images[index].image_id,
            evaluated[other].image_id,
            bits,
            other in exact,
            bool(evaluated[other].content) and evaluated[other].content == images[index].content,
        )
        for bits, other, index in matches
    ]
    return Duplicates(name, evaluation, tuple(pairs))


def _exact_duplicates(
    images: Sequence[ImageScan], evaluated: Sequence[ImageScan], *, only_earlier: bool
) -> dict[int, int]:
    """Map indices of evaluation images to the first index with the same pixels."""
    first = {image.digest: index for index, image in reversed([*enumerate(images)])}
    exact = {other: first[image.digest] for other, image in enumerate(evaluated) if image.digest in first}
    return {other: index for other, index in exact.items() if index < other or not only_earlier}
