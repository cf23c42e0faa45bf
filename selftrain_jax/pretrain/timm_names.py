"""Names in timm's `tf_efficientnet_*`, TensorFlow's weights carried over; call `timm_efficientnet_names`."""

from itertools import groupby

from selftrain_jax.models.efficientnet import find_variant, scale_blocks
from selftrain_jax.pretrain.name_map import NameMap, Transform
from selftrain_jax.pretrain.torch_layer_names import (
    BACKBONE,
    Path,
    torch_bn_names,
    torch_conv_names,
    torch_dense_names,
)


def timm_efficientnet_names(variant: str) -> NameMap:
    """Name the classifier `b0` to `b8`, `l2` or `lite0` to `lite2`; blocks are numbered within their stage.

    Raises:
        InputError: there is no such variant.
    """
    gated = not find_variant(variant).lite
    stages = groupby(scale_blocks(find_variant(variant)), key=lambda block: block.filters)
    names = torch_conv_names("conv_stem", (*BACKBONE, "stem")) | torch_bn_names("bn1", (*BACKBONE, "stem_bn"))
    number = 0
    for stage, (_, blocks) in enumerate(stages):
        for index, block in enumerate(blocks):
            path = (*BACKBONE, f"block{number}")
            names |= block_names(f"blocks.{stage}.{index}", path, block.expansion > 1, gated)
            number += 1
    names |= torch_conv_names("conv_head", ("head",)) | torch_bn_names("bn2", ("head_bn",))
    return names | torch_dense_names("classifier")


def block_names(scope: str, path: Path, expands: bool, gated: bool) -> NameMap:
    """Name a block's layers; timm calls the last 1×1 `conv_pw` where there is none before it."""
    layers = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
    if not expands:
        layers = {"depthwise": "conv_dw", "project": "conv_pw"}
    names: NameMap = {}
    for number, (ours, theirs) in enumerate(layers.items(), start=1):
        transform: Transform = "depthwise_torch" if ours == "depthwise" else "conv_torch"
        names |= torch_conv_names(f"{scope}.{theirs}", (*path, ours), transform=transform)
        names |= torch_bn_names(f"{scope}.bn{number}", (*path, f"{ours}_bn"))
    for kind in ("reduce", "expand") if gated else ():
        names |= torch_conv_names(f"{scope}.se.conv_{kind}", (*path, f"se_{kind}"), bias=True)
    return names
