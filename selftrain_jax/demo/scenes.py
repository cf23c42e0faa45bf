"""Scenes of the built-in data: handwritten digits over photographs, with exact boxes and masks.

`lay_out` places the digits, which is all that labels need; `label_scene` measures boxes and mask;
`paint_scene` draws the pixels. All three are pure functions of their arguments.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from selftrain_jax.demo import material

MIN_VISIBLE_FRAC = 0.6  # of a digit's stroke: in the image and under no other digit
PLACEMENTS = 10  # tries before a digit is left out of a crowded scene
MAX_DIGITS = 4
MAX_DISTRACTORS = 2
DIGIT_HEIGHT_FRAC = (0.3, 0.7)  # of the image: 38 to 90 px in 128
DISTRACTOR_HEIGHT_FRAC = (0.15, 0.5)
ANGLE_DEGREES = 10
SHEAR = 0.1
NARROWING = (0.95, 1.15)
INK_LEVEL = (0.42, 0.58)  # share of full ink from which a stroke begins: lower is thicker
CONTRAST = (60, 180)  # grey levels between a stroke and the mean of what lies under it


class Pool(NamedTuple):
    """The material of a split."""

    digit_indices: tuple[int, ...]  # into scikit-learn's digits
    photos: tuple[str, ...]


class Stamp(NamedTuple):
    """A shape on the image: `alpha` [h, w] with its top left corner at (top, left)."""

    alpha: Float[np.ndarray, "h w"]
    top: int
    left: int
    category_id: int  # digit + 1; 0 for a distractor

    @property
    def stroke(self) -> np.ndarray:
        """The pixels of the shape: at least half covered."""
        return self.alpha > 0.5

    @property
    def window(self) -> tuple[slice, slice]:
        """The part of the image that it covers."""
        height, width = self.alpha.shape
        return np.s_[self.top : self.top + height, self.left : self.left + width]


def lay_out(rng: np.random.Generator, pool: Pool, size_px: int) -> list[Stamp]:
    """Place 1 to 4 digits, the later ones over the earlier ones, each at least 60 % visible.

    The class is drawn first, uniformly, then one of the pool's pictures of it.
    """
    by_class = _indices_by_class(pool.digit_indices)
    owner = np.zeros((size_px, size_px), np.uint8)  # number of the digit whose stroke is on top, from 1
    needed_px, visible_px = np.zeros(1), np.zeros(1, int)  # by number; 0 is no digit
    placed: list[Stamp] = []
    for _ in range(rng.integers(1, MAX_DIGITS + 1)):
        digit = int(rng.integers(10))
        ink = material.digit_inks()[by_class[digit][rng.integers(len(by_class[digit]))]]
        alpha = _warp(rng, ink, _draw_height(rng, DIGIT_HEIGHT_FRAC, size_px))
        needs_px = np.append(needed_px, MIN_VISIBLE_FRAC * np.count_nonzero(alpha > 0.5))
        for _ in range(PLACEMENTS):
            stamp = _place(rng, alpha, digit + 1, size_px)
            covered = owner[stamp.window][stamp.stroke]
            remains_px = np.append(visible_px - np.bincount(covered, minlength=len(visible_px)), len(covered))
            if np.all(remains_px[1:] >= needs_px[1:]):
                owner[stamp.window][stamp.stroke] = len(placed) + 1
                needed_px, visible_px = needs_px, remains_px
                placed.append(stamp)
                break
    return placed


def label_scene(
    placed: list[Stamp], size_px: int
) -> tuple[Float[np.ndarray, "N 4"], Int[np.ndarray, " N"], UInt8[np.ndarray, "S S"]]:
    """Measure boxes (yxyx pixels), classes and mask.

    The mask is the class of the top-most stroke at each pixel; a box is tight around those pixels
    of its digit that are visible: inside the image, and under no other digit's stroke.
    """
    owner = np.zeros((size_px, size_px), np.uint8)
    for number, stamp in enumerate(placed, start=1):
        owner[stamp.window][stamp.stroke] = number
    classes = np.array([stamp.category_id for stamp in placed], np.int32)
    boxes = [_tight_box(owner[stamp.window] == number, stamp) for number, stamp in enumerate(placed, start=1)]
    mask = np.array([0, *classes], np.uint8)[owner]
    return np.array(boxes, np.float32).reshape(-1, 4), classes, mask


def paint_scene(
    rng: np.random.Generator,
    placed: list[Stamp],
    pool: Pool,
    distractors: tuple[Image.Image, ...],
    size_px: int,
) -> UInt8[np.ndarray, "S S 3"]:
    """Draw a background, distractors over it, and the digits over them, filled with photographs."""
    canvas = _background(rng, pool.photos, size_px)
    stamps = []
    for _ in range(rng.integers(MAX_DISTRACTORS + 1)):
        ink = distractors[rng.integers(len(distractors))]
        alpha = _warp(rng, ink, _draw_height(rng, DISTRACTOR_HEIGHT_FRAC, size_px))
        stamps.append(_place(rng, alpha, 0, size_px))
    for stamp in [*stamps, *placed]:
        under = canvas[stamp.window]
        fill = _fill(rng, pool.photos, under, size_px)
        under += stamp.alpha[:, :, None] * (fill - under)
    return np.clip(canvas, 0, 255).astype(np.uint8)


@functools.cache
def _indices_by_class(digit_indices: tuple[int, ...]) -> list[list[int]]:
    classes = material.digit_classes()
    return [[index for index in digit_indices if classes[index] == digit] for digit in range(10)]


def _draw_height(rng: np.random.Generator, range_frac: tuple[float, float], size_px: int) -> float:
    """Draw log-uniformly, so that small shapes are as frequent as large ones."""
    return size_px * math.exp(rng.uniform(math.log(range_frac[0]), math.log(range_frac[1])))


def _warp(rng: np.random.Generator, ink: Image.Image, height_px: float) -> Float[np.ndarray, "h w"]:
    """Turn, slant and scale an ink to 8 cells = `height_px`, and cut it out with an edge of about a pixel."""
    angle = math.radians(rng.uniform(-ANGLE_DEGREES, ANGLE_DEGREES))
    cos, sin = math.cos(angle), math.sin(angle)
    narrow, shear = rng.uniform(*NARROWING), rng.uniform(-SHEAR, SHEAR)
    scale = 8 * material.CELL_PX / height_px  # of this inverse map: from the image to the ink
    inverse = scale * np.array([[narrow * cos + shear * sin, shear * cos - narrow * sin], [sin, cos]])
    side_px = math.ceil(height_px * material.CELLS / 8)
    shift = material.INK_PX / 2 - inverse @ (side_px / 2, side_px / 2)
    matrix = (*inverse[0], shift[0], *inverse[1], shift[1])
    warped = ink.transform((side_px, side_px), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    levels = np.asarray(warped, np.float32) / 255 - np.float32(rng.uniform(*INK_LEVEL))
    edge = min(1.0, 8 / height_px)  # change of level in a pixel across a stroke's edge
    return np.clip(levels / np.float32(edge) + 0.5, 0, 1)


def _place(rng: np.random.Generator, alpha: np.ndarray, category_id: int, size_px: int) -> Stamp:
    """Put a shape's middle somewhere in the image, and cut off what lies outside."""
    middle = rng.uniform(0.06, 0.94, 2) * size_px
    top, left = (int(place) - alpha.shape[0] // 2 for place in middle)
    cut = alpha[max(0, -top) : size_px - top, max(0, -left) : size_px - left]
    return Stamp(cut, max(0, top), max(0, left), category_id)


def _tight_box(visible: np.ndarray, stamp: Stamp) -> list[int]:
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    corners = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    return (corners + np.tile([stamp.top, stamp.left], 2)).tolist()


def _background(
    rng: np.random.Generator, photos: tuple[str, ...], size_px: int
) -> Float[np.ndarray, "S S 3"]:
    """Crop a photograph at a random scale, mirror it, and redraw its brightness, contrast and tint."""
    picture = material.photo(photos[rng.integers(len(photos))], 2 * size_px)
    side_px = rng.uniform(0.75, 2) * size_px
    left, top = rng.uniform(0, 1) * (picture.width - side_px), rng.uniform(0, 1) * (picture.height - side_px)
    box = (left, top, left + side_px, top + side_px)
    crop = picture.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
    brightness = rng.uniform(60, 195) + rng.uniform(-20, 20, 3)
    levels = (np.arange(256) - np.asarray(crop).mean()) * rng.uniform(0.35, 0.8) + brightness[:, None]
    crop = crop.point(np.clip(levels, 0, 255).astype(int).ravel().tolist())
    return np.asarray(crop)[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))].astype(np.float32)


