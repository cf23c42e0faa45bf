"""Class names on a mask, each where its class has most room. Call `write_names`."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from selftrain_jax.html.draw import load_font
from selftrain_jax.html.plots import shorten

FONT_FRAC = 1 / 27  # of the longer side
MIN_FONT_PX = 10
STRIDE = 2  # the place is sought on every second pixel


class Place(NamedTuple):
    """The largest square that lies inside an area."""

    y: int  # of the centre
    x: int
    side_px: int


def write_names(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "H W"],
    names: Mapping[int, str],
    font_px: int | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Write each class's name into its largest area if it is as high as a letter; none over another.

    Classes with most room go first.
    """
    size_px = max(MIN_FONT_PX, round(max(mask.shape) * FONT_FRAC)) if font_px is None else font_px
    coarse = mask[::STRIDE, ::STRIDE]
    found = {int(class_id): widest_place(coarse == class_id) for class_id in np.unique(coarse)}
    picture = Image.fromarray(image)
    draw, font = ImageDraw.Draw(picture), load_font(size_px)
    taken: list[tuple[float, float, float, float]] = []
    for class_id, place in sorted(found.items(), key=lambda item: -item[1].side_px):
        text = shorten(names.get(class_id, ""), 16)
        half_width, half_height = font.getlength(text) / 2 + 2, size_px * 0.7
        x = min(max(place.x * STRIDE, half_width), max(picture.width - half_width, half_width))
        y = min(max(place.y * STRIDE, half_height), picture.height - half_height)
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        if text and place.side_px * STRIDE >= size_px and not any(_overlap(box, other) for other in taken):
            draw.text((x, y), text, font=font, anchor="mm", fill="white", stroke_width=2, stroke_fill="black")
            taken.append(box)
    return np.asarray(picture).copy()


def widest_place(inside: Bool[np.ndarray, "H W"]) -> Place:
    """Find the largest square of True pixels, the middle one of those of that size; side 0 without any."""
    sums = np.pad(inside.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    low, high = 0, min(inside.shape)
    while low < high:  # a square of `low` fits, one of `high + 1` does not
        side = (low + high + 1) // 2
        low, high = (side, high) if _filled(sums, side).any() else (low, side - 1)
    if not low:
        return Place(0, 0, 0)
    corners = np.argwhere(_filled(sums, low))
    row, column = (int(place) for place in corners[len(corners) // 2])
    return Place(row + low // 2, column + low // 2, low)


def _filled(sums: np.ndarray, side: int) -> np.ndarray:
    """Say of every top left corner whether the square of `side` from there is all inside."""
    count = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return count == side * side


def _overlap(first: tuple[float, float, float, float], second: tuple[float, float, float, float]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
