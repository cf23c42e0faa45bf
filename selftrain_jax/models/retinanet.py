"""RetinaNet, the paper's detector, over any backbone and neck; `detector.make_retinanet` composes one."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.models.fpn import Features
from selftrain_jax.models.layers import Conv, LayerStyle, norm

CLASS_BIAS = -math.log((1 - 0.01) / 0.01)  # every anchor starts as background with probability 0.99


class Head(nn.Module):
    """Convolutions shared by all levels, with a batch normalisation per level, and a predictor."""

    num_convs: int
    num_channels: int
    num_anchors: int  # at each location
    num_outputs: int  # of each anchor
    predictor_bias: float
    style: LayerStyle

    @nn.compact
    def __call__(self, pyramid: Features, *, train: bool) -> dict[int, Float[Array, "B _ _ AK"]]:
        """Return each level's outputs in the style's dtype; a location's channels go anchor after anchor."""
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
    """Backbone, pyramid network, and a head each for classes and boxes.

    Without an `fpn` the backbone's own features of `min_level` to `max_level` are the pyramid (SpineNet).
    `num_classes` counts the background, channel 0. `style` is the heads'.
    """

    backbone: nn.Module
    fpn: nn.Module | None
    num_classes: int
    min_level: int = 3
    max_level: int = 7
    head_convs: int = 4
    head_channels: int = 256
    num_anchors: int = 9
    style: LayerStyle = LayerStyle()

    @nn.compact
    def per_level(
        self, images: Float[Array, "B H W 3"], *, train: bool
    ) -> tuple[dict[int, Float[Array, "B _ _ AK"]], dict[int, Float[Array, "B _ _ A4"]]]:
        """Return maps of class logits and of box outputs of each level, in the style's dtype."""
        features = self.backbone(images, train=train)
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
        return self._of_anchors(logits, self.num_classes), self._of_anchors(boxes, 4)

    def _of_anchors(
        self, maps: dict[int, Float[Array, "B _ _ _"]], num_outputs: int
    ) -> Float[Array, "B A _"]:
        flat = [maps[level].reshape(len(maps[level]), -1, num_outputs) for level in self.levels]
        return jnp.concatenate(flat, axis=1).astype(jnp.float32)

    @property
    def levels(self) -> range:
        """The pyramid's levels, finest first."""
        return range(self.min_level, self.max_level + 1)
