"""TensorFlow names of EfficientNet and of its classifier; call `efficientnet_tf_names`."""

from selftrain_jax.models.efficientnet import find_variant, scale_blocks
from selftrain_jax.pretrain.name_map import NameMap
from selftrain_jax.pretrain.tf_names_layers import (
    Path,
    bn_names,
    conv_names,
    depthwise_conv_names,
    join,
    numbered,
)

BN = "tpu_batch_normalization"


def efficientnet_tf_names(variant: str, scope: str, path: Path = ("backbone",)) -> NameMap:
    """Name the backbone; its blocks are numbered through all stages."""
    names = conv_names(join(scope, "stem", "conv2d"), (*path, "stem"))
    names |= bn_names(join(scope, "stem", BN), (*path, "stem_bn"))
    for index, block in enumerate(scale_blocks(find_variant(variant))):
        expands = block.expansion > 1
        names |= block_names(join(scope, f"blocks_{index}"), (*path, f"block{index}"), expands)
    return names


def block_names(scope: str, path: Path, expands: bool) -> NameMap:
    """Name a block's layers; without an expansion the later ones have lower numbers."""
    first = int(expands)
    squeeze = join(scope, "se")
    names = {
        **depthwise_conv_names(join(scope, "depthwise_conv2d"), (*path, "depthwise")),
        **bn_names(join(scope, numbered(BN, first)), (*path, "depthwise_bn")),
        **conv_names(join(squeeze, "conv2d"), (*path, "se_reduce"), bias=True),
        **conv_names(join(squeeze, "conv2d_1"), (*path, "se_expand"), bias=True),
        **conv_names(join(scope, numbered("conv2d", first)), (*path, "project")),
        **bn_names(join(scope, numbered(BN, first + 1)), (*path, "project_bn")),
    }
    if expands:
        names |= conv_names(join(scope, "conv2d"), (*path, "expand"))
        names |= bn_names(join(scope, BN), (*path, "expand_bn"))
    return names


def efficientnet_classifier_tf_names(scope: str, path: Path = ()) -> NameMap:
    """Name what follows the backbone in a classifier."""
    return {
        **conv_names(join(scope, "head", "conv2d"), (*path, "head")),
        **bn_names(join(scope, "head", BN), (*path, "head_bn")),
        **conv_names(join(scope, "head", "dense"), (*path, "dense"), bias=True),
    }
