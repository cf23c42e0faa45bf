"""ConvNeXt, a convolutional backbone without batch normalisation; call `make_convnext("tiny")` for C2..C5.

Not in the paper. Source: Liu et al., "A ConvNet for the 2020s" (CVPR 2022), as timm has it.
"""

from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.convolution import convolve
from selftrain_jax.models.layers import Conv, DepthwiseConv, LayerStyle, drop_connect
from selftrain_jax.models.native_convolution import NO_PADS

STEM_STRIDE = 4
KERNEL_PX, EXPANSION = 7, 4
GAMMA_START = 1e-6
LAYER_NORM_EPSILON = 1e-6
INIT = nn.initializers.normal(0.02)


class Size(NamedTuple):
    """Blocks and channels of levels 2 to 5, and the drop-connect rate on ImageNet-1k (Table 5)."""

    blocks: tuple[int, int, int, int]
    filters: tuple[int, int, int, int]
    drop_connect_rate: float


CONVNEXT_SIZES = {
    "tiny": Size((3, 3, 9, 3), (96, 192, 384, 768), 0.1),
    "small": Size((3, 3, 27, 3), (96, 192, 384, 768), 0.4),
    "base": Size((3, 3, 27, 3), (128, 256, 512, 1024), 0.5),
}


def layer_norm(dtype: str, name: str) -> nn.LayerNorm:
    """Make a normalisation of each pixel over its channels, with moments in float32."""
    return nn.LayerNorm(LAYER_NORM_EPSILON, dtype, use_fast_variance=False, name=name)


class PixelDense(nn.Module):
    """A dense layer of each pixel's channels: a 1×1 convolution whose `kernel` is a matrix."""

    features: int
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w C2"]:
        """Multiply and add in the style's dtype, with the bias in float32."""
        kernel = self.param("kernel", INIT, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        y = convolve(x.astype(self.style.dtype), kernel[None, None], 1, NO_PADS)
        return (y + bias).astype(self.style.dtype)


class ConvNeXtBlock(nn.Module):
    """A 7×7 depthwise convolution, then an expansion and a projection of each pixel, added to the input."""

    survival: float
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w C"]:
        """Return x + drop_connect(gamma · branch)."""
        channels = x.shape[-1]
        y = DepthwiseConv(KERNEL_PX, self.style, kernel_init=INIT, use_bias=True, name="depthwise")(x)
        y = layer_norm(self.style.dtype, "norm")(y)
        y = nn.gelu(PixelDense(EXPANSION * channels, self.style, name="expand")(y), approximate=False)
        y = PixelDense(channels, self.style, name="project")(y)
        gamma = self.param("gamma", nn.initializers.constant(GAMMA_START), (channels,))
        y = (y * gamma).astype(self.style.dtype)
        if train and self.survival < 1:
            y = drop_connect(y, self.survival, self.make_rng("drop"))
        return x + y


class ConvNeXt(nn.Module):
    """ConvNeXt without its classifier; of `style` it has only the dtype.

    The features are the outputs of each level's last block without a normalisation, as timm's `features_only`
    gives them; the authors' detectors put a layer normalisation on each. In training, block i of n is kept
    with probability 1 - drop_connect_rate · i / (n - 1), by the rng "drop".

    Differs: an image whose side is not a multiple of 32 is padded after its end, where timm cuts it off.
    """

    blocks: tuple[int, ...] = CONVNEXT_SIZES["tiny"].blocks
    filters: tuple[int, ...] = CONVNEXT_SIZES["tiny"].filters
    drop_connect_rate: float = CONVNEXT_SIZES["tiny"].drop_connect_rate
    style: LayerStyle = LayerStyle()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> dict[int, Float[Array, "B _ _ _"]]:
        """Return the features of levels 2 to 5, of stride 2^level."""
        x = self._downsample(self.filters[0], STEM_STRIDE, "stem")(images)
        x = layer_norm(self.style.dtype, "stem_norm")(x)
        features: dict[int, Array] = {}
        number = 0
        for level, (num_blocks, filters) in enumerate(zip(self.blocks, self.filters, strict=True), start=2):
            if features:
                x = layer_norm(self.style.dtype, f"c{level}_norm")(x)
                x = self._downsample(filters, 2, f"c{level}_downsample")(x)
            for index in range(num_blocks):
                block = ConvNeXtBlock(self._survival(number), self.style, name=f"c{level}_block{index}")
                x = block(x, train=train)
                number += 1
            features[level] = x
        return features

    def _downsample(self, filters: int, stride: int, name: str) -> Conv:
        """Make a convolution whose windows do not overlap."""
        return Conv(filters, stride, self.style, stride, use_bias=True, kernel_init=INIT, name=name)

    def _survival(self, number: int) -> float:
        return 1 - self.drop_connect_rate * number / max(1, sum(self.blocks) - 1)


def make_convnext(
    size: str, drop_connect_rate: float | None = None, style: LayerStyle | None = None
) -> ConvNeXt:
    """Make one of `CONVNEXT_SIZES`, by default with its drop-connect rate, in float32.

    Raises:
        InputError: there is no such size.
    """
    if size not in CONVNEXT_SIZES:
        raise InputError(f"ConvNeXt {size!r} does not exist; use one of {', '.join(CONVNEXT_SIZES)}.")
    blocks, filters, own_rate = CONVNEXT_SIZES[size]
    rate = own_rate if drop_connect_rate is None else drop_connect_rate
    return ConvNeXt(blocks, filters, rate, style or LayerStyle())
