"""Image classifier on a backbone, to check converted weights; call `make_classifier("efficientnet_b0")`."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.efficientnet import CONV_INIT, VARIANTS, EfficientNet, head_filters
from selftrain_jax.models.layers import Conv, LayerStyle, Padding, norm
from selftrain_jax.models.resnet import BLOCKS, ResNet

DENSE_INIT = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")  # up to ±1/√classes


class Classifier(nn.Module):
    """Backbone, EfficientNet's 1×1 head convolution where `head_channels` is given, pool, dropout, dense."""

    backbone: nn.Module
    num_classes: int
    head_channels: int | None = None
    dropout_rate: float = 0.0
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B K"]:
        """Return float32 logits; in training dropout draws from the rng "drop"."""
        features = self.backbone(images, train=train)
        x = features[max(features)]
        if self.head_channels is not None:
            x = Conv(self.head_channels, 1, self.style, kernel_init=CONV_INIT, name="head")(x)
            x = self.style.activate(norm(self.style, train=train, name="head_bn")(x))
        x = x.mean(axis=(1, 2)).astype(jnp.float32)
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
    """Make the classifier `efficientnet_<variant>` or `resnet<depth>` with its published settings.

    `pool_padding` is a ResNet's: "same" for TensorFlow's weights, "fixed" for torchvision's and timm's.

    Raises:
        InputError: there is no network of that name.
    """
    family, _, variant = name.partition("_")
    if family == "efficientnet" and variant in VARIANTS:
        found = VARIANTS[variant]
        style = LayerStyle("relu6" if found.lite else "swish", 0.99, 1e-3, dtype)
        backbone = EfficientNet(variant, drop_connect_rate, style)
        return Classifier(backbone, num_classes, head_filters(found), found.dropout_rate, style)
    depths = {f"resnet{depth}": depth for depth in BLOCKS}
    if name in depths:
        style = LayerStyle("relu", 0.9, 1e-5, dtype)
        resnet = ResNet(depths[name], style=style, pool_padding=pool_padding)
        return Classifier(resnet, num_classes, style=style)
    known = [*depths, *(f"efficientnet_{variant}" for variant in VARIANTS)]
    raise InputError(f"There is no classifier {name!r}; use one of {', '.join(known)}.")
