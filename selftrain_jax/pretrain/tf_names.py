"""Names of variables in the checkpoints of the official TensorFlow code, made by rule; call `tf_names`.

A `scope` is TensorFlow's, a `path` leads to one of our variables.
"""

from selftrain_jax.errors import InputError
from selftrain_jax.models.efficientnet import find_variant, scale_blocks
from selftrain_jax.models.resnet import BLOCKS
from selftrain_jax.models.spinenet import KERNELS_PX, LEVELS, NODES, NUM_STEM, SIZES
from selftrain_jax.pretrain.import_variables import NameMap, Slot

CLASSIFIERS = {f"efficientnet-{variant}": variant for variant in [*(f"b{i}" for i in range(9)), "l2"]}
RESNET_DETECTORS = {f"retinanet_r{depth}fpn": depth for depth in (50, 101)}
RESNET_NAS_FPN_DETECTORS = {"retinanet_r50nasfpn": 50}
EFFICIENTNET_DETECTORS = {"retinanet_effb0fpn": "b0", "retinanet_b7fpn": "b7"}
SPINENET_DETECTORS = {f"retinanet_spinenet{size.replace('s', 'S')}": size for size in SIZES}
SEGMENTERS = {"seg_effb0_nasfpn": "b0", "seg_b7_nasfpn": "b7", "seg_l2_nasfpn": "l2"}
NETWORKS = (
    *CLASSIFIERS,
    *RESNET_DETECTORS,
    *RESNET_NAS_FPN_DETECTORS,
    *EFFICIENTNET_DETECTORS,
    *SPINENET_DETECTORS,
    *SEGMENTERS,
)

EFFICIENTNET_BN = "tpu_batch_normalization"
LATERAL_LEVELS = range(3, 6)  # of the necks
VariablePath = tuple[str, ...]
BACKBONE: VariablePath = ("backbone",)
Pair = tuple[VariablePath, VariablePath]  # a convolution and its batch normalisation
STEM: Pair = (*BACKBONE, "stem"), (*BACKBONE, "stem_bn")


def tf_names(network: str) -> NameMap:
    """Return the slot of each variable of an official network, without an unused classifier's.

    Raises:
        InputError: the network is unknown.
    """
    if network in CLASSIFIERS:
        variant = CLASSIFIERS[network]
        return efficientnet_tf_names(variant, network) | efficientnet_classifier_tf_names(network)
    if network in RESNET_DETECTORS:
        depth = RESNET_DETECTORS[network]
        return resnet_tf_names(depth, f"resnet{depth}") | fpn_tf_names() | retinanet_head_tf_names()
    if network in RESNET_NAS_FPN_DETECTORS:
        depth = RESNET_NAS_FPN_DETECTORS[network]
        neck = nas_fpn_tf_names(separable=False)
        return resnet_tf_names(depth, f"resnet{depth}") | neck | retinanet_head_tf_names()
    if network in SPINENET_DETECTORS:
        size = SPINENET_DETECTORS[network]
        return spinenet_tf_names(size) | retinanet_head_tf_names(SIZES[size].head_convs)
    if network in EFFICIENTNET_DETECTORS | SEGMENTERS:
        variant = (EFFICIENTNET_DETECTORS | SEGMENTERS)[network]
        backbone = efficientnet_tf_names(variant, f"efficientnet-{variant}")
        if network in SEGMENTERS:
            return backbone | nas_fpn_tf_names() | segmenter_tf_names()
        return backbone | fpn_tf_names() | retinanet_head_tf_names()
    raise InputError(f"The official network {network!r} does not exist; use one of {', '.join(NETWORKS)}.")


def unused_tf_names(network: str) -> tuple[str, ...]:
    """Return the names to ignore: those of EfficientNet's classifier, which official detectors do not use."""
    variant = (EFFICIENTNET_DETECTORS | SEGMENTERS).get(network)
    return tuple(efficientnet_classifier_tf_names(f"efficientnet-{variant}")) if variant else ()


def efficientnet_tf_names(variant: str, scope: str) -> NameMap:
    """Name the backbone; the numbers of blocks go on from stage to stage."""
    names = conv_names(join(scope, "stem", "conv2d"), (*BACKBONE, "stem"))
    names |= bn_names(join(scope, "stem", EFFICIENTNET_BN), (*BACKBONE, "stem_bn"))
    for index, block in enumerate(scale_blocks(find_variant(variant))):
        path = (*BACKBONE, f"block{index}")
        names |= _efficientnet_block(join(scope, f"blocks_{index}"), path, block.expansion > 1)
    return names


