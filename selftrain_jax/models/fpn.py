"""Feature pyramid network, the neck of the paper's ResNet and EfficientNet detectors; call `FPN()`."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import Conv, LayerStyle, norm

Features = dict[int, Float[Array, "B _ _ _"]]

BACKBONE_LEVELS = (2, 5)


class FPN(nn.Module):
    """Top-down pyramid of `min_level` to `max_level`, all of `num_channels`."""

    num_channels: int = 256
    min_level: int = 3
    max_level: int = 7
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Features:
        """Merge the backbone's features from the top down, add coarser levels, normalise each.

        Paper: detection follows RetinaNet. P6 is a strided convolution of P5, P7 of relu(P6).

        Raises:
            InputError: the levels are out of order or finer than the backbone's.
        """
        if not BACKBONE_LEVELS[0] <= self.min_level <= min(self.max_level, BACKBONE_LEVELS[1]):
            raise InputError(
                f"The pyramid is of levels {self.min_level} to {self.max_level}; the finest must be one of "
                f"the backbone's, {BACKBONE_LEVELS[0]} to {BACKBONE_LEVELS[1]}, and not above the coarsest."
            )
        top = min(self.max_level, BACKBONE_LEVELS[1])
        merged = {}
        for level in range(top, self.min_level - 1, -1):
            merged[level] = self._conv(f"lateral{level}", kernel_px=1)(features[level])
            if level < top:
                merged[level] += upsample2(merged[level + 1])
        pyramid = {level: self._conv(f"output{level}")(merged[level]) for level in sorted(merged)}
        for level in range(top + 1, self.max_level + 1):
            x = pyramid[level - 1]
            x = x if level == top + 1 else nn.relu(x)
            pyramid[level] = self._conv(f"output{level}", stride=2)(x)
        return {level: norm(self.style, train=train, name=f"bn{level}")(x) for level, x in pyramid.items()}

    def _conv(self, name: str, kernel_px: int = 3, stride: int = 1) -> Conv:
        return Conv(
            self.num_channels,
            kernel_px,
            self.style,
            stride,
            use_bias=True,
            kernel_init=nn.initializers.xavier_uniform(),
            name=name,
        )


def upsample2(x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
    """Repeat each cell twice along both axes."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
