"""Class maps from several scales: softmax probabilities averaged at the image's size; call `label_pixels`.

A view is the image at one scale, mirrored or not. Each image keeps its own size inside a square canvas, so
that shapes are static: the function is compiled once for each canvas size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, UInt8

from selftrain_jax.models.segmenter import STRIDE_PX
from selftrain_jax.types import IGNORED

BLOCK_BYTES = 2**23  # of one view's resampled logits; on CPU 2 MiB is 10 % faster, 32 MiB is 40 % slower


class PixelLabels(NamedTuple):
    """The best class of each pixel of the canvas; outside the image's own size it has no meaning."""

    classes: UInt8[Array, "B C C"]
    confidence: UInt8[Array, "B C C"]  # min(floor(256 * probability), 255)
    is_finite: Bool[Array, " B"]  # whether all logits of the image are finite
    # The next best classes, each with its probability as `confidence`; None for the best class alone.
    runners_up: UInt8[Array, "B C C _R"] | None = None


def label_pixels(
    logits: Sequence[Float[Array, "B _h _w K"]],
    scaled_px: Int32[Array, "B V 2"],
    target_px: Int32[Array, "B 2"],
    canvas_px: int,
    is_mirrored: tuple[bool, ...],
    top_k: int = 1,
) -> PixelLabels:
    """Average softmax(logits resampled to `target_px`) over the views; return each pixel's best class.

    `top_k` is static, at most the number of classes: 2 or 3 give the next best classes too.

    `scaled_px` is the part of each view's input that the image covers, `target_px` the size of its class
    map, both (height, width). `canvas_px` and `is_mirrored` (of each view) are static. The canvas is computed
    in blocks of rows, so that the probabilities of all classes are never in memory at once.

    Paper: section 3.1 gives the scales, not how they are combined. Here probabilities are averaged, not
    logits, each resampled as in the official export (`interpolation_matrix`).
    """
    assert len(logits) == len(is_mirrored) == scaled_px.shape[1] > 0
    batch_size, num_classes = logits[0].shape[0], logits[0].shape[3]
    assert num_classes <= IGNORED, f"{num_classes} classes, but ids end before {IGNORED}"
    planes = [jnp.swapaxes(view, 2, 3) for view in logits]  # [B h K w]: what follows runs along columns
    columns = [
        interpolation_matrix(
            jnp.arange(canvas_px), view.shape[3], scaled_px[:, i, 1], target_px[:, 1], is_mirrored=mirrored
        )
        for i, (view, mirrored) in enumerate(zip(planes, is_mirrored, strict=True))
    ]
    bytes_per_row = 4 * batch_size * canvas_px * num_classes
    rows_per_block = max(1, min(canvas_px, BLOCK_BYTES // bytes_per_row))

    def label_rows(first: Int[Array, ""]) -> tuple[UInt8[Array, "B R C _"], UInt8[Array, "B R C _"]]:
        total = jnp.zeros([batch_size, rows_per_block, num_classes, canvas_px])
        for i, (view, column) in enumerate(zip(planes, columns, strict=True)):
            position = first + jnp.arange(rows_per_block)
            row = interpolation_matrix(position, view.shape[1], scaled_px[:, i, 0], target_px[:, 0])
            total += jax.nn.softmax(_resample(view, row, column), axis=2)
        classes, total = _best(total, top_k)
        return classes, quantise(total / len(planes))

    blocks = jax.lax.map(label_rows, jnp.arange(0, canvas_px, rows_per_block))
    classes, confidence = (_join_blocks(block)[:, :canvas_px] for block in blocks)
    finite = [jnp.isfinite(view).all(axis=(1, 2, 3)) for view in logits]
    pairs = [part[..., rank] for rank in range(1, top_k) for part in (classes, confidence)]
    return PixelLabels(
        classes=classes[..., 0],
        confidence=confidence[..., 0],
        is_finite=jnp.stack(finite).all(axis=0),
        runners_up=jnp.stack(pairs, axis=-1) if pairs else None,
    )


def _best(
    total: Float[Array, "B R K C"], top_k: int
) -> tuple[UInt8[Array, "B R C _"], Float[Array, "B R C _"]]:
    """Return the best classes of each pixel and their values, best first, of equals the lower class."""
    if top_k == 1:
        return jnp.argmax(total, axis=2).astype(jnp.uint8)[..., None], total.max(axis=2)[..., None]
    values, classes = jax.lax.top_k(jnp.moveaxis(total, 2, 3), top_k)
    return classes.astype(jnp.uint8), values


def interpolation_matrix(
    position: Int[Array, " P"],
    num_cells: int,
    scaled_px: Int[Array, " B"],
    target_px: Int[Array, " B"],
    *,
    is_mirrored: bool = False,
) -> Float32[Array, "B P n"]:
    """Return the weights of the logits' cells for the pixels at `position` of each image, along one axis.

    Three steps in one: the legacy bilinear enlargement by 4 (network pixel y is at cell y/4, at most the
    last), the cut to the image's `scaled_px`, and the legacy bilinear resize to `target_px` (pixel p is at
    y = p scaled/target, between floor(y) and the next pixel, at most scaled - 1). Mirrored: pixel p is
    target - 1 - p. The weights of positions from `target_px` on are 0.

    These are the steps of the official export from logits to masks. A product with a matrix, though most
    entries are zero, is fast on accelerators; rows and columns each have a matrix.
    """
    last, ratio = scaled_px[:, None] - 1, scaled_px / target_px.astype(jnp.float32)
    pixel = target_px[:, None] - 1 - position if is_mirrored else position[None]
    inside = (position >= 0) & (position < target_px[:, None])
    y = jnp.where(inside, pixel, 0) * ratio[:, None]
    above = jnp.minimum(jnp.floor(y).astype(jnp.int32), last)
    below = jnp.minimum(above + 1, last)
    weight = (y - above)[:, :, None]
    mixed = (1 - weight) * _cell_weights(above, num_cells) + weight * _cell_weights(below, num_cells)
    return jnp.where(inside[:, :, None], mixed, 0.0)


def quantise(probability: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """Return min(floor(256 p), 255), so that thresholds that are multiples of 1/256, as 0.5, are exact."""
    return jnp.minimum(jnp.floor(256 * probability), 255).astype(jnp.uint8)


def _cell_weights(y_px: Int[Array, "B P"], num_cells: int) -> Float32[Array, "B P n"]:
    """Return weights between cells: 1 at a cell, falling to 0 at its neighbours."""
    cell = jnp.minimum(y_px / STRIDE_PX, num_cells - 1)
    return jnp.maximum(1 - jnp.abs(cell[:, :, None] - jnp.arange(num_cells)), 0.0)


def _resample(
    planes: Float[Array, "B h K w"], row: Float[Array, "B R h"], column: Float[Array, "B C w"]
) -> Float32[Array, "B R K C"]:
    exact = jax.lax.Precision.HIGHEST  # by default accelerators would round logits to 8 bits
    tall = jnp.einsum("brh,bhkw->brkw", row, planes, precision=exact)
    return jnp.einsum("brkw,bcw->brkc", tall, column, precision=exact)


def _join_blocks(blocks: UInt8[Array, "N B R C k"]) -> UInt8[Array, "B NR C k"]:
    num_blocks, batch_size, rows, *rest = blocks.shape
    return jnp.moveaxis(blocks, 0, 1).reshape(batch_size, num_blocks * rows, *rest)