def _efficientnet_block(scope: str, path: VariablePath, expands: bool) -> NameMap:
    """Name a block's layers; without an expansion the later ones have lower numbers."""
    first = int(expands)
    names = {
        **depthwise_conv_names(join(scope, "depthwise_conv2d"), (*path, "depthwise")),
        **bn_names(join(scope, numbered(EFFICIENTNET_BN, first)), (*path, "depthwise_bn")),
        **conv_names(join(scope, "se", "conv2d"), (*path, "se_reduce"), bias=True),
        **conv_names(join(scope, "se", "conv2d_1"), (*path, "se_expand"), bias=True),
        **conv_names(join(scope, numbered("conv2d", first)), (*path, "project")),
        **bn_names(join(scope, numbered(EFFICIENTNET_BN, first + 1)), (*path, "project_bn")),
    }
    if expands:
        names |= conv_names(join(scope, "conv2d"), (*path, "expand"))
        names |= bn_names(join(scope, EFFICIENTNET_BN), (*path, "expand_bn"))
    return names


def efficientnet_classifier_tf_names(scope: str) -> NameMap:
    """Name what follows the backbone in a classifier."""
    return {
        **conv_names(join(scope, "head", "conv2d"), ("head",)),
        **bn_names(join(scope, "head", EFFICIENTNET_BN), ("head_bn",)),
        **conv_names(join(scope, "head", "dense"), ("dense",), bias=True),
    }


def resnet_tf_names(depth: int, scope: str) -> NameMap:
    """Name a bottleneck ResNet; the numbers of layers go through all blocks, whose projection comes first."""
    pairs = [STEM]
    for level, num_blocks in enumerate(BLOCKS[depth], start=2):
        for index in range(num_blocks):
            pairs += _block_pairs((*BACKBONE, f"c{level}_block{index}"), num_convs=3, project=index == 0)
    return _number_pairs(scope, pairs)


def spinenet_tf_names(size: str) -> NameMap:
    """Name SpineNet: stem and endpoints share one numbering, each node and each resampling has its own."""
    repeats = range(SIZES[size].repeats)
    pairs = [STEM]
    for group in range(NUM_STEM):
        for r in repeats:
            block = (*BACKBONE, f"stem_group{group}_block{r}")
            pairs += _block_pairs(block, num_convs=3, project=group == r == 0)
    pairs += [((*BACKBONE, f"endpoint{level}"), (*BACKBONE, f"endpoint{level}_bn")) for level in LEVELS]
    names = _number_pairs("spinenet", pairs)
    for index in range(NUM_STEM, len(NODES)):
        names |= _spinenet_node(index, len(repeats))
    return names


def _spinenet_node(index: int, repeats: int) -> NameMap:
    """Name a node, including the resampling of its two parents."""
    node, step = NODES[index], index - NUM_STEM
    outer = join("spinenet", f"sub_policy{step}")
    names: NameMap = {}
    for j, parent in enumerate(node.parents):
        inner = (*BACKBONE, f"node{index}_resample{j}")
        kinds = ("in", "down", "out") if NODES[parent].level < node.level else ("in", "out")
        pairs = [((*inner, f"conv_{kind}"), (*inner, f"bn_{kind}")) for kind in kinds]
        names |= _number_pairs(join(outer, f"resample_with_alpha_resample_{step}_{j}"), pairs)
    blocks = [(*BACKBONE, f"node{index}_block{r}") for r in range(repeats)]
    pairs = [pair for block in blocks for pair in _block_pairs(block, len(KERNELS_PX[node.kind]))]
    return names | _number_pairs(join(outer, f"scale_permuted_block_{index}"), pairs)


def _block_pairs(block: VariablePath, num_convs: int, project: bool = False) -> list[Pair]:
    """Return a residual block's pairs in TensorFlow's order."""
    shortcut = [((*block, "shortcut"), (*block, "shortcut_bn"))] if project else []
    return shortcut + [((*block, f"conv{i}"), (*block, f"bn{i}")) for i in range(1, num_convs + 1)]


def _number_pairs(scope: str, pairs: list[Pair]) -> NameMap:
    """Name the pairs by their numbers in the scope."""
    names: NameMap = {}
    for index, (conv, bn) in enumerate(pairs):
        names |= conv_names(join(scope, numbered("conv2d", index)), conv)
        names |= bn_names(join(scope, numbered("batch_normalization", index)), bn)
    return names


