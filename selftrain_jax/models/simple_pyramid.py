"""ViTDet's simple feature pyramid, from the one map of a vision transformer; call `SimplePyramid()`.

Not in the paper. Source: Li et al. 2022, Exploring Plain Vision Transformer Backbones for Object Detection,
section 3, and the authors' code for the channels.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.fpn import Features
from selftrain_jax.models.layers import LayerStyle, spatial_padding
from selftrain_jax.models.max_pool import max_pool
from selftrain_jax.models.vit import LEVEL
from selftrain_jax.models.vit_block import layer_norm

LEVELS = (2, 5)  # the first one that it can make, and the last
NORM_EPSILON = 1e-6
DECONV_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", batch_axis=(0, 1))


class Deconv(nn.Module):
    """A 2×2 deconvolution of stride 2: each cell becomes four, each by a matrix of its own.

    `kernel` is (2, 2, C, C2); no two cells of the output share an input's, so it is one product of matrices.
    """

    features: int
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C2"]:
        """Return twice the height and width, in the style's dtype."""
        batch, height, width, channels = x.shape
        kernel = self.param("kernel", DECONV_INIT, (2, 2, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x, kernel = x.astype(self.style.dtype), kernel.astype(self.style.dtype)
        y = jnp.einsum("bhwc,ijcd->bhiwjd", x, kernel).reshape(batch, 2 * height, 2 * width, -1)
        return (y + bias).astype(self.style.dtype)


class SimplePyramid(nn.Module):
    """Levels `min_level` to 5 of a map of level 4 with C channels, as a ResNet returns them.

    Level 2 is two deconvolutions with LayerNorm and GELU between (C / 4 channels), level 3 one (C / 2), level
    4 the map itself, level 5 its maximum over 2×2 cells.

    Differs: the authors end each level with convolutions of 1×1 and 3×3 to 256 channels and have no neck;
    here those are the lateral and output convolutions of the neck that follows, an FPN or NAS-FPN.
    """

    min_level: int = 2
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, features: Features) -> Features:
        """Return the levels, finest first.

        Raises:
            InputError: the first level is not from 2 to 4.
        """
        if not LEVELS[0] <= self.min_level <= LEVEL:
            raise InputError(f"min_level={self.min_level}: a simple pyramid begins at level 2, 3 or 4.")
        x = features[LEVEL]
        channels = x.shape[-1]
        pyramid = {LEVEL: x, LEVELS[1]: max_pool(x, 2, 2, spatial_padding(x, 2, 2, "same"))}
        if self.min_level <= 3:
            pyramid[3] = Deconv(channels // 2, self.style, name="level3_deconv")(x)
        if self.min_level <= 2:
            y = Deconv(channels // 2, self.style, name="level2_deconv0")(x)
            y = nn.gelu(layer_norm(NORM_EPSILON, self.style, "level2_norm")(y), approximate=False)
            pyramid[2] = Deconv(channels // 4, self.style, name="level2_deconv1")(y)
        return {level: pyramid[level] for level in sorted(pyramid)}


class PyramidNeck(nn.Module):
    """A simple pyramid and the neck on it, which other backbones have alone.

    Both are the network's neck, not its backbone: published weights have neither.
    """

    pyramid: SimplePyramid
    neck: nn.Module  # FPN or NASFPN

    def __call__(self, features: Features, *, train: bool) -> Features:
        """Return the neck's levels."""
        return self.neck(self.pyramid(features), train=train)
