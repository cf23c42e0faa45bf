"""Feature pyramid network, the neck of the paper's ResNet and EfficientNet detectors; call `FPN()`."""

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import Conv, LayerStyle, norm, resize_nearest

Features = dict[int, Float[Array, "B _ _ _"]]

BACKBONE_LEVELS = (2, 5)


class FPN(nn.Module):
    """Top-down pyramid of levels `min_level` to `max_level`, each with `num_channels`."""

    num_channels: int = 256
    min_level: int = 3
    max_level: int = 7
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Features:
        """Merge the backbone's features from the top down, add coarser levels, normalise each.

        As in RetinaNet, P6 is a strided convolution of P5, and P7 one of relu(P6).

        Raises:
            InputError: the levels are out of order or finer than the backbone's.
        """
        if not BACKBONE_LEVELS[0] <= self.min_level <= min(self.max_level, BACKBONE_LEVELS[1]):
            raise InputError(
                f"The pyramid has levels {self.min_level} to {self.max_level}; the first must be a level of "
                f"the backbone ({BACKBONE_LEVELS[0]} to {BACKBONE_LEVELS[1]}) and not above the last."
            )
        top = min(self.max_level, BACKBONE_LEVELS[1])
        merged = {}
        for level in range(top, self.min_level - 1, -1):
            merged[level] = self._conv(f"lateral{level}", kernel_px=1)(features[level])
            if level < top:
                height, width = merged[level + 1].shape[1:3]
                merged[level] += resize_nearest(merged[level + 1], 2 * height, 2 * width)
        pyramid = {level: self._conv(f"output{level}")(merged[level]) for level in sorted(merged)}
        for level in range(top + 1, self.max_level + 1):
            x = pyramid[level - 1] if level == top + 1 else nn.relu(pyramid[level - 1])
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