def fpn_tf_names() -> NameMap:
    """Name the feature pyramid of levels 3 to 7."""
    names: NameMap = {}
    for level in LEVELS:
        output = f"post_hoc_d{level}" if level in LATERAL_LEVELS else f"p{level}"
        names |= conv_names(join("fpn", output), ("fpn", f"output{level}"), bias=True)
        names |= bn_names(join("fpn", f"p{level}-bn"), ("fpn", f"bn{level}"))
    for level in LATERAL_LEVELS:
        names |= conv_names(join("fpn", f"l{level}"), ("fpn", f"lateral{level}"), bias=True)
    return names


def nas_fpn_tf_names(num_repeats: int = 7, *, separable: bool = True) -> NameMap:
    """Name NAS-FPN behind a backbone of other widths; the segmenters' convolutions are separable."""
    names: NameMap = {}
    for level in LATERAL_LEVELS:
        lateral = f"resample_l{level}"
        layer = "separable_conv2d" if separable else "conv2d"
        names |= _neck_conv_names(join(lateral, layer), ("fpn", f"lateral{level}"), separable)
        names |= bn_names(join(lateral, "bn"), ("fpn", f"lateral_bn{level}"))
    for cell in range(num_repeats):
        for step, node in enumerate(range(5, 12)):
            outer = join("fpn_cells", f"cell_{cell}", f"sub_policy{step}", f"op_after_combine{node}")
            inner = ("fpn", f"cell{cell}_node{node}")
            names |= _neck_conv_names(join(outer, "conv"), (*inner, "conv"), separable)
            names |= bn_names(join(outer, "bn"), (*inner, "bn"))
    return names


def _neck_conv_names(scope: str, path: VariablePath, separable: bool) -> NameMap:
    return separable_conv_names(scope, path) if separable else conv_names(scope, path, bias=True)


def retinanet_head_tf_names(num_convs: int = 4) -> NameMap:
    """Name both heads of levels 3 to 7."""
    names: NameMap = {}
    for kind in ("class", "box"):
        outer, inner = join("retinanet", f"{kind}_net"), (f"{kind}_net",)
        names |= conv_names(join(outer, f"{kind}-predict"), (*inner, "predictor"), bias=True)
        for i in range(num_convs):
            names |= conv_names(join(outer, f"{kind}-{i}"), (*inner, f"conv{i}"), bias=True)
            for level in LEVELS:
                names |= bn_names(join(outer, f"{kind}-{i}-{level}"), (*inner, f"bn{i}_{level}"))
    return names


def segmenter_tf_names(num_convs: int = 3) -> NameMap:
    """Name the head that classifies pixels."""
    names = conv_names("segmentation/conv2d", ("segmenter", "classifier"), bias=True)
    for i in range(num_convs):
        names |= conv_names(f"segmentation/conv-{i}", ("segmenter", f"head_conv{i}"), bias=True)
        names |= bn_names(f"segmentation/conv-{i}-bn", ("segmenter", f"head_bn{i}"))
    return names


def join(*parts: str) -> str:
    """Join scopes, leaving out empty ones."""
    return "/".join(part for part in parts if part)


def numbered(layer: str, index: int) -> str:
    """Return TensorFlow's name of the scope's `index`-th layer of a kind; the first has no number."""
    return f"{layer}_{index}" if index else layer


def conv_names(scope: str, path: VariablePath, *, bias: bool = False) -> NameMap:
    """Name a convolution or a dense layer."""
    names = ("kernel", "bias") if bias else ("kernel",)
    return {join(scope, name): Slot("params", (*path, name)) for name in names}


def depthwise_conv_names(scope: str, path: VariablePath) -> NameMap:
    """Name a depthwise convolution without bias."""
    return {join(scope, "depthwise_kernel"): Slot("params", (*path, "kernel"), "depthwise")}


def separable_conv_names(scope: str, path: VariablePath) -> NameMap:
    """Name a depthwise convolution followed by a 1×1 convolution that has the bias."""
    return {
        **depthwise_conv_names(scope, (*path, "depthwise")),
        join(scope, "pointwise_kernel"): Slot("params", (*path, "pointwise", "kernel")),
        join(scope, "bias"): Slot("params", (*path, "pointwise", "bias")),
    }


def bn_names(scope: str, path: VariablePath) -> NameMap:
    """Name a batch normalisation."""
    return {
        join(scope, "gamma"): Slot("params", (*path, "scale")),
        join(scope, "beta"): Slot("params", (*path, "bias")),
        join(scope, "moving_mean"): Slot("batch_stats", (*path, "mean")),
        join(scope, "moving_variance"): Slot("batch_stats", (*path, "var")),
    }
