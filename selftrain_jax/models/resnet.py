"""ResNet, the paper's small backbone (Tables 4 and 12); call `ResNet(depth=50)` for C2..C5."""

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.layers import Conv, LayerStyle, Padding, norm, spatial_padding
from selftrain_jax.models.max_pool import max_pool

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM_FILTERS = 64
GROUP_FILTERS = (64, 128, 256, 512)


def scale_filters(filters: int, width_factor: float) -> int:
    """Multiply a number of filters and round to a multiple of 8, at least 8."""
    return max(8, int(filters * width_factor / 8 + 0.5) * 8)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    filters: int
    stride: int
    project: bool
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h2 w2 C2"]:
        """Return activate(shortcut + branch)."""
        shortcut = project_shortcut(self, x, self.filters, train=train)
        y = Conv(self.filters, 3, self.style, self.stride, "fixed", name="conv1")(x)
        y = self.style.activate(norm(self.style, train=train, name="bn1")(y))
        y = Conv(self.filters, 3, self.style, name="conv2")(y)
        y = norm(self.style, train=train, name="bn2", zero_init=True)(y)
        return self.style.activate_sum(shortcut, y)


class BottleneckBlock(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut; the stride is on the 3×3 ("v1.5")."""

    filters: int
    stride: int
    project: bool
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h2 w2 C2"]:
        """Return activate(shortcut + branch)."""
        shortcut = project_shortcut(self, x, 4 * self.filters, train=train)
        y = Conv(self.filters, 1, self.style, name="conv1")(x)
        y = self.style.activate(norm(self.style, train=train, name="bn1")(y))
        y = Conv(self.filters, 3, self.style, self.stride, "fixed", name="conv2")(y)
        y = self.style.activate(norm(self.style, train=train, name="bn2")(y))
        y = Conv(4 * self.filters, 1, self.style, name="conv3")(y)
        y = norm(self.style, train=train, name="bn3", zero_init=True)(y)
        return self.style.activate_sum(shortcut, y)


def project_shortcut(
    block: BasicBlock | BottleneckBlock, x: Float[Array, "B h w C"], filters: int, *, train: bool
) -> Float[Array, "B h2 w2 C2"]:
    """Return the block's input, projected by a 1×1 convolution if the block has one."""
    if not block.project:
        return x
    x = Conv(filters, 1, block.style, block.stride, "fixed", name="shortcut")(x)
    return norm(block.style, train=train, name="shortcut_bn")(x)


class ResNet(nn.Module):
    """ResNet without its classifier.

    `width_factor` multiplies every number of filters. `pool_padding` is "same" in the TPU code and "fixed"
    in torchvision; weights of one with the pool of the other give shifted features.

    Paper: does not say how BN starts; here the scale of each block's last BN starts at zero.
    """

    depth: int = 50
    width_factor: float = 1.0
    style: LayerStyle = LayerStyle()
    pool_padding: Padding = "same"

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> dict[int, Float[Array, "B _ _ _"]]:
        """Return the features of levels 2 to 5, of stride 2^level.

        Raises:
            InputError: the depth is not one of 18, 34, 50, 101, 152.
        """
        if self.depth not in BLOCKS:
            raise InputError(f"ResNet depth {self.depth} does not exist; use one of {sorted(BLOCKS)}.")
        filters = scale_filters(STEM_FILTERS, self.width_factor)
        x = Conv(filters, 7, self.style, 2, "fixed", name="stem")(images)
        x = self.style.activate(norm(self.style, train=train, name="stem_bn")(x))
        x = max_pool(x, 3, 2, spatial_padding(x, 3, 2, self.pool_padding))
        features = {}
        for level, num_blocks in enumerate(BLOCKS[self.depth], start=2):
            for index in range(num_blocks):
                x = self._block(level, index)(x, train=train)
            features[level] = x
        return features

    def _block(self, level: int, index: int) -> BasicBlock | BottleneckBlock:
        block = BasicBlock if self.depth < 50 else BottleneckBlock
        return block(
            filters=scale_filters(GROUP_FILTERS[level - 2], self.width_factor),
            stride=2 if index == 0 and level > 2 else 1,
            project=index == 0 and (level > 2 or block is BottleneckBlock),
            style=self.style,
            name=f"c{level}_block{index}",
        )