def _fill(
    rng: np.random.Generator, photos: tuple[str, ...], under: np.ndarray, size_px: int
) -> Float[np.ndarray, "h w 3"]:
    """Cut texture from a photograph, lighter or darker than what it will cover by the drawn contrast."""
    pixels = material.photo_pixels(photos[rng.integers(len(photos))], 2 * size_px)
    height, width = under.shape[:2]
    top, left = rng.integers(pixels.shape[0] - height), rng.integers(pixels.shape[1] - width)
    texture = pixels[top : top + height, left : left + width].astype(np.float32)
    covered_colour = _mean_colour(under)
    contrast = rng.uniform(*CONTRAST)
    sign = rng.choice((-1, 1))
    if not 10 < covered_colour.mean() + sign * contrast < 245:
        sign = -sign  # no room on that side
    colour = covered_colour + sign * contrast * rng.uniform(0.7, 1.3, 3)
    strength = np.float32(rng.uniform(0.1, 0.35))
    return strength * texture + (colour - strength * _mean_colour(texture)).astype(np.float32)


def _mean_colour(pixels: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "3"]:
    """Average over an area, by a matrix product: several times faster than `mean`."""
    flat = pixels.reshape(-1, 3)
    return np.full(len(flat), 1 / len(flat), np.float32) @ flat
