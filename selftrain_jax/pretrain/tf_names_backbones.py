"""TensorFlow names of the official backbones; one function each."""

from selftrain_jax.models.resnet import BLOCKS
from selftrain_jax.models.spine_blocks import KERNELS_PX
from selftrain_jax.models.spinenet import LEVELS, NODES, NUM_STEM, SIZES
from selftrain_jax.pretrain.name_map import NameMap
from selftrain_jax.pretrain.tf_names_layers import (
    Path,
    conv_bn_names,
    join,
)

Pair = tuple[Path, Path]  # our paths of a convolution and of its batch normalisation


def resnet_tf_names(depth: int, scope: str, path: Path = ("backbone",)) -> NameMap:
    """Name a bottleneck ResNet: its layers are numbered through, a block's projection first."""
    pairs = [stem_pair(path)]
    for level, num_blocks in enumerate(BLOCKS[depth], start=2):
        for index in range(num_blocks):
            pairs += block_pairs((*path, f"c{level}_block{index}"), num_convs=3, project=index == 0)
    return number_through(scope, pairs)


def spinenet_tf_names(size: str, scope: str = "spinenet", path: Path = ("backbone",)) -> NameMap:
    """Name SpineNet: stem and endpoints numbered through together, each node and resampling on its own."""
    repeats = range(SIZES[size].repeats)
    pairs = [stem_pair(path)]
    for group in range(NUM_STEM):
        for r in repeats:
            block = (*path, f"stem_group{group}_block{r}")
            pairs += block_pairs(block, num_convs=3, project=group == r == 0)
    pairs += [((*path, f"endpoint{level}"), (*path, f"endpoint{level}_bn")) for level in LEVELS]
    names = number_through(scope, pairs)
    for index in range(NUM_STEM, len(NODES)):
        names |= spinenet_node_names(index, len(repeats), scope, path)
    return names


def spinenet_node_names(index: int, repeats: int, scope: str, path: Path) -> NameMap:
    """Name a node with the resampling of its two parents."""
    node, step = NODES[index], index - NUM_STEM
    outer = join(scope, f"sub_policy{step}")
    names: NameMap = {}
    for j, parent in enumerate(node.parents):
        inner = (*path, f"node{index}_resample{j}")
        kinds = ("in", "down", "out") if NODES[parent].level < node.level else ("in", "out")
        pairs = [((*inner, f"conv_{kind}"), (*inner, f"bn_{kind}")) for kind in kinds]
        names |= number_through(join(outer, f"resample_with_alpha_resample_{step}_{j}"), pairs)
    num_convs = len(KERNELS_PX[node.kind])
    pairs = []
    for r in range(repeats):
        pairs += block_pairs((*path, f"node{index}_block{r}"), num_convs)
    return names | number_through(join(outer, f"scale_permuted_block_{index}"), pairs)


def stem_pair(path: Path) -> Pair:
    """Return the first layer's paths."""
    return (*path, "stem"), (*path, "stem_bn")


def block_pairs(block: Path, num_convs: int, project: bool = False) -> list[Pair]:
    """Return a residual block's pairs in TensorFlow's order."""
    shortcut = [((*block, "shortcut"), (*block, "shortcut_bn"))] if project else []
    return shortcut + [((*block, f"conv{i}"), (*block, f"bn{i}")) for i in range(1, num_convs + 1)]


def number_through(scope: str, pairs: list[Pair]) -> NameMap:
    """Give the pairs their numbers in the scope."""
    names: NameMap = {}
    for index, (conv, bn) in enumerate(pairs):
        names |= conv_bn_names(scope, index, conv, bn)
    return names
