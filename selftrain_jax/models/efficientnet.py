"""EfficientNet, the paper's large backbone (B7, L2); call `EfficientNet("b7")` for levels 1 to 5."""

import math
from dataclasses import dataclass, replace
from functools import partial

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import Conv, DepthwiseConv, LayerStyle, drop_connect, norm

STEM_FILTERS, HEAD_FILTERS = 32, 1280
CONV_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
DEPTHWISE_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # one output for each channel


@dataclass(frozen=True)
class Variant:
    """How B0 is scaled; `lite` has no squeeze-and-excitation, and an unscaled stem and head."""

    width: float
    depth: float
    image_size_px: int
    dropout_rate: float
    lite: bool = False


VARIANTS = {
    "b0": Variant(1.0, 1.0, 224, 0.2),
    "b1": Variant(1.0, 1.1, 240, 0.2),
    "b2": Variant(1.1, 1.2, 260, 0.3),
    "b3": Variant(1.2, 1.4, 300, 0.3),
    "b4": Variant(1.4, 1.8, 380, 0.4),
    "b5": Variant(1.6, 2.2, 456, 0.4),
    "b6": Variant(1.8, 2.6, 528, 0.5),
    "b7": Variant(2.0, 3.1, 600, 0.5),
    "b8": Variant(2.2, 3.6, 672, 0.5),
    "l2": Variant(4.3, 5.3, 800, 0.5),
    "lite0": Variant(1.0, 1.0, 224, 0.2, lite=True),
    "lite1": Variant(1.0, 1.1, 240, 0.2, lite=True),
    "lite2": Variant(1.1, 1.2, 260, 0.3, lite=True),
}


@dataclass(frozen=True)
class Stage:
    """Blocks of one shape; the first has the stride."""

    num_blocks: int
    kernel_px: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def find_variant(name: str) -> Variant:
    """Look up a variant.

    Raises:
        InputError: listing those that exist.
    """
    if name not in VARIANTS:
        raise InputError(f"EfficientNet {name!r} does not exist; use one of {', '.join(VARIANTS)}.")
    return VARIANTS[name]


def scale_filters(filters: int, width: float) -> int:
    """Multiply a number of filters and round to a multiple of 8, never down by more than a tenth."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def scale_ends(filters: int, variant: Variant) -> int:
    """Scale the filters of the stem or of the classifier's 1×1 convolution, which Lite leaves as they are."""
    return filters if variant.lite else scale_filters(filters, variant.width)


def scale_blocks(variant: Variant) -> list[Stage]:
    """Return the variant's blocks, each as a stage of one; Lite does not scale the first and last stage."""
    blocks: list[Stage] = []
    for stage in STAGES:
        fixed = variant.lite and stage in (STAGES[0], STAGES[-1])
        num_blocks = stage.num_blocks if fixed else math.ceil(stage.num_blocks * variant.depth)
        first = replace(stage, num_blocks=1, filters=scale_filters(stage.filters, variant.width))
        blocks += [first] + [replace(first, stride=1)] * (num_blocks - 1)
    return blocks


class MBConv(nn.Module):
    """Expand 1×1, convolve depthwise, gate, project 1×1; with a shortcut if the shape does not change."""

    block: Stage
    gated: bool
    survival: float
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h2 w2 C2"]:
        """Return shortcut + drop_connect(branch), or only the branch."""
        bn = partial(norm, self.style, train=train)
        expanded = x.shape[-1] * self.block.expansion
        y = x
        if self.block.expansion > 1:
            y = Conv(expanded, 1, self.style, kernel_init=CONV_INIT, name="expand")(y)
            y = self.style.activate(bn(name="expand_bn")(y))
        y = DepthwiseConv(
            self.block.kernel_px, self.style, self.block.stride, kernel_init=DEPTHWISE_INIT, name="depthwise"
        )(y)
        y = self.style.activate(bn(name="depthwise_bn")(y))
        if self.gated:
            y *= self._gate(y, max(1, x.shape[-1] // 4))
        y = Conv(self.block.filters, 1, self.style, kernel_init=CONV_INIT, name="project")(y)
        y = bn(name="project_bn")(y)
        if x.shape != y.shape:
            return y
        if train and self.survival < 1:
            y = drop_connect(y, self.survival, self.make_rng("drop"))
        return x + y

    def _gate(self, x: Float[Array, "B h w C"], squeezed: int) -> Float[Array, "B 1 1 C"]:
        """Squeeze-and-excitation: a weight in (0, 1) for each channel."""
        conv = partial(Conv, kernel_px=1, style=self.style, use_bias=True, kernel_init=CONV_INIT)
        y = x.mean(axis=(1, 2), keepdims=True)
        y = self.style.activate(conv(squeezed, name="se_reduce")(y))
        return nn.sigmoid(conv(x.shape[-1], name="se_expand")(y))


class EfficientNet(nn.Module):
    """EfficientNet without its classifier; Lite variants need the activation "relu6".

    In training, block i of n is kept with probability 1 - drop_connect_rate · i / n, by the rng "drop".
    """

    variant: str = "b0"
    drop_connect_rate: float = 0.2
    style: LayerStyle = LayerStyle("swish", 0.99, 1e-3)

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> dict[int, Float[Array, "B _ _ _"]]:
        """Return the features of levels 1 to 5 (stride 2^level), each from the level's last block.

        Raises:
            InputError: there is no such variant, or the rate is not in [0, 1).
        """
        variant = find_variant(self.variant)
        if not 0 <= self.drop_connect_rate < 1:
            raise InputError(f"The drop-connect rate is {self.drop_connect_rate}; it must be in [0, 1).")
        stem_filters = scale_ends(STEM_FILTERS, variant)
        stem = Conv(stem_filters, 3, self.style, 2, kernel_init=CONV_INIT, name="stem")
        x = self.style.activate(norm(self.style, train=train, name="stem_bn")(stem(images)))
        features: dict[int, Array] = {}
        level, blocks = 1, scale_blocks(variant)
        for index, block in enumerate(blocks):
            level += block.stride == 2
            survival = 1 - self.drop_connect_rate * index / len(blocks)
            x = MBConv(block, not variant.lite, survival, self.style, name=f"block{index}")(x, train=train)
            features[level] = x  # overwritten by later blocks of the level
        return features
