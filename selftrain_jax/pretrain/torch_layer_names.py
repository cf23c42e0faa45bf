"""PyTorch's names of one layer's arrays, from which the state dicts' names are put together."""

from selftrain_jax.pretrain.name_map import NameMap, Slot, Transform

Path = tuple[str, ...]
BACKBONE: Path = ("backbone",)
COUNTERS = "*num_batches_tracked"  # of every batch normalisation; nothing of ours


def torch_conv_names(
    scope: str, path: Path, *, transform: Transform = "conv_torch", bias: bool = False
) -> NameMap:
    """Name a convolution or, by its transform, a depthwise convolution or a dense layer."""
    names: NameMap = {f"{scope}.weight": Slot("params", (*path, "kernel"), transform)}
    return {**names, f"{scope}.bias": Slot("params", (*path, "bias"))} if bias else names


def torch_bn_names(scope: str, path: Path) -> NameMap:
    """Name a batch normalisation."""
    return {
        f"{scope}.weight": Slot("params", (*path, "scale")),
        f"{scope}.bias": Slot("params", (*path, "bias")),
        f"{scope}.running_mean": Slot("batch_stats", (*path, "mean")),
        f"{scope}.running_var": Slot("batch_stats", (*path, "var")),
    }


def torch_dense_names(scope: str, path: Path = ("dense",)) -> NameMap:
    """Name a classifier's last layer."""
    return torch_conv_names(scope, path, transform="dense_torch", bias=True)
