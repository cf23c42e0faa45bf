"""Boxes on images, for the galleries and the `predict` job. Call `draw_boxes`."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from selftrain_jax.html.galleries import fit_side

Color = tuple[int, int, int]

CLASS_COLORS: tuple[Color, ...] = (  # Okabe and Ito's palette, safe for the colour-blind
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)
DASH_PX = 5


def class_color(class_id: int) -> Color:
    """Give a class its colour; ids 1 to 7 differ, then colours come again."""
    return CLASS_COLORS[(class_id - 1) % len(CLASS_COLORS)]


def draw_boxes(
    image: UInt8[np.ndarray, "H W 3"],
    boxes: Float[np.ndarray, "N 4"],
    labels: Sequence[str],
    colors: Sequence[Color],
    *,
    dashed: Sequence[bool] | None = None,
    width_px: int = 2,
    font_px: int = 12,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw yxyx boxes on a copy of an image, each with its label on a tab unless that is empty.

    A border's outermost pixels are the rows y0 and y1 - 1 and the columns x0 and x1 - 1 (rounded, cut to
    the image); it grows inwards. Tabs are drawn after all borders, above their box or, at the top of the
    image, in it.
    """
    canvas = image.copy()
    corners = [round_corners(box, image.shape[0], image.shape[1]) for box in boxes]
    dashes = [False] * len(corners) if dashed is None else dashed
    for (y0, x0, y1, x1), color, dash in zip(corners, colors, dashes, strict=True):
        canvas[y0:y1, x0:x1][border_mask(y1 - y0, x1 - x0, width_px, dash)] = color
    picture = Image.fromarray(canvas)
    for box, color, label in zip(corners, colors, labels, strict=True):
        if label:
            _draw_tab(picture, box, color, label, font_px, width_px)
    return np.asarray(picture).copy()


def round_corners(box: Float[np.ndarray, "4"], height: int, width: int) -> tuple[int, int, int, int]:
    """Round a box to whole pixels inside the image, at least one pixel large; y1 and x1 are exclusive."""
    y0, x0, y1, x1 = (int(np.floor(edge + 0.5)) for edge in box)
    y0, x0 = min(max(y0, 0), height - 1), min(max(x0, 0), width - 1)
    return y0, x0, max(min(y1, height), y0 + 1), max(min(x1, width), x0 + 1)


def fit_image(
    image: UInt8[np.ndarray, "H W 3"], boxes: Float[np.ndarray, "N 4"], longest_px: int
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "N 4"]]:
    """Scale an image with its boxes so that its longer side has `longest_px`."""
    resized = fit_side(image, longest_px)
    ratio = np.array([resized.shape[0] / image.shape[0], resized.shape[1] / image.shape[1]] * 2, np.float32)
    return resized, (boxes * ratio).astype(np.float32)


def border_mask(height: int, width: int, width_px: int, dash: bool) -> Bool[np.ndarray, "height width"]:
    """Mark the border inside a box of this many pixels; with `dash` only every other stretch of it."""
    ring = np.ones((height, width), dtype=bool)
    ring[width_px : max(height - width_px, 0), width_px : max(width - width_px, 0)] = False
    if dash:
        rows, columns = np.indices(ring.shape)
        ring &= (rows + columns) // DASH_PX % 2 == 0
    return ring


def _draw_tab(
    picture: Image.Image,
    box: tuple[int, int, int, int],
    color: Color,
    label: str,
    font_px: int,
    width_px: int,
) -> None:
    font = load_font(font_px)
    text = " ".join(label.split())
    width, height = int(font.getlength(text)) + 6, font_px + 4
    x = max(0, min(box[1], picture.width - width))
    y = box[0] - height if box[0] >= height else box[0] + width_px
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
    bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 120
    draw.text((x + 3, y + height / 2), text, font=font, anchor="lm", fill="black" if bright else "white")


@lru_cache
def load_font(size_px: int) -> ImageFont.FreeTypeFont:
    """Load the font that comes with matplotlib: it knows Latin, Greek and Cyrillic letters."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size_px)
