"""How often and how the teacher looks at an image that it labels, config.pseudo.views; call `read_views`."""

import math
import re
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.models.input_padding import padded_size

KEY = "config.pseudo.views"
MIN_SIDE_PX = 32  # backbones halve an image five times: of less they see one cell
MAX_SCALE = 4.0
ONE_VIEW = "1"  # the paper's
ADVISED_VIEWS = "1,1f"  # docs/few_labels.md: scales far from 1 made labels worse
EXPECTED = (
    f"expected scales of the network's input, separated by commas, each above 0 and at most {MAX_SCALE:g}, "
    f"with an f for the mirrored image, such as {ADVISED_VIEWS} or 1,0.75f"
)


class View(NamedTuple):
    """One look at an image: the square that it is fitted into, and whether it is mirrored."""

    scale: float
    is_mirrored: bool
    size_px: int

    def __str__(self) -> str:
        """Write it as in the config."""
        return f"{self.scale:g}{'f' if self.is_mirrored else ''}"


def read_views(text: str, image_size_px: int) -> tuple[View, ...]:
    """Read "1,1f,0.75": the side of a view is round(image_size_px · scale), f is for mirrored.

    The side need not be a multiple of the network's strides: the task pads its input.

    Raises:
        InputError: a view is not of that form, is given twice, or does not fit the network.
    """
    views = tuple(_read_view(word.strip(), text, image_size_px) for word in str(text).split(","))
    named: dict[tuple[int, bool], View] = {}
    for view in views:
        twin = named.setdefault(view[1:][::-1], view)
        if twin is not view:
            raise InputError(
                f"{KEY}={text!r}: the views {twin} and {view} are the same, "
                f"{'mirrored, ' if view.is_mirrored else ''}{view.size_px} px at "
                f"config.image.size_px={image_size_px}; leave one out."
            )
    return views


def _read_view(word: str, text: str, image_size_px: int) -> View:
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)(f?)", word, re.ASCII)
    if match is None:
        raise InputError(f"{KEY}={text!r}: {word!r:.40} is no view; {EXPECTED}.")
    scale = float(match[1])
    if not 0 < scale <= MAX_SCALE:
        problem = "large" if scale else "small"
        raise InputError(f"{KEY}={text!r}: the view {word:.40} is too {problem}; {EXPECTED}.")
    size_px = round(image_size_px * scale)
    if size_px < min(MIN_SIDE_PX, image_size_px):
        raise InputError(
            f"{KEY}={text!r}: the view {word:.40} is too small for the network: {size_px} px at "
            f"config.image.size_px={image_size_px}; expected at least {MIN_SIDE_PX} px, a scale of "
            f"{_round_up(MIN_SIDE_PX / image_size_px)} or more."
        )
    return View(scale, bool(match[2]), size_px)


def _round_up(scale: float) -> float:
    """Round up to three digits, so that the scale that a message names is accepted."""
    return math.ceil(scale * 1000) / 1000


def format_views(views: tuple[View, ...]) -> str:
    """Write views as in the config."""
    return ",".join(map(str, views))


def count_pixels(views: tuple[View, ...], stride_px: int) -> int:
    """Add up the pixels that the network sees of an image, those that it is padded with included."""
    return sum(padded_size(view.size_px, stride_px) ** 2 for view in views)
