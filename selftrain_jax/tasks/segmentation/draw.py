"""Masks as pictures, for the galleries and the `predict` job. Call `overlay`, or `save_mask_png` for a file.

Pixels that are IGNORED (in pseudo masks those under the threshold, paper section 3.1) are hatched.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.errors import InputError
from selftrain_jax.html.draw import load_font
from selftrain_jax.html.galleries import fit_side
from selftrain_jax.html.plots import shorten
from selftrain_jax.io import atomic_write
from selftrain_jax.types import IGNORED

HATCH_PERIOD_PX = 9  # from line to line, along a row
HATCH_LINE_PX = 3
FONT_FRAC = 1 / 27  # of the longer side
MIN_FONT_PX = 10
STRIDE = 2  # an area is sought on every second pixel


def colour_mask(mask: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Paint every pixel in the colour of its class."""
    return voc_palette()[mask]


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "H W"],
    opacity: float = 0.5,
    names: Mapping[int, str] | None = None,
    font_px: int | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Tint an image with its mask: classes edged in their full colour, ignored pixels bare and hatched.

    drawn = (1 - opacity) image + opacity colour. With `names` every class that has room bears its name, in
    letters of `font_px`, or as large as fits a picture that is shown at a third of a page's width.
    """
    colours = colour_mask(mask).astype(np.float32)
    strength = np.where(class_edges(mask), 1.0, opacity)[..., None]
    tinted = (1 - strength) * image + strength * colours
    drawn = np.where((mask == IGNORED)[..., None], hatched(image), tinted)
    drawn = np.floor(drawn + 0.5).astype(np.uint8)
    return drawn if names is None else write_names(drawn, mask, names, font_px)


def class_edges(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Mark the pixels with another class (or none) above, below, left or right of them."""
    edges = np.zeros(mask.shape, dtype=bool)
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


def hatched(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw white diagonals with a dark side, to be seen on any image."""
    rows, columns = np.indices(image.shape[:2])
    phase = (rows + columns) % HATCH_PERIOD_PX
    drawn = image.copy()
    drawn[phase == 0] //= 3
    is_line = (phase > 0) & (phase < HATCH_LINE_PX)
    drawn[is_line] = 255 - (255 - drawn[is_line]) // 5
    return drawn


def fit_mask(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], longest_px: int
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """Scale an image and its mask (nearest pixel) so that the longer side has `longest_px`."""
    scale = longest_px / max(mask.shape)
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    resized = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    return fit_side(image, longest_px), np.asarray(resized)


def mask_path(folder: Path, image_id: str) -> Path:
    """Name the file of an image's class map; ids with a slash go into sub-folders, so none meet.

    Raises: InputError for an id that would leave the folder, or that no file can be named by.
    """
    parts = PurePosixPath(image_id).parts
    is_plain = "/".join(parts) == image_id != "" and not {"..", "/"} & set(parts) and "\0" not in image_id
    if not is_plain or not all(len(os.fsencode(f"{part}.png.unfinished")) < 256 for part in parts):
        raise InputError(
            f"{folder}: the image id {image_id[:300]!r} cannot name a file there; expected a relative path "
            "without '..' and of names of at most 240 bytes. Rename the image."
        )
    return folder / f"{image_id}.png"


def save_mask_png(path: Path, mask: UInt8[np.ndarray, "H W"]) -> None:
    """Write class ids as a PNG with PASCAL VOC's colours, whole or not at all; folders above it are made."""
    picture = Image.fromarray(mask).convert("L")
    picture.putpalette(voc_palette().tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        picture.save(file, format="PNG", optimize=True)


def read_mask_png(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Read what `save_mask_png` wrote. Raises: InputError for what is no whole PNG of one channel."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            mode, mask = picture.mode, np.array(picture)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: no whole PNG ({error}); delete it and evaluate its stage again") from error
    if mode not in ("P", "L"):
        raise InputError(
            f"{path}: a PNG of mode {mode}; expected class ids, mode P or L, as evaluation writes"
        )
    return mask


class Square(NamedTuple):
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
    squares = {int(class_id): widest_square(coarse == class_id) for class_id in np.unique(coarse)}
    picture = Image.fromarray(image)
    draw, font = ImageDraw.Draw(picture), load_font(size_px)
    taken: list[tuple[float, float, float, float]] = []
    for class_id, square in sorted(squares.items(), key=lambda item: -item[1].side_px):
        text = shorten(names.get(class_id, ""), 16)
        half_width, half_height = font.getlength(text) / 2 + 2, size_px * 0.7
        x = min(max(square.x * STRIDE, half_width), max(picture.width - half_width, half_width))
        y = min(max(square.y * STRIDE, half_height), picture.height - half_height)
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        if text and square.side_px * STRIDE >= size_px and not any(_overlap(box, other) for other in taken):
            draw.text((x, y), text, font=font, anchor="mm", fill="white", stroke_width=2, stroke_fill="black")
            taken.append(box)
    return np.asarray(picture).copy()


def widest_square(inside: Bool[np.ndarray, "H W"]) -> Square:
    """Find the largest square of True pixels, the middle one of those of that size; side 0 without any."""
    sums = np.pad(inside.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    low, high = 0, min(inside.shape)
    while low < high:  # a square of `low` fits, one of `high + 1` does not
        side = (low + high + 1) // 2
        low, high = (side, high) if _filled(sums, side).any() else (low, side - 1)
    if not low:
        return Square(0, 0, 0)
    corners = np.argwhere(_filled(sums, low))
    row, column = (int(index) for index in corners[len(corners) // 2])
    return Square(row + low // 2, column + low // 2, low)


def _filled(sums: np.ndarray, side: int) -> np.ndarray:
    """Say of every top left corner whether the square of `side` from there is all inside."""
    count = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return count == side * side


def _overlap(first: tuple[float, float, float, float], second: tuple[float, float, float, float]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
