"""The paper's segmentation network, on the sum of a pyramid's levels; call `make_segmenter`."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.models.fpn import Features
from selftrain_jax.models.frozen_backbone import backbone_trains
from selftrain_jax.models.layers import Conv, LayerStyle, norm, upsample_bilinear
from selftrain_jax.models.settings import NetworkSettings, make_backbone_and_neck

FUSED_LEVEL = 2
STRIDE_PX = 2**FUSED_LEVEL
"""Input pixels for each cell of logits, along each axis."""
HEAD_CHANNELS, HEAD_CONVS = 256, 3
HEAD_INIT = nn.initializers.normal(0.01)


def fuse(pyramid: Features, height: int, width: int) -> Float[Array, "B {height} {width} C"]:
    """Upsample each level to level 2, crop to height and width, and sum.

    Σ up(x_level, 2^(level - 2)), summed from the coarsest level down: add the next level, double the
    resolution, and so on. Upsampling is linear and its factors multiply, so the sum is the same and only one
    map of level 2 is made. A finer level repeats its edge where the coarser ones reach beyond it.
    """
    levels = sorted(pyramid)
    fused = pyramid[levels[-1]]
    for level in reversed(levels[:-1]):
        fused = upsample_bilinear(fused, 2)
        fused += pad_to(pyramid[level], *fused.shape[1:3])
    return upsample_bilinear(fused, 2 ** (levels[0] - FUSED_LEVEL))[:, :height, :width]


def pad_to(x: Float[Array, "B h w C"], height: int, width: int) -> Float[Array, "B {height} {width} C"]:
    """Repeat the last row and column as often as needed."""
    rows, columns = height - x.shape[1], width - x.shape[2]
    return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), "edge") if rows or columns else x


class PixelHead(nn.Module):
    """3×3 convolutions, each with a batch normalisation, and a 1×1 classifier."""

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

    Without an `fpn` the pyramid is the backbone's features (SpineNet). `num_classes` includes the
    background, `style` is that of the head.
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
        """Return float32 logits on a grid of ceil(H / 4) × ceil(W / 4) cells."""
        features = self.backbone(images, train=backbone_trains(train))
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


def make_segmenter(*, num_classes: int, **fields: Any) -> Segmenter:
    """Compose a segmenter from the fields of `NetworkSettings` (config.model).

    `num_classes` includes the background. By default the neck is NAS-FPN (SpineNet has none) and the head has
    3 convolutions of 256 channels. The paper's has nas_fpn_repeats=7, separable=True, bn_epsilon=1e-3.

    Raises:
        InputError: a name is unknown, or a value does not apply to this backbone.

    Paper: section 3.2 and Table 6.
    """
    settings = NetworkSettings(**fields)
    backbone, neck = make_backbone_and_neck(settings, default_neck="nas_fpn")
    return Segmenter(
        backbone=backbone,
        fpn=neck,
        num_classes=num_classes,
        min_level=settings.min_level,
        max_level=settings.max_level,
        head_convs=settings.head_convs or HEAD_CONVS,
        head_channels=settings.head_channels or HEAD_CHANNELS,
        style=settings.style,
    )
