"""Pictures on a page: rows of them under a title. Call `fit_side` and `encode_jpeg` for what goes in."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LONGEST_PX = 420
MAX_PAIRS = 4  # of an augmentation
MAX_JPEG_BYTES = 45_000  # about a hundred pictures must stay below 8 MB
JPEG_QUALITIES = (88, 78, 64, 48, 32, 15)

T = TypeVar("T")
Layout = Literal["tiles", "pairs", "rows", "rows wide"]  # one picture a row; two rows a line; one row a line


class Picture(NamedTuple):
    """An image ready to show, and what it shows."""

    image: UInt8[np.ndarray, "H W 3"]
    caption: str
    alt: str


class Gallery(NamedTuple):
    """Rows of pictures under a title, with what to look for. The pictures of a row belong together."""

    title: str  # perhaps empty, as the caption
    caption: str
    layout: Layout
    rows: Sequence[Sequence[Picture]]


def spread(length: int, count: int) -> list[int]:
    """Pick `count` indices evenly through `length`, the first and the last among them."""
    return sorted({round(position) for position in np.linspace(0, length - 1, min(count, length))})


def chosen_galleries(
    choices: Iterable[tuple[str, str, Sequence[T]]],
    layout: Layout,
    draw: Callable[[T], Sequence[Picture]],
    limit: int,
) -> list[Gallery]:
    """Show the first `limit` of each choice: a title, a caption and what was chosen, perhaps nothing."""
    return [
        Gallery(title, caption, layout, [draw(item) for item in chosen[:limit]])
        for title, caption, chosen in choices
        if chosen
    ]


def pair_galleries(
    pairs: Mapping[str, Sequence[tuple[T, T]]], caption: str, draw: Callable[[T, str], Picture]
) -> list[Gallery]:
    """Show pairs before and after a change, a gallery for each kind of change that has any."""
    choices = [(name.upper(), caption, chosen) for name, chosen in pairs.items()]
    return chosen_galleries(
        choices, "pairs", lambda pair: [draw(pair[0], "before"), draw(pair[1], "after")], MAX_PAIRS
    )


def fit_side(image: UInt8[np.ndarray, "H W 3"], longest_px: int = LONGEST_PX) -> UInt8[np.ndarray, "h w 3"]:
    """Scale an image so that its longer side has `longest_px`."""
    scale = longest_px / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize((width, height), smooth))


def encode_jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Compress an image as well as MAX_JPEG_BYTES allows."""
    for quality in JPEG_QUALITIES:
        buffer, subsampling = io.BytesIO(), 0 if quality > 80 else 2
        Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=subsampling)
        if len(buffer.getvalue()) <= MAX_JPEG_BYTES:
            break
    return buffer.getvalue()
