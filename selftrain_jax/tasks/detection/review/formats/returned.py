"""Images and boxes as a tool gives them back, before they are compared with what went out.

Every reader returns a list of `ReturnedImage`; `read_back.py` finds their images and classes.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax.data.formats.shapes import Parsed
from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.text import shorten_list


class RawBox(NamedTuple):
    """A box with the tool's name of its class."""

    box: Float[np.ndarray, " 4"]  # yxyx, in pixels or fractions of the image
    class_name: str
    record_index: int | None  # of the box that went out, where the tool kept it
    where: str  # for messages


class ReturnedImage(NamedTuple):
    """An image in a tool's file, with all boxes that it has there."""

    names: tuple[str, ...]  # what it may be found by: its id, path or file name, the surest first
    boxes: tuple[RawBox, ...]
    where: str
    is_relative: bool = False  # boxes are fractions of the image
    size_px: tuple[int, int] | None = None  # height, width, where the tool says it
    is_confirmed: bool | None = None  # a person has looked at it; None: the format cannot say
    by: str = ""
    at: str = ""


def read_numbers(values: Any, count: int, where: str, what: str) -> Float[np.ndarray, " N"]:
    """Read finite numbers, given as numbers or text. Raises: InputError."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        found = []
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise InputError(f"{where}: {what} is {show(values)}; expected {count} finite numbers")
    return np.array(found, np.float64)


def refuse_first(parsed: Parsed, where: str) -> None:
    """See that all that was parsed is boxes. Raises: InputError: the first fault, or what was left out."""
    if parsed.problems:
        raise InputError(f"{parsed.problems[0].where}: {parsed.problems[0].message}")
    if parsed.left_out:
        raise InputError(
            f"{where}: {shorten_list([*parsed.left_out])}, which are no boxes; remove them there"
        )


def read_index(value: Any) -> int | None:
    """Read the index of a box that a tool was given; None where it has none or another's."""
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
