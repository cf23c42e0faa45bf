"""Names of a TensorFlow 1 layer's variables, from which each network's names are put together."""

from selftrain_jax.pretrain.name_map import NameMap, Slot

Path = tuple[str, ...]


def join(*parts: str) -> str:
    """Join scopes, leaving out empty ones."""
    return "/".join(part for part in parts if part)


def numbered(layer: str, index: int) -> str:
    """Return TensorFlow's name of the scope's `index`-th layer of a kind: the first bears no number."""
    return f"{layer}_{index}" if index else layer


def conv_names(scope: str, path: Path, *, bias: bool = False) -> NameMap:
    """Name a convolution or a dense layer."""
    names = ("kernel", "bias") if bias else ("kernel",)
    return {join(scope, name): Slot("params", (*path, name)) for name in names}


def depthwise_conv_names(scope: str, path: Path) -> NameMap:
    """Name a depthwise convolution without bias."""
    return {join(scope, "depthwise_kernel"): Slot("params", (*path, "kernel"), "depthwise")}


def separable_conv_names(scope: str, path: Path) -> NameMap:
    """Name a depthwise convolution followed by a 1×1 convolution that has the bias."""
    return {
        **depthwise_conv_names(scope, (*path, "depthwise")),
        join(scope, "pointwise_kernel"): Slot("params", (*path, "pointwise", "kernel")),
        join(scope, "bias"): Slot("params", (*path, "pointwise", "bias")),
    }


def bn_names(scope: str, path: Path) -> NameMap:
    """Name a batch normalisation."""
    return {
        join(scope, "gamma"): Slot("params", (*path, "scale")),
        join(scope, "beta"): Slot("params", (*path, "bias")),
        join(scope, "moving_mean"): Slot("batch_stats", (*path, "mean")),
        join(scope, "moving_variance"): Slot("batch_stats", (*path, "var")),
    }


def conv_bn_names(scope: str, index: int, conv: Path, bn: Path) -> NameMap:
    """Name the scope's `index`-th pair of a convolution and its batch normalisation."""
    return {
        **conv_names(join(scope, numbered("conv2d", index)), conv),
        **bn_names(join(scope, numbered("batch_normalization", index)), bn),
    }
