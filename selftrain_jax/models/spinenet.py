"""SpineNet, the backbone of the paper's best detectors (Table 5); call `SpineNet(size="49")` for P3..P7."""

import operator
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.fpn import Features
from selftrain_jax.models.layers import Conv, LayerStyle, drop_connect, norm, resize_nearest, spatial_padding
from selftrain_jax.models.max_pool import max_pool

Kind = Literal["bottleneck", "residual"]

KERNELS_PX: dict[Kind, tuple[int, ...]] = {"bottleneck": (1, 3, 1), "residual": (3, 3)}


@dataclass(frozen=True)
class SpineNetSize:
    """The scaling of one member of the family, and the settings of its detector."""

    filter_scale: float
    repeats: int  # blocks in each node
    alpha: float  # share of a parent's filters that resampling keeps
    endpoint_channels: int
    head_channels: int
    head_convs: int
    anchor_size: float
    image_size_px: int  # at training
    drop_connect_rate: float  # of the last node


SIZES = {
    "49s": SpineNetSize(0.65, 1, 0.5, 128, 128, 4, 3.0, 640, 0.2),
    "49": SpineNetSize(1.0, 1, 0.5, 256, 256, 4, 3.0, 640, 0.2),
    "96": SpineNetSize(1.0, 2, 0.5, 256, 256, 4, 3.0, 1024, 0.2),
    "143": SpineNetSize(1.0, 3, 1.0, 256, 256, 4, 4.0, 1280, 0.16),
    "190": SpineNetSize(1.3, 4, 1.0, 512, 512, 7, 4.0, 1280, 0.2),
}

LEVELS = range(3, 8)  # of the outputs
STEM_FILTERS = 64  # the same in every size
FILTERS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}  # by level, to be scaled


class Node(NamedTuple):
    """One node of the graph; its number is its index in `NODES`."""

    level: int
    kind: Kind
    parents: tuple[int, ...]
    is_output: bool = False


NODES = (
    Node(2, "bottleneck", ()),  # the two groups of the stem
    Node(2, "bottleneck", (0,)),
    Node(2, "bottleneck", (0, 1)),
    Node(4, "residual", (0, 1)),
    Node(3, "bottleneck", (2, 3)),
    Node(4, "bottleneck", (2, 4)),
    Node(6, "residual", (3, 5)),
    Node(4, "bottleneck", (3, 5)),
    Node(5, "residual", (6, 7)),
    Node(7, "residual", (6, 8)),
    Node(5, "bottleneck", (8, 9)),
    Node(5, "bottleneck", (8, 10)),
    Node(4, "bottleneck", (5, 10), is_output=True),
    Node(3, "bottleneck", (4, 10), is_output=True),
    Node(5, "bottleneck", (7, 12), is_output=True),
    Node(7, "bottleneck", (5, 14), is_output=True),
    Node(6, "bottleneck", (12, 14), is_output=True),
)
NUM_STEM = 2


def unused_nodes(index: int) -> list[int]:
    """Return the nodes that an output adds to its sum: of its level and kind, and used by nothing so far."""
    node = NODES[index]
    if not node.is_output:
        return []
    used = {p for other in NODES[: index + 1] for p in other.parents}
    used |= {p for earlier in range(index) for p in unused_nodes(earlier)}
    return [i for i in range(index) if i not in used and NODES[i][:2] == node[:2]]


def block_channels(kind: Kind, filters: int) -> int:
    """Return the number of channels that a block with `filters` filters returns."""
    return 4 * filters if kind == "bottleneck" else filters


class SpineBlock(nn.Module):
    """Convolutions and a shortcut, at stride 1.

    Unlike in ResNet's block, the last BN starts at one, and the branch is dropped at random (drop-connect).
    """

    kind: Kind
    filters: int
    style: LayerStyle
    project: bool = False
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w C2"]:
        """Return activate(shortcut + drop_connect(branch))."""
        channels = block_channels(self.kind, self.filters)
        y, shortcut = x, x
        if self.project:
            shortcut = Conv(channels, 1, self.style, name="shortcut")(x)
            shortcut = norm(self.style, train=train, name="shortcut_bn")(shortcut)
        last = len(KERNELS_PX[self.kind])
        for i, kernel_px in enumerate(KERNELS_PX[self.kind], start=1):
            y = Conv(channels if i == last else self.filters, kernel_px, self.style, name=f"conv{i}")(y)
            y = norm(self.style, train=train, name=f"bn{i}")(y)
            y = y if i == last else self.style.activate(y)
        if train and self.drop_rate > 0:
            y = drop_connect(y, 1 - self.drop_rate, self.make_rng("drop"))
        return self.style.activate(shortcut + y)


