"""Read the images of every split once: sizes, what does not decode, hashes.

Call `scan_splits`, then `summarise` and `duplicates.find_duplicates`. Not in the paper; a leak between
unlabelled and evaluation images would make any gain of section 4 worthless.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from selftrain_jax.data.source import IMAGE_FORMATS, Problem, Source
from selftrain_jax.doctor.duplicates import (
    UNLABELLED,
    UPRIGHT,
    Duplicates,
    ImageScan,
    perceptual_hash,
    pixel_digest,
)
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.html.galleries import spread
from selftrain_jax.threads import thread_pool

_ORIENTATION_TAG = 0x0112  # of EXIF


class SplitScan(NamedTuple):
    """A split, each image read once."""

    source: Source
    images: list[ImageScan]
    unreadable: list[str]


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
        return _count(problem.kind for problem in self.problems)


def scan_splits(
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    max_images: int | None = None,
    further: Mapping[str, Source] | None = None,
) -> dict[str, SplitScan]:
    """Scan the splits that could be opened.

    `further` are more sources of unlabelled images, by the names of their splits. `max_images` bounds the
    images looked at in each split (spread evenly): faster, but duplicates are missed.
    """
    sources = {name: source for name, source in labelled.items() if source is not None}
    if unlabelled is not None:
        sources[UNLABELLED] = unlabelled
    sources |= further or {}
    return {name: scan_split(source, max_images) for name, source in sources.items()}


def scan_split(source: Source, max_images: int | None = None) -> SplitScan:
    """Read, decode and hash images on all cores; images that do not decode are listed, not raised."""
    indices = spread(len(source), len(source) if max_images is None else max_images)
    with thread_pool(os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda index: _scan_image(source, index), indices))
    return SplitScan(
        source=source,
        images=[result for result in results if isinstance(result, ImageScan)],
        unreadable=[result for result in results if isinstance(result, str)],
    )


def summarise(scans: Mapping[str, SplitScan]) -> tuple[SplitSummary, ...]:
    """Put the images of each split in numbers."""
    return tuple(
        SplitSummary(
            split=name,
            source=scan.source.name,
            is_labelled=bool(scan.source.categories),
            num_images=len(scan.source),
            num_examined=len(scan.images) + len(scan.unreadable),
            unreadable=tuple(scan.unreadable),
            image_sizes=_count("{1} x {0}".format(*image.size_px) for image in scan.images),
        )
        for name, scan in scans.items()
    )


def _count(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _scan_image(source: Source, index: int) -> ImageScan | str:
    try:
        example = source.read(index)
        encoded = source.path(index).read_bytes() if source.path is not None else source.read_encoded(index)
    except (InputError, OSError) as error:
        return f"image {source.image_ids[index]}: {error}"
    image = example.pop("image")
    example.pop("mask", None)
    return ImageScan(
        example,
        image.shape[:2],
        pixel_digest(image),
        perceptual_hash(image),
        hashlib.sha256(encoded).hexdigest(),
        _read_orientation(encoded),
    )


def _read_orientation(encoded: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, from the header; upright where none is stated."""
    try:
        with Image.open(io.BytesIO(encoded), formats=IMAGE_FORMATS) as image:
            found = image.getexif().get(_ORIENTATION_TAG, UPRIGHT)
    except Exception:  # Pillow's parsers raise many types on damaged tags
        return UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT
