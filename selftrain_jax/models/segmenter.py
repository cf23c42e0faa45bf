"""The paper's segmentation network: every level of a pyramid, fused at a quarter of the image's resolution.

`make_segmenter` composes one.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.models.detector import SPINENETS, check_spinenet, make_backbone, make_neck
from selftrain_jax.models.fpn import Features
from selftrain_jax.models.layers import Conv, LayerStyle, norm
from selftrain_jax.models.resize import upsample_bilinear

FUSED_LEVEL = 2
STRIDE_PX = 2**FUSED_LEVEL
"""Pixels of the input a cell of logits, along each axis."""
HEAD_CHANNELS, HEAD_CONVS = 256, 3
HEAD_INIT = nn.initializers.normal(0.01)


def fuse(pyramid: Features, height: int, width: int) -> Float[Array, "B {height} {width} C"]:
    """Upsample each level to level 2 by the exact factor, crop to height and width there, and sum.

    Σ up(x_level, 2^(level - 2)), added from the coarsest down, doubling each sum: as upsampling is linear
    and two factors in turn are their product, only one map of level 2 is ever made. A finer level repeats
    its edge where the coarser ones, of whole cells, reach beyond it.
    """
    levels = sorted(pyramid)
    fused = pyramid[levels[-1]]
    for level in reversed(levels[:-1]):
        fused = upsample_bilinear(fused, 2)
        fused += pad_to(pyramid[level], *fused.shape[1:3])
    return upsample_bilinear(fused, 2 ** (levels[0] - FUSED_LEVEL))[:, :height, :width]


def pad_to(x: Float[Array, "B h w C"], height: int, width: int) -> Float[Array, "B {height} {width} C"]:
    """Repeat the last row and the last column."""
    rows, columns = height - x.shape[1], width - x.shape[2]
    return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), "edge") if rows or columns else x


class PixelHead(nn.Module):
    """3×3 convolutions with their normalisation, and a 1×1 classifier of each cell."""

    num_convs: int
    num_channels: int
    num_classes: int
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w K"]:
        """Return float32 logits."""
        for i in range(self.num_convs):
            x = self._conv(f"head_conv{i}", self.num_channels, 3)(x)
            x = self.style.activate(norm(self.style, train=train, name=f"head_bn{i}")(x))
        return self._conv("classifier", self.num_classes, 1)(x).astype(jnp.float32)

    def _conv(self, name: str, features: int, kernel_px: int) -> Conv:
        return Conv(features, kernel_px, self.style, use_bias=True, kernel_init=HEAD_INIT, name=name)


class Segmenter(nn.Module):
    """Backbone, pyramid network, and a head on the sum of the pyramid's levels.

    Without an `fpn` the backbone's own features are the pyramid (SpineNet). `num_classes` counts the
    background, `style` is the head's.
    """

    backbone: nn.Module
    fpn: nn.Module | None
    num_classes: int
    min_level: int = 3
    max_level: int = 7
    head_convs: int = HEAD_CONVS
    head_channels: int = HEAD_CHANNELS
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B h w K"]:
        """Return the float32 logits of every class on a grid of ceil(H / 4) × ceil(W / 4) cells."""
        features = self.backbone(images, train=train)
        if self.fpn is not None:
            features = self.fpn(features, train=train)
        pyramid = {level: features[level] for level in self.levels}
        height, width = (-(-size_px // STRIDE_PX) for size_px in images.shape[1:3])
        tower = (self.head_convs, self.head_channels, self.num_classes)
        head = PixelHead(*tower, self.style, name="segmenter")
        return head(fuse(pyramid, height, width), train=train)

    @property
    def levels(self) -> range:
        """The pyramid's levels, finest first."""
        return range(self.min_level, self.max_level + 1)


def make_segmenter(
    *,
    backbone: str,
    num_classes: int,
    neck: str = "",
    width_factor: float = 1.0,
    min_level: int = 3,
    max_level: int = 7,
    fpn_channels: int = 256,
    nas_fpn_repeats: int = 5,
    separable: bool = False,
    head_channels: int = 0,
    head_convs: int = 0,
    activation: str = "relu",
    bn_momentum: float = 0.997,
    bn_epsilon: float = 1e-4,
    backbone_bn_momentum: float = 0.0,
    drop_connect_rate: float = -1.0,
    pool_padding: str = "same",
    dtype: str = "float32",
) -> Segmenter:
    """Compose a segmenter; `num_classes` counts the background.

    "" as neck stands for NAS-FPN (SpineNet: none), 0 as head_channels and head_convs for 3 convolutions of
    256 channels; 0 as backbone_bn_momentum and -1 as drop_connect_rate for the backbone's own. The paper's
    has nas_fpn_repeats=7, separable=True and bn_epsilon=1e-3.

    Raises:
        InputError: a name is unknown, or a value means nothing to this backbone.

    Paper: section 3.2 and Table 6.
    """
    style = LayerStyle(activation, bn_momentum, bn_epsilon, dtype)
    network = make_backbone(
        backbone,
        width_factor=width_factor,
        bn_momentum=backbone_bn_momentum,
        drop_connect_rate=drop_connect_rate,
        pool_padding=pool_padding,
        style=style,
    )
    levels = (min_level, max_level)
    if backbone in SPINENETS:
        check_spinenet(neck, levels, separable)
        pyramid = None
    else:
        pyramid = make_neck(neck or "nas_fpn", fpn_channels, levels, nas_fpn_repeats, style, separable)
    return Segmenter(
        backbone=network,
        fpn=pyramid,
        num_classes=num_classes,
        min_level=min_level,
        max_level=max_level,
        head_convs=head_convs or HEAD_CONVS,
        head_channels=head_channels or HEAD_CHANNELS,
        style=style,
    )
