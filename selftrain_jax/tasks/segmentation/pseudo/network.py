"""A trained segmenter as inference uses it, and the few shapes that it is compiled for.

Build a `MaskNetwork` with `network_sizes`; its `shapes_used` counts what was compiled.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Array, UInt8

from selftrain_jax.data.tiles import Tiling
from selftrain_jax.errors import InputError
from selftrain_jax.models.input_padding import padded_size
from selftrain_jax.selftrain.inference import Fitted
from selftrain_jax.types import SIZE_STEP_PX, FittedImages, PixelLogits

MIN_CANVAS_PX = 128

Load = Callable[[UInt8[np.ndarray, "H W 3"], int], Fitted]
"""From an image and the side of the network's input to the input and the part of it that the image covers."""

Label = Callable[..., tuple[Array | None, ...]]
"""`segmentation.multi_scale.label_pixels`, placed on the devices: from logits of each view, their covered
parts, the sizes asked for and, static, the canvas and which views are mirrored to classes, confidence,
whether they are finite and, of two or more classes a pixel, the runners-up."""


Predict = Callable[[FittedImages], PixelLogits]
"""The network with the weights of one model."""


@dataclass(frozen=True)
class ShapesUsed:
    """The sides of a network's inputs and class maps so far; each was compiled once."""

    inputs_px: set[int] = field(default_factory=set)
    canvases_px: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return f"network shapes {len(self.inputs_px)}, canvases {len(self.canvases_px)}"


@dataclass(frozen=True)
class MaskNetwork:
    """A trained segmenter with its weights, or those of several models."""

    load: Load
    models: tuple[Predict, ...]
    label: Label
    batch_size: int
    sizes_px: tuple[int, ...]  # side of the input at each scale; see `network_sizes`
    flip: bool  # average with the mirrored image too
    max_side_px: int  # larger images are labelled at this size, and enlarged
    top_k: int = 1  # classes of a pixel that `label` returns
    shapes_used: ShapesUsed = field(default_factory=ShapesUsed)
    tiling: Tiling | None = None  # how images are cut into what the network sees; None: they are not

    def __post_init__(self) -> None:
        check_max_side(self.max_side_px)

    @property
    def views(self) -> tuple[tuple[int, bool], ...]:
        """Every scale as it is and, with `flip`, mirrored: side of the input, whether mirrored."""
        mirrors = (False, True) if self.flip else (False,)
        return tuple((size_px, mirrored) for size_px in self.sizes_px for mirrored in mirrors)


def network_sizes(image_size_px: int, scales: Sequence[float | int]) -> tuple[int, ...]:
    """Return the side of the network's input at each scale: round(size * scale), up to a multiple of 32.

    The image fills that input, so its scale may be above the one asked for. At scale 1 the side is the size
    itself, whatever divides it: the task pads it. Scales with the same side count once, so that the average
    gives them less weight than asked for.

    Raises:
        InputError: there is no scale, or one is not a number above 0.
    """
    if not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise InputError(
            f"scales {tuple(scales)} (config.pseudo.scales, config.evaluate.scales or "
            "config.predict.scales): expected at least one, each above 0, as (0.5, 1.0)."
        )
    sides_px = (round(image_size_px * scale) for scale in scales)
    return tuple(
        dict.fromkeys(
            side_px if side_px == image_size_px else padded_size(max(side_px, 1), SIZE_STEP_PX)
            for side_px in sides_px
        )
    )


def check_max_side(max_side_px: int) -> None:
    """Check config.segmentation.max_side_px.

    Raises:
        InputError: it is below the smallest input of the network.
    """
    if max_side_px < SIZE_STEP_PX:
        raise InputError(
            f"config.segmentation.max_side_px is {max_side_px}; expected at least {SIZE_STEP_PX}, the "
            "smallest side of the network's input. 2048 leaves nearly all photographs as they are."
        )


def canvas_side(largest_side_px: int, max_side_px: int) -> int:
    """Return the smallest of 128, 192, 256, 384, 512, 768, ... that holds the side, at most `max_side_px`."""
    side = MIN_CANVAS_PX
    while side < largest_side_px:
        is_power = side & (side - 1) == 0
        side = side * 3 // 2 if is_power else side * 4 // 3
    return min(side, max_side_px)


def reduced_size(size_px: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Shrink (height, width) so that neither is above `max_side_px`, keeping the ratio, at least 1 px."""
    largest = max(size_px)
    if largest <= max_side_px:
        return size_px
    height, width = (max(1, round(side * max_side_px / largest)) for side in size_px)
    return height, width


def enlarge_nearest(
    mask: UInt8[np.ndarray, "h w *R"], size_px: tuple[int, int]
) -> UInt8[np.ndarray, "H W *R"]:
    """Take pixel floor(p * in / out) for pixel p, along both axes."""
    rows, columns = (np.arange(out) * size // out for size, out in zip(mask.shape[:2], size_px, strict=True))
    return mask[rows[:, None], columns]
