"""Names of arrays in timm's state dicts of ConvNeXt; call `timm_convnext_names("tiny")`."""

from selftrain_jax.models.convnext import CONVNEXT_SIZES
from selftrain_jax.pretrain.import_variables import NameMap, Slot, Transform

VariablePath = tuple[str, ...]
BACKBONE: VariablePath = ("backbone",)
HEAD_NORM = "head.norm"  # between the mean over the image and the last layer


def timm_convnext_names(size: str) -> NameMap:
    """Name the classifier of a size; stage 0 is our level 2."""
    names = _layer("stem.0", (*BACKBONE, "stem"), "conv_torch") | _norm("stem.1", (*BACKBONE, "stem_norm"))
    for stage, num_blocks in enumerate(CONVNEXT_SIZES[size].blocks):
        scope, level = f"stages.{stage}", f"c{stage + 2}"
        if stage:
            names |= _norm(f"{scope}.downsample.0", (*BACKBONE, f"{level}_norm"))
            names |= _layer(f"{scope}.downsample.1", (*BACKBONE, f"{level}_downsample"), "conv_torch")
        for index in range(num_blocks):
            names |= _block(f"{scope}.blocks.{index}", (*BACKBONE, f"{level}_block{index}"))
    return names | _norm(HEAD_NORM, ("head_norm",)) | _layer("head.fc", ("dense",), "dense_torch")


def _block(scope: str, path: VariablePath) -> NameMap:
    names = _layer(f"{scope}.conv_dw", (*path, "depthwise"), "depthwise_torch")
    names |= _norm(f"{scope}.norm", (*path, "norm"))
    names |= _layer(f"{scope}.mlp.fc1", (*path, "expand"), "dense_torch")
    names |= _layer(f"{scope}.mlp.fc2", (*path, "project"), "dense_torch")
    return {**names, f"{scope}.gamma": Slot("params", (*path, "gamma"))}


def _layer(scope: str, path: VariablePath, transform: Transform) -> NameMap:
    return {
        f"{scope}.weight": Slot("params", (*path, "kernel"), transform),
        f"{scope}.bias": Slot("params", (*path, "bias")),
    }


def _norm(scope: str, path: VariablePath) -> NameMap:
    return {
        f"{scope}.weight": Slot("params", (*path, "scale")),
        f"{scope}.bias": Slot("params", (*path, "bias")),
    }