class Resample(nn.Module):
    """Bring a parent's features to a child's size and channels, with fewer filters in between.

    Differs: `is_down` follows from the levels, not from the sizes, so that the parameters are the same for
    every image size. The two differ only for images so small that neighbouring levels have one cell each.
    """

    inner_filters: int
    channels: int
    height: int
    width: int
    is_down: bool
    style: LayerStyle

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h2 w2 C2"]:
        """Reduce the channels, resize, restore the channels; no activation at the end."""
        y = Conv(self.inner_filters, 1, self.style, name="conv_in")(x)
        y = self.style.activate(norm(self.style, train=train, name="bn_in")(y))
        if self.is_down:
            y = Conv(self.inner_filters, 3, self.style, 2, "fixed", name="conv_down")(y)
            y = self.style.activate(norm(self.style, train=train, name="bn_down")(y))
            y = pool_remaining(y, x.shape[2], self.width)
        y = resize_nearest(y, self.height, self.width)
        y = Conv(self.channels, 1, self.style, name="conv_out")(y)
        return norm(self.style, train=train, name="bn_out")(y)


def pool_remaining(y: Float[Array, "B h w C"], width: int, target_width: int) -> Float[Array, "B h2 w2 C"]:
    """Pool from the width after a convolution of stride 2 (half of `width`) to about `target_width`."""
    if width <= 2 * target_width:
        return y
    window = 3 if width <= 4 * target_width else 5
    stride = width // target_width // 2 if width % target_width == 0 else 2
    return max_pool(y, window, stride, spatial_padding(y, window, stride, "same"))


class SpineNet(nn.Module):
    """Scale-permuted network: a stem of two bottleneck groups, then 15 nodes.

    In training, node i of 15 drops each example's branch with probability drop_connect_rate · i / 15, by the
    rng "drop"; None stands for the rate of the size.
    """

    size: str = "49"
    drop_connect_rate: float | None = None
    style: LayerStyle = LayerStyle("swish")

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> Features:
        """Return the features of levels 3 to 7, of ceil(image size / 2^level).

        Raises:
            InputError: the size is unknown, or the rate is not in [0, 1).
        """
        if self.size not in SIZES:
            raise InputError(f"SpineNet {self.size!r} does not exist; use one of {', '.join(SIZES)}.")
        if not 0 <= (self.drop_connect_rate or 0) < 1:
            raise InputError(f"The drop-connect rate is {self.drop_connect_rate}; it must be in [0, 1).")
        x = Conv(STEM_FILTERS, 7, self.style, 2, "fixed", name="stem")(images)
        x = self.style.activate(norm(self.style, train=train, name="stem_bn")(x))
        x = max_pool(x, 3, 2, spatial_padding(x, 3, 2, "same"))
        outputs: list[Array] = []
        for group in range(NUM_STEM):
            x = self._blocks(group, x, train)
            outputs.append(x)
        for index in range(NUM_STEM, len(NODES)):
            outputs.append(self._node(index, outputs, images.shape[1:3], train))
        ends = {node.level: i for i, node in enumerate(NODES) if node.is_output}
        return {level: self._endpoint(level, outputs[ends[level]], train) for level in LEVELS}

    def _node(self, index: int, outputs: list[Array], image_px: tuple[int, ...], train: bool) -> Array:
        """Sum the resampled parents and the unused nodes, activate, and run the node's blocks."""
        parts = [outputs[i] for i in unused_nodes(index)]
        for j, parent in enumerate(NODES[index].parents):
            resample = self._resample(index, parent, image_px, f"node{index}_resample{j}")
            parts.append(resample(outputs[parent], train=train))
        return self._blocks(index, self.style.activate(reduce(operator.add, parts)), train)

    def _resample(self, index: int, parent: int, image_px: tuple[int, ...], name: str) -> Resample:
        level = NODES[index].level
        height, width = (-(-size // 2**level) for size in image_px)
        return Resample(
            inner_filters=int(self._filters(parent) * SIZES[self.size].alpha),
            channels=block_channels(NODES[index].kind, self._filters(index)),
            height=height,
            width=width,
            is_down=NODES[parent].level < level,
            style=self.style,
            name=name,
        )

    def _blocks(self, index: int, x: Array, train: bool) -> Array:
        prefix = f"stem_group{index}" if index < NUM_STEM else f"node{index}"
        for repeat in range(SIZES[self.size].repeats):
            block = SpineBlock(
                kind=NODES[index].kind,
                filters=self._filters(index),
                style=self.style,
                project=index == repeat == 0,  # the stem has 64 channels
                drop_rate=self._drop_rate(index),
                name=f"{prefix}_block{repeat}",
            )
            x = block(x, train=train)
        return x

    def _endpoint(self, level: int, x: Array, train: bool) -> Array:
        x = Conv(SIZES[self.size].endpoint_channels, 1, self.style, name=f"endpoint{level}")(x)
        return self.style.activate(norm(self.style, train=train, name=f"endpoint{level}_bn")(x))

    def _filters(self, index: int) -> int:
        return int(FILTERS[NODES[index].level] * SIZES[self.size].filter_scale)

    def _drop_rate(self, index: int) -> float:
        own = self.drop_connect_rate
        rate = SIZES[self.size].drop_connect_rate if own is None else own
        return rate * max(index + 1 - NUM_STEM, 0) / (len(NODES) - NUM_STEM)
