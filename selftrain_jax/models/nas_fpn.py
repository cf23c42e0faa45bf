"""NAS-FPN, the neck of the paper's segmentation (section 3.2), for detectors too; call `NASFPN()`."""

from typing import Literal, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.fpn import Features
from selftrain_jax.models.layers import Conv, LayerStyle, SeparableConv, norm, resize_nearest, spatial_padding
from selftrain_jax.models.max_pool import max_pool

LEVELS = (3, 4, 5, 6, 7)
BACKBONE_LEVELS = (3, 4, 5)


class Node(NamedTuple):
    """One node of a cell; nodes 0 to 4 are the cell's inputs, levels 3 to 7."""

    level: int
    merge: Literal["sum", "attention"]
    parents: tuple[int, int]
    is_output: bool = True


NODES = {
    5: Node(4, "attention", (1, 3), is_output=False),
    6: Node(4, "sum", (1, 5), is_output=False),
    7: Node(3, "sum", (0, 6)),
    8: Node(4, "sum", (6, 7)),
    9: Node(5, "attention", (7, 8)),
    10: Node(7, "attention", (6, 9)),
    11: Node(6, "attention", (9, 10)),
}


def get_level(index: int) -> int:
    """Return the level of a cell's input or node."""
    return LEVELS[index] if index < len(LEVELS) else NODES[index].level


def unused_nodes(index: int) -> list[int]:
    """Return what an output adds to its merge: the inputs and nodes of its level that nothing uses so far."""
    if not NODES[index].is_output:
        return []
    used = {p for i in NODES if i <= index for p in NODES[i].parents}
    used |= {p for i in NODES if i < index for p in unused_nodes(i)}
    return [i for i in range(index) if i not in used and get_level(i) == NODES[index].level]


def attend(a: Float[Array, "B h w C"], b: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
    """Return a + b · sigmoid(max of a over the image)."""
    return a + b * nn.sigmoid(a.max(axis=(1, 2), keepdims=True))


def change_level(
    x: Float[Array, "B h w C"], levels_up: int, height: int, width: int
) -> Float[Array, "B h2 w2 C"]:
    """Bring features `levels_up` levels up (coarser, by max-pooling) or down (finer, by nearest cell)."""
    return pool(x, 2**levels_up) if levels_up > 0 else resize_nearest(x, height, width)


def pool(x: Float[Array, "B h w C"], factor: int) -> Float[Array, "B h2 w2 C"]:
    """Return the maximum of each window of factor × factor cells."""
    return max_pool(x, factor, factor, spatial_padding(x, factor, factor, "same"))


def make_conv(
    num_channels: int, kernel_px: int, separable: bool, style: LayerStyle, name: str
) -> Conv | SeparableConv:
    """Make a convolution with a bias."""
    init = nn.initializers.xavier_uniform()
    if separable:
        return SeparableConv(num_channels, kernel_px, style, kernel_init=init, name=name)
    return Conv(num_channels, kernel_px, style, use_bias=True, kernel_init=init, name=name)


class Refine(nn.Module):
    """What follows every merge: activation, 3×3 convolution, normalisation."""

    num_channels: int
    separable: bool
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w C2"]:
        """Return features without an activation."""
        x = self.style.activate(x)
        x = make_conv(self.num_channels, 3, self.separable, self.style, name="conv")(x)
        return norm(self.style, train=train, name="bn")(x)


class NASFPN(nn.Module):
    """Pyramid of levels 3 to 7, each with `num_channels`, through `num_repeats` cells.

    The defaults are for detection; segmentation has 7 repeats with separable convolutions.
    """

    num_channels: int = 256
    num_repeats: int = 5
    separable: bool = False
    min_level: int = 3
    max_level: int = 7
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Features:
        """Bring levels 3 to 5 to `num_channels`, pool levels 6 and 7 from them, and run the cells.

        Raises:
            InputError: the levels are not 3 to 7; the published cell has these only.
        """
        if (self.min_level, self.max_level) != (LEVELS[0], LEVELS[-1]):
            raise InputError(
                f"NAS-FPN has levels 3 to 7, not {self.min_level} to {self.max_level}; "
                "use those, or neck='fpn'."
            )
        pyramid = {level: self._lateral(level, features[level], train) for level in BACKBONE_LEVELS}
        for level in LEVELS[len(BACKBONE_LEVELS) :]:
            pyramid[level] = pool(pyramid[level - 1], 2)
        for cell in range(self.num_repeats):
            pyramid = self._cell(cell, pyramid, train)
        return pyramid

    def _lateral(self, level: int, x: Array, train: bool) -> Array:
        if x.shape[-1] == self.num_channels:
            return x
        x = make_conv(self.num_channels, 1, self.separable, self.style, name=f"lateral{level}")(x)
        return norm(self.style, train=train, name=f"lateral_bn{level}")(x)

    def _cell(self, cell: int, pyramid: Features, train: bool) -> Features:
        sizes = {level: x.shape[1:3] for level, x in pyramid.items()}
        values = [pyramid[level] for level in LEVELS]
        for index, node in NODES.items():
            a, b = (
                change_level(values[i], node.level - get_level(i), *sizes[node.level])
                for i in sorted(node.parents, key=get_level, reverse=True)
            )
            merged = attend(a, b) if node.merge == "attention" else a + b
            merged = sum((values[i] for i in unused_nodes(index)), merged)
            refine = Refine(self.num_channels, self.separable, self.style, name=f"cell{cell}_node{index}")
            values.append(refine(merged, train=train))
        ends = {node.level: i for i, node in NODES.items() if node.is_output}
        return {level: values[ends[level]] for level in LEVELS}
