"""TensorFlow names of necks and heads in the official detectors and segmenters; one function each."""

from collections.abc import Iterable

from selftrain_jax.pretrain.name_map import NameMap
from selftrain_jax.pretrain.tf_names_layers import Path, bn_names, conv_names, join, separable_conv_names

LEVELS = range(3, 8)
BACKBONE_LEVELS = range(3, 6)


def fpn_tf_names(scope: str = "fpn", path: Path = ("fpn",)) -> NameMap:
    """Name the feature pyramid of levels 3 to 7."""
    names: NameMap = {}
    for level in LEVELS:
        output = f"post_hoc_d{level}" if level in BACKBONE_LEVELS else f"p{level}"
        names |= conv_names(join(scope, output), (*path, f"output{level}"), bias=True)
        names |= bn_names(join(scope, f"p{level}-bn"), (*path, f"bn{level}"))
    for level in BACKBONE_LEVELS:
        names |= conv_names(join(scope, f"l{level}"), (*path, f"lateral{level}"), bias=True)
    return names


def nas_fpn_tf_names(
    num_repeats: int = 7,
    *,
    lateral_levels: Iterable[int] = BACKBONE_LEVELS,
    scope: str = "",
    path: Path = ("fpn",),
) -> NameMap:
    """Name the separable NAS-FPN; `lateral_levels` are those where the backbone's width differs."""
    names: NameMap = {}
    for level in lateral_levels:
        lateral = join(scope, f"resample_l{level}")
        names |= separable_conv_names(join(lateral, "separable_conv2d"), (*path, f"lateral{level}"))
        names |= bn_names(join(lateral, "bn"), (*path, f"lateral_bn{level}"))
    for cell in range(num_repeats):
        for step, node in enumerate(range(5, 12)):
            outer = join(scope, "fpn_cells", f"cell_{cell}", f"sub_policy{step}", f"op_after_combine{node}")
            inner = (*path, f"cell{cell}_node{node}")
            names |= separable_conv_names(join(outer, "conv"), (*inner, "conv"))
            names |= bn_names(join(outer, "bn"), (*inner, "bn"))
    return names


def retinanet_head_tf_names(num_convs: int = 4, scope: str = "retinanet", path: Path = ()) -> NameMap:
    """Name both heads over levels 3 to 7."""
    names: NameMap = {}
    for kind in ("class", "box"):
        outer, inner = join(scope, f"{kind}_net"), (*path, f"{kind}_net")
        names |= conv_names(join(outer, f"{kind}-predict"), (*inner, "predictor"), bias=True)
        for i in range(num_convs):
            names |= conv_names(join(outer, f"{kind}-{i}"), (*inner, f"conv{i}"), bias=True)
            for level in LEVELS:
                names |= bn_names(join(outer, f"{kind}-{i}-{level}"), (*inner, f"bn{i}_{level}"))
    return names


def segmenter_tf_names(
    num_convs: int = 3, scope: str = "segmentation", path: Path = ("segmenter",)
) -> NameMap:
    """Name the head that labels pixels."""
    names = conv_names(join(scope, "conv2d"), (*path, "classifier"), bias=True)
    for i in range(num_convs):
        names |= conv_names(join(scope, f"conv-{i}"), (*path, f"head_conv{i}"), bias=True)
        names |= bn_names(join(scope, f"conv-{i}-bn"), (*path, f"head_bn{i}"))
    return names
