"""Names of arrays in timm's state dicts of DINOv2 and DINOv3; call `timm_vit_names`."""

from selftrain_jax.models.settings import VITS
from selftrain_jax.pretrain.import_variables import NameMap, Slot, Transform
from selftrain_jax.pretrain.torch_names import BACKBONE, VariablePath

UNUSED = ("mask_token", "*periods")  # of training, and what is computed: files of other sources have them


def timm_vit_names(network: str) -> NameMap:
    """Name the arrays of one of `VITS`, which have no classifier.

    DINOv2 is timm's `vision_transformer.py`, DINOv3 its `eva.py`, which calls LayerScale otherwise.
    """
    variant = VITS[network]
    is_eva = variant.positions == "rotary"
    names = {"cls_token": Slot("params", (*BACKBONE, "class_token"))}
    if variant.num_registers:
        names["reg_token"] = Slot("params", (*BACKBONE, "registers"))
    if not is_eva:
        names["pos_embed"] = Slot("params", (*BACKBONE, "positions"))
    names |= _layer("patch_embed.proj", (*BACKBONE, "patches"), "conv_torch")
    names |= _norm("norm", (*BACKBONE, "norm"))
    for i in range(variant.depth):
        scales = ("gamma_1", "gamma_2") if is_eva else ("ls1.gamma", "ls2.gamma")
        names |= _block(f"blocks.{i}", (*BACKBONE, f"block{i}"), variant.qkv_bias, scales)
    return names


def _block(scope: str, path: VariablePath, qkv_bias: bool, scales: tuple[str, str]) -> NameMap:
    names: NameMap = {}
    for i, scale in enumerate(scales, start=1):
        names |= _norm(f"{scope}.norm{i}", (*path, f"norm{i}"))
        names[f"{scope}.{scale}"] = Slot("params", (*path, f"scale{i}"))
    names |= _layer(f"{scope}.attn.qkv", (*path, "attention", "qkv"), bias=qkv_bias)
    names |= _layer(f"{scope}.attn.proj", (*path, "attention", "projection"))
    names |= _layer(f"{scope}.mlp.fc1", (*path, "expand"))
    return names | _layer(f"{scope}.mlp.fc2", (*path, "project"))


def _layer(
    scope: str, path: VariablePath, transform: Transform = "dense_torch", *, bias: bool = True
) -> NameMap:
    names: NameMap = {f"{scope}.weight": Slot("params", (*path, "kernel"), transform)}
    return {**names, f"{scope}.bias": Slot("params", (*path, "bias"))} if bias else names


def _norm(scope: str, path: VariablePath) -> NameMap:
    return {
        f"{scope}.weight": Slot("params", (*path, "scale")),
        f"{scope}.bias": Slot("params", (*path, "bias")),
    }
