"""The parts of SpineNet's nodes: `SpineBlock`, and `Resample`, which brings a parent to its child's shape."""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.models.layers import Conv, LayerStyle, drop_connect, norm, resize_nearest

Kind = Literal["bottleneck", "residual"]

KERNELS_PX: dict[Kind, tuple[int, ...]] = {"bottleneck": (1, 3, 1), "residual": (3, 3)}


def block_channels(kind: Kind, filters: int) -> int:
    """Return the number of channels that a block with `filters` filters returns."""
    return 4 * filters if kind == "bottleneck" else filters


class SpineBlock(nn.Module):
    """Convolutions and a shortcut, at stride 1.

    Unlike in ResNet's block, the last BN starts at one, and the branch is dropped at random (drop-connect).
    """

    kind: Kind
    filters: int
    style: LayerStyle
    project: bool = False
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w C2"]:
        """Return activate(shortcut + drop_connect(branch))."""
        channels = block_channels(self.kind, self.filters)
        y, shortcut = x, x
        if self.project:
            shortcut = Conv(channels, 1, self.style, name="shortcut")(x)
            shortcut = norm(self.style, train=train, name="shortcut_bn")(shortcut)
        last = len(KERNELS_PX[self.kind])
        for i, kernel_px in enumerate(KERNELS_PX[self.kind], start=1):
            y = Conv(channels if i == last else self.filters, kernel_px, self.style, name=f"conv{i}")(y)
            y = norm(self.style, train=train, name=f"bn{i}")(y)
            y = y if i == last else self.style.activate(y)
        if train and self.drop_rate > 0:
            y = drop_connect(y, 1 - self.drop_rate, self.make_rng("drop"))
        return self.style.activate(shortcut + y)


class Resample(nn.Module):
    """Bring a parent's features to a child's size and channels, with fewer filters in between.

    Differs: `is_down` follows from the levels, not from the sizes, so that the parameters are the same for
    every image size. The two differ only for images so small that neighbouring levels have one cell each.
    """

    inner_filters: int
    channels: int
    height: int
    width: int
    is_down: bool
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h2 w2 C2"]:
        """Reduce the channels, resize, restore the channels; no activation at the end."""
        y = Conv(self.inner_filters, 1, self.style, name="conv_in")(x)
        y = self.style.activate(norm(self.style, train=train, name="bn_in")(y))
        if self.is_down:
            y = Conv(self.inner_filters, 3, self.style, 2, "fixed", name="conv_down")(y)
            y = self.style.activate(norm(self.style, train=train, name="bn_down")(y))
            y = pool_remaining(y, x.shape[2], self.width)
        y = resize_nearest(y, self.height, self.width)
        y = Conv(self.channels, 1, self.style, name="conv_out")(y)
        return norm(self.style, train=train, name="bn_out")(y)


def pool_remaining(y: Float[Array, "B h w C"], width: int, target_width: int) -> Float[Array, "B h2 w2 C"]:
    """Pool from the width after a convolution of stride 2 (half of `width`) to about `target_width`."""
    if width <= 2 * target_width:
        return y
    window = 3 if width <= 4 * target_width else 5
    stride = width // target_width // 2 if width % target_width == 0 else 2
    return nn.max_pool(y, (window, window), (stride, stride), "SAME")
