"""RetinaNet, the paper's detector, over any backbone and neck; call `make_retinanet`."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.models.fpn import Features
from selftrain_jax.models.frozen_backbone import backbone_trains
from selftrain_jax.models.layers import Conv, LayerStyle, norm
from selftrain_jax.models.settings import SPINENETS, NetworkSettings, make_backbone_and_neck
from selftrain_jax.models.spinenet import SIZES

CLASS_BIAS = -math.log((1 - 0.01) / 0.01)  # every anchor starts as background with probability 0.99
HEAD_CHANNELS, HEAD_CONVS = 256, 4  # of all but SpineNet


class Head(nn.Module):
    """Convolutions shared by all levels, batch normalisations of each level, and a shared predictor."""

    num_convs: int
    num_channels: int
    num_anchors: int  # at each location
    num_outputs: int  # of each anchor
    predictor_bias: float
    style: LayerStyle

    @nn.compact
    def __call__(self, pyramid: Features, *, train: bool) -> dict[int, Float[Array, "B _ _ AK"]]:
        """Return each level's outputs in the style's dtype, with K channels for each of A anchors in turn."""
        convs = [self._conv(f"conv{i}", self.num_channels, 0.01) for i in range(self.num_convs)]
        predict = self._conv("predictor", self.num_anchors * self.num_outputs, 1e-5, self.predictor_bias)
        outputs = {}
        for level, x in pyramid.items():
            for i, conv in enumerate(convs):
                x = self.style.activate(norm(self.style, train=train, name=f"bn{i}_{level}")(conv(x)))
            outputs[level] = predict(x)
        return outputs

    def _conv(self, name: str, features: int, deviation: float, bias: float = 0.0) -> Conv:
        return Conv(
            features,
            3,
            self.style,
            use_bias=True,
            kernel_init=nn.initializers.normal(deviation),
            bias_init=nn.initializers.constant(bias),
            name=name,
        )


class RetinaNet(nn.Module):
    """Backbone, pyramid network, and one head for classes and one for boxes.

    Without an `fpn` the pyramid is the backbone's features of `min_level` to `max_level` (SpineNet).
    `num_classes` includes the background, channel 0. `style` is that of the heads.
    """

    backbone: nn.Module
    fpn: nn.Module | None
    num_classes: int
    min_level: int = 3
    max_level: int = 7
    head_convs: int = HEAD_CONVS
    head_channels: int = HEAD_CHANNELS
    num_anchors: int = 9
    style: LayerStyle = LayerStyle()

    @nn.compact
    def per_level(
        self, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[dict[int, Float[Array, "B _ _ AK"]], dict[int, Float[Array, "B _ _ A4"]]]:
        """Return each level's maps of class logits and of box outputs, in the style's dtype."""
        features = self.backbone(images, train=backbone_trains(train))
        if self.fpn is not None:
            features = self.fpn(features, train=train)
        pyramid = {level: features[level] for level in self.levels}
        tower = (self.head_convs, self.head_channels, self.num_anchors)
        logits = Head(*tower, self.num_classes, CLASS_BIAS, self.style, name="class_net")
        boxes = Head(*tower, 4, 0.0, self.style, name="box_net")
        return logits(pyramid, train=train), boxes(pyramid, train=train)

    def __call__(
        self, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[Float[Array, "B A K"], Float[Array, "B A 4"]]:
        """Return float32 class logits and box outputs (ty, tx, th, tw) of all anchors, finest level first."""
        logits, boxes = self.per_level(images, train=train)
        return self._flatten(logits, self.num_classes), self._flatten(boxes, 4)

    def _flatten(self, maps: dict[int, Float[Array, "B _ _ _"]], num_outputs: int) -> Float[Array, "B A _"]:
        flat = [maps[level].reshape(maps[level].shape[0], -1, num_outputs) for level in self.levels]
        return jnp.concatenate(flat, axis=1).astype(jnp.float32)

    @property
    def levels(self) -> range:
        """The pyramid's levels, finest first."""
        return range(self.min_level, self.max_level + 1)


def make_retinanet(*, num_classes: int, num_anchors: int = 9, **fields: Any) -> RetinaNet:
    """Compose a detector from the fields of `NetworkSettings` (config.model).

    `num_classes` includes the background. By default the neck is an FPN (SpineNet has none) and the heads
    have 4 convolutions of 256 channels (SpineNet's depend on its size).

    Raises:
        InputError: a name is unknown, or a value does not apply to this backbone.

    Paper: section 3.2 and Table 5.
    """
    settings = NetworkSettings(**fields)
    backbone, neck = make_backbone_and_neck(settings, default_neck="fpn")
    head_channels, head_convs = HEAD_CHANNELS, HEAD_CONVS
    if settings.backbone in SPINENETS:
        size = SIZES[SPINENETS[settings.backbone]]
        head_channels, head_convs = size.head_channels, size.head_convs
    return RetinaNet(
        backbone=backbone,
        fpn=neck,
        num_classes=num_classes,
        min_level=settings.min_level,
        max_level=settings.max_level,
        head_convs=settings.head_convs or head_convs,
        head_channels=settings.head_channels or head_channels,
        num_anchors=num_anchors,
        style=settings.style,
    )
