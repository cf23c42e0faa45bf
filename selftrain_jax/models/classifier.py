"""Image classifier for pre-training, joint training and imported weights; call `make_classifier`."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.convnext import layer_norm
from selftrain_jax.models.efficientnet import CONV_INIT, HEAD_FILTERS, VARIANTS, scale_ends
from selftrain_jax.models.frozen_backbone import backbone_trains
from selftrain_jax.models.layers import Conv, LayerStyle, Padding, norm
from selftrain_jax.models.settings import (
    CONVNEXTS,
    EFFICIENTNETS,
    RESNETS,
    VITS,
    NetworkSettings,
    make_backbone,
)

DENSE_INIT = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")  # within ±1/√classes


class Classifier(nn.Module):
    """Backbone, 1×1 convolution (EfficientNet's, if `head_channels` is given), mean, dropout, dense layer.

    With `normalizes_mean` a layer normalisation follows the mean (ConvNeXt's).
    """

    backbone: nn.Module
    num_classes: int
    head_channels: int | None = None
    dropout_rate: float = 0.0
    style: LayerStyle = LayerStyle()
    normalizes_mean: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B K"]:
        """Return float32 logits; in training, dropout uses the rng "drop"."""
        features = self.backbone(images, train=backbone_trains(train))
        x = features[max(features)]
        if self.head_channels is not None:
            x = Conv(self.head_channels, 1, self.style, kernel_init=CONV_INIT, name="head")(x)
            x = self.style.activate(norm(self.style, train=train, name="head_bn")(x))
        x = x.mean(axis=(1, 2)).astype(jnp.float32)
        if self.normalizes_mean:
            x = layer_norm("float32", "head_norm")(x)
        x = nn.Dropout(self.dropout_rate, rng_collection="drop")(x, deterministic=not train)
        return nn.Dense(self.num_classes, kernel_init=DENSE_INIT, name="dense")(x)


def make_classifier(
    name: str,
    num_classes: int = 1000,
    *,
    drop_connect_rate: float = 0.2,
    pool_padding: Padding = "same",
    dtype: str = "float32",
) -> Classifier:
    """Make `efficientnet_<variant>`, `resnet<depth>` or `convnext_<size>` with its published settings.

    `drop_connect_rate` is for an EfficientNet, `pool_padding` for a ResNet: "same" for TensorFlow's weights,
    "fixed" for torchvision's and timm's. That of a vision transformer, on the mean of its patch tokens, is
    ours.

    Raises:
        InputError: there is no classifier of that name.
    """
    if name in RESNETS:
        settings = NetworkSettings(
            backbone=name, bn_momentum=0.9, bn_epsilon=1e-5, pool_padding=pool_padding, dtype=dtype
        )
        return Classifier(make_backbone(settings), num_classes, style=settings.style)
    if name in EFFICIENTNETS:
        settings = NetworkSettings(backbone=name, drop_connect_rate=drop_connect_rate, dtype=dtype)
        backbone, variant = make_backbone(settings), VARIANTS[EFFICIENTNETS[name]]
        head_channels = scale_ends(HEAD_FILTERS, variant)
        return Classifier(backbone, num_classes, head_channels, variant.dropout_rate, backbone.style)
    if name in CONVNEXTS:
        settings = NetworkSettings(backbone=name, dtype=dtype)
        return Classifier(make_backbone(settings), num_classes, style=settings.style, normalizes_mean=True)
    if name in VITS:
        settings = NetworkSettings(backbone=name, dtype=dtype)
        return Classifier(make_backbone(settings), num_classes, style=settings.style)
    known = ", ".join([*RESNETS, *EFFICIENTNETS, *CONVNEXTS, *VITS])
    raise InputError(f"There is no classifier {name!r}; use one of {known}.")
