"""config.model as one value, and the backbone and neck that it describes; call `make_backbone_and_neck`."""

from dataclasses import dataclass, replace
from typing import cast

from selftrain_jax.errors import InputError
from selftrain_jax.models.convnext import CONVNEXT_SIZES, ConvNeXt, make_convnext
from selftrain_jax.models.efficientnet import VARIANTS, EfficientNet
from selftrain_jax.models.fpn import FPN
from selftrain_jax.models.layers import PADDINGS, LayerStyle, Padding
from selftrain_jax.models.nas_fpn import NASFPN
from selftrain_jax.models.resnet import BLOCKS, ResNet
from selftrain_jax.models.simple_pyramid import PyramidNeck, SimplePyramid
from selftrain_jax.models.spinenet import LEVELS, SIZES, SpineNet
from selftrain_jax.models.vit import LEVEL as VIT_LEVEL
from selftrain_jax.models.vit import VARIANTS as VIT_VARIANTS
from selftrain_jax.models.vit import ViT

RESNETS = {f"resnet{depth}": depth for depth in BLOCKS}
EFFICIENTNETS = {f"efficientnet_{variant}": variant for variant in VARIANTS}
CONVNEXTS = {f"convnext_{size}": size for size in CONVNEXT_SIZES}
SPINENETS = {f"spinenet{size}": size for size in SIZES}
VITS = {f"vit_{name}": variant for name, variant in VIT_VARIANTS.items()}
BACKBONES = (*RESNETS, *EFFICIENTNETS, *CONVNEXTS, *VITS, *SPINENETS)
WITHOUT_BN = (*CONVNEXTS, *VITS)
NECKS = ("fpn", "nas_fpn")
Backbone = ResNet | EfficientNet | ConvNeXt | ViT | SpineNet
Neck = FPN | NASFPN
EFFICIENTNET_DROP_RATE = 0.2
VIT_DROP_RATE = 0.1  # ViTDet's for ViT-B


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The keys of config.model. "" as neck, 0 and -1 stand for the default of the backbone or the network."""

    backbone: str  # one of `BACKBONES`
    neck: str = ""  # one of `NECKS`; SpineNet has none
    width_factor: float = 1.0  # of a ResNet
    min_level: int = 3
    max_level: int = 7
    fpn_channels: int = 256  # of either neck
    nas_fpn_repeats: int = 5
    separable: bool = False  # NAS-FPN's convolutions
    head_channels: int = 0
    head_convs: int = 0
    activation: str = "relu"  # of neck, heads, ResNet and SpineNet; an EfficientNet has its own
    bn_momentum: float = 0.997  # as activation
    bn_epsilon: float = 1e-4  # as activation
    backbone_bn_momentum: float = 0.0
    drop_connect_rate: float = -1.0
    pool_padding: str = "same"  # of a ResNet's max-pool
    dtype: str = "float32"  # of the computation
    anchor_size: float = 4.0  # for the detection task; the network does not depend on it

    @property
    def style(self) -> LayerStyle:
        """The style of neck and heads."""
        return LayerStyle(self.activation, self.bn_momentum, self.bn_epsilon, self.dtype)


def make_backbone_and_neck(
    settings: NetworkSettings, default_neck: str
) -> tuple[Backbone, Neck | PyramidNeck | None]:
    """Make the two parts that a detector and a segmenter share; SpineNet's neck is None.

    A vision transformer has a simple pyramid before the neck.

    Raises:
        InputError: a name is unknown, or a value does not apply to this backbone.
    """
    backbone = make_backbone(settings)
    if settings.backbone in SPINENETS:
        _check_spinenet(settings)
        return backbone, None
    neck = _make_neck(settings.neck or default_neck, settings)
    if settings.backbone in VITS:
        return backbone, PyramidNeck(SimplePyramid(min(VIT_LEVEL, settings.min_level), settings.style), neck)
    return backbone, neck


def make_backbone(settings: NetworkSettings) -> Backbone:
    """Make the network that turns an image into features by level.

    ResNet and SpineNet have the settings' style. EfficientNet takes only the dtype from it: its activation
    is swish (Lite: relu6), its batch normalisation has momentum 0.99 and epsilon 1e-3, as in the authors'
    detector. ConvNeXt and vision transformers take only the dtype too: they have GELU, and no batch
    normalisation.

    Raises:
        InputError: the name is unknown, or a value does not apply to this backbone.
    """
    _check_backbone(settings)
    name, style, rate = settings.backbone, settings.style, settings.drop_connect_rate
    if name in EFFICIENTNETS:
        style = LayerStyle("relu6" if "lite" in name else "swish", 0.99, 1e-3, style.dtype)
    style = replace(style, bn_momentum=settings.backbone_bn_momentum or style.bn_momentum)
    if name in RESNETS:
        return ResNet(RESNETS[name], settings.width_factor, style, cast(Padding, settings.pool_padding))
    if name in EFFICIENTNETS:
        return EfficientNet(EFFICIENTNETS[name], EFFICIENTNET_DROP_RATE if rate < 0 else rate, style)
    if name in CONVNEXTS:
        return make_convnext(CONVNEXTS[name], None if rate < 0 else rate, style)
    if name in VITS:
        return ViT(VITS[name], VIT_DROP_RATE if rate < 0 else rate, style)
    return SpineNet(SPINENETS[name], None if rate < 0 else rate, style)


def _check_backbone(settings: NetworkSettings) -> None:
    """Refuse an unknown backbone, and values that do not apply to it."""
    name, rate, padding = settings.backbone, settings.drop_connect_rate, settings.pool_padding
    if name not in BACKBONES:
        raise InputError(f"backbone={name!r} is not one of {', '.join(BACKBONES)}")
    if settings.width_factor != 1.0 and name not in RESNETS:
        raise InputError(f"width_factor={settings.width_factor:g} is for ResNets, not for {name}; use 1")
    if rate > 0 and name in RESNETS:
        raise InputError(f"drop_connect_rate={rate:g}: {name} has no drop-connect; use -1")
    if padding not in PADDINGS:
        raise InputError(f"pool_padding={padding!r} is not one of {', '.join(PADDINGS)}")
    if padding != "same" and name not in RESNETS:
        raise InputError(f"pool_padding={padding} is for ResNets, not for {name}; use same")
    if settings.backbone_bn_momentum and name in WITHOUT_BN:
        raise InputError(
            f"backbone_bn_momentum={settings.backbone_bn_momentum:g}: {name} has no BatchNorm; use 0"
        )
    if not rate < 1:
        raise InputError(f"drop_connect_rate={rate:g} is not a probability below 1; use -1 for the default")


def _make_neck(name: str, settings: NetworkSettings) -> Neck:
    """Make one of `NECKS`; an FPN has no separable convolutions."""
    levels = (settings.min_level, settings.max_level)
    if name not in NECKS:
        raise InputError(f"neck={name!r} is not one of {', '.join(NECKS)}")
    if name == "nas_fpn":
        return NASFPN(
            settings.fpn_channels, settings.nas_fpn_repeats, settings.separable, *levels, settings.style
        )
    if settings.separable:
        raise InputError(f"separable=True is for neck='nas_fpn', not for {name}; use False")
    return FPN(settings.fpn_channels, *levels, settings.style)


def _check_spinenet(settings: NetworkSettings) -> None:
    """Refuse what does not apply to SpineNet, which is its own neck."""
    if settings.neck:
        raise InputError(f"neck={settings.neck!r}: SpineNet is its own neck; use neck=''")
    if settings.separable:
        raise InputError("separable=True is for neck='nas_fpn', which SpineNet does not have; use False")
    first, last = LEVELS[0], LEVELS[-1]
    if (settings.min_level, settings.max_level) != (first, last):
        raise InputError(
            f"min_level={settings.min_level}, max_level={settings.max_level}: SpineNet's levels are {first} "
            f"to {last}; use those"
        )
