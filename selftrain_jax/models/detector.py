"""The paper's detectors by name: a backbone, the neck and heads that go with it; call `make_retinanet`."""

from dataclasses import replace
from typing import cast

import flax.linen as nn

from selftrain_jax.errors import InputError
from selftrain_jax.models.efficientnet import VARIANTS, EfficientNet
from selftrain_jax.models.fpn import FPN
from selftrain_jax.models.layers import PADDINGS, LayerStyle, Padding
from selftrain_jax.models.nas_fpn import NASFPN
from selftrain_jax.models.resnet import BLOCKS, ResNet
from selftrain_jax.models.retinanet import RetinaNet
from selftrain_jax.models.spinenet import LEVELS, SIZES, SpineNet

RESNETS = {f"resnet{depth}": depth for depth in BLOCKS}
EFFICIENTNETS = {f"efficientnet_{variant}": variant for variant in VARIANTS}
SPINENETS = {f"spinenet{size}": size for size in SIZES}
BACKBONES = (*RESNETS, *EFFICIENTNETS, *SPINENETS)
NECKS = ("fpn", "nas_fpn")
DEFAULT_STYLE = LayerStyle()
EFFICIENTNET_DROP_RATE = 0.2
HEAD_CHANNELS, HEAD_CONVS = 256, 4  # of all but SpineNet


def make_retinanet(
    *,
    backbone: str,
    num_classes: int,
    neck: str = "",
    width_factor: float = 1.0,
    min_level: int = 3,
    max_level: int = 7,
    fpn_channels: int = 256,
    nas_fpn_repeats: int = 5,
    separable: bool = False,
    head_channels: int = 0,
    head_convs: int = 0,
    num_anchors: int = 9,
    activation: str = "relu",
    bn_momentum: float = 0.997,
    bn_epsilon: float = 1e-4,
    backbone_bn_momentum: float = 0.0,
    drop_connect_rate: float = -1.0,
    pool_padding: str = "same",
    dtype: str = "float32",
) -> RetinaNet:
    """Compose a detector; `num_classes` counts the background.

    "" as neck, 0 as head_channels, head_convs and backbone_bn_momentum and -1 as drop_connect_rate stand
    for the backbone's own: an FPN (SpineNet: none), heads of 4 convolutions of 256 channels (SpineNet: by
    size), the model's batch normalisation (EfficientNet: momentum 0.99, epsilon 1e-3).

    Raises:
        InputError: a name is unknown, or a value means nothing to this backbone.

    Paper: section 3.2 and Table 5.
    """
    style = LayerStyle(activation, bn_momentum, bn_epsilon, dtype)
    network = make_backbone(
        backbone,
        width_factor=width_factor,
        bn_momentum=backbone_bn_momentum,
        drop_connect_rate=drop_connect_rate,
        pool_padding=pool_padding,
        style=style,
    )
    levels = (min_level, max_level)
    if backbone in SPINENETS:
        check_spinenet(neck, levels, separable)
        pyramid, size = None, SIZES[SPINENETS[backbone]]
        own_channels, own_convs = size.head_channels, size.head_convs
    else:
        pyramid = make_neck(neck or NECKS[0], fpn_channels, levels, nas_fpn_repeats, style, separable)
        own_channels, own_convs = HEAD_CHANNELS, HEAD_CONVS
    return RetinaNet(
        backbone=network,
        fpn=pyramid,
        num_classes=num_classes,
        min_level=min_level,
        max_level=max_level,
        head_convs=head_convs or own_convs,
        head_channels=head_channels or own_channels,
        num_anchors=num_anchors,
        style=style,
    )


def make_backbone(
    name: str,
    *,
    width_factor: float = 1.0,
    bn_momentum: float = 0.0,
    drop_connect_rate: float = -1.0,
    pool_padding: str = "same",
    style: LayerStyle = DEFAULT_STYLE,
) -> nn.Module:
    """Make one of `BACKBONES`; 0 and -1 stand for its own momentum and rate, `pool_padding` is a ResNet's.

    ResNet and SpineNet have the given style. EfficientNet has its own activation (swish, Lite: relu6) and
    batch normalisation and takes from the style the dtype alone, as in the authors' detector.

    Raises:
        InputError: the name is unknown, or a value means nothing to this backbone.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone={name!r} is not one of {', '.join(BACKBONES)}")
    if width_factor != 1.0 and name not in RESNETS:
        raise InputError(f"width_factor={width_factor:g} is for ResNets, not for {name}; use 1")
    if drop_connect_rate > 0 and name in RESNETS:
        raise InputError(f"drop_connect_rate={drop_connect_rate:g}: {name} has no drop-connect; use -1")
    if pool_padding not in PADDINGS:
        raise InputError(f"pool_padding={pool_padding!r} is not one of {', '.join(PADDINGS)}")
    if pool_padding != "same" and name not in RESNETS:
        raise InputError(f"pool_padding={pool_padding} is for ResNets, not for {name}; use same")
    if not drop_connect_rate < 1:
        raise InputError(f"drop_connect_rate={drop_connect_rate:g} is a share below 1, or -1")
    if name in EFFICIENTNETS:
        style = LayerStyle("relu6" if "lite" in name else "swish", 0.99, 1e-3, style.dtype)
    style = replace(style, bn_momentum=bn_momentum or style.bn_momentum)
    if name in RESNETS:
        return ResNet(RESNETS[name], width_factor, style, cast(Padding, pool_padding))
    if name in EFFICIENTNETS:
        rate = EFFICIENTNET_DROP_RATE if drop_connect_rate < 0 else drop_connect_rate
        return EfficientNet(EFFICIENTNETS[name], rate, style)
    return SpineNet(SPINENETS[name], None if drop_connect_rate < 0 else drop_connect_rate, style)


def make_neck(
    name: str,
    num_channels: int,
    levels: tuple[int, int],
    nas_fpn_repeats: int,
    style: LayerStyle,
    separable: bool = False,
) -> FPN | NASFPN:
    """Make one of `NECKS` for the levels from the first to the last.

    Raises:
        InputError: the name is unknown, or an FPN is to have separable convolutions.
    """
    if name not in NECKS:
        raise InputError(f"neck={name!r} is not one of {', '.join(NECKS)}")
    if name == "nas_fpn":
        return NASFPN(num_channels, nas_fpn_repeats, separable, *levels, style)
    if separable:
        raise InputError(f"separable=True is for neck='nas_fpn', not for {name}; use False")
    return FPN(num_channels, *levels, style)


def check_spinenet(neck: str, levels: tuple[int, int], separable: bool) -> None:
    """Refuse what SpineNet, its own neck, cannot have. Raises: InputError naming it."""
    if neck:
        raise InputError(f"neck={neck!r}: SpineNet is its own neck; use neck=''")
    if separable:
        raise InputError("separable=True is for neck='nas_fpn', which SpineNet does not have; use False")
    if levels != (LEVELS[0], LEVELS[-1]):
        raise InputError(
            f"min_level={levels[0]}, max_level={levels[1]}: SpineNet's levels are {LEVELS[0]} to {LEVELS[-1]}"
        )
