"""SpineNet, the backbone of the paper's best detectors (Table 5); call `SpineNet(size="49")` for P3..P7."""

import operator
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.fpn import Features
from selftrain_jax.models.layers import Conv, LayerStyle, norm
from selftrain_jax.models.spine_blocks import Kind, Resample, SpineBlock, block_channels


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
    """Return the nodes that an output adds to its sum: those of its level and kind not used so far.

    Those that an earlier output has added count as used.
    """
    node = NODES[index]
    if not node.is_output:
        return []
    used = {p for other in NODES[: index + 1] for p in other.parents}
    used |= {p for earlier in range(index) for p in unused_nodes(earlier)}
    return [i for i in range(index) if i not in used and NODES[i][:2] == node[:2]]


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
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
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
        """Run a node's blocks."""
        is_stem = index < NUM_STEM
        for repeat in range(SIZES[self.size].repeats):
            block = SpineBlock(
                kind=NODES[index].kind,
                filters=self._filters(index),
                style=self.style,
                project=index == repeat == 0,  # the stem has 64 channels
                drop_rate=0.0 if is_stem else self._drop_rate(index),
                name=f"stem_group{index}_block{repeat}" if is_stem else f"node{index}_block{repeat}",
            )
            x = block(x, train=train)
        return x

    def _endpoint(self, level: int, x: Array, train: bool) -> Array:
        x = Conv(SIZES[self.size].endpoint_channels, 1, self.style, name=f"endpoint{level}")(x)
        return self.style.activate(norm(self.style, train=train, name=f"endpoint{level}_bn")(x))

    def _filters(self, index: int) -> int:
        return int(FILTERS[NODES[index].level] * SIZES[self.size].filter_scale)

    def _drop_rate(self, index: int) -> float:
        rate = self.drop_connect_rate
        rate = SIZES[self.size].drop_connect_rate if rate is None else rate
        return rate * (index + 1 - NUM_STEM) / (len(NODES) - NUM_STEM)
