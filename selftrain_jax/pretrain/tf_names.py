"""Names in the checkpoints of the official TensorFlow code, made by rule; call `tf_names`."""

from selftrain_jax.errors import InputError
from selftrain_jax.models.spinenet import SIZES
from selftrain_jax.pretrain.name_map import NameMap
from selftrain_jax.pretrain.tf_names_backbones import resnet_tf_names, spinenet_tf_names
from selftrain_jax.pretrain.tf_names_detector import (
    fpn_tf_names,
    nas_fpn_tf_names,
    retinanet_head_tf_names,
    segmenter_tf_names,
)
from selftrain_jax.pretrain.tf_names_efficientnet import (
    efficientnet_classifier_tf_names,
    efficientnet_tf_names,
)

CLASSIFIERS = {f"efficientnet-{variant}": variant for variant in [*(f"b{i}" for i in range(9)), "l2"]}
RESNET_DETECTORS = {f"retinanet_r{depth}fpn": depth for depth in (50, 101)}
EFFICIENTNET_DETECTORS = {"retinanet_effb0fpn": "b0", "retinanet_b7fpn": "b7"}
SPINENET_DETECTORS = {f"retinanet_spinenet{size.replace('s', 'S')}": size for size in SIZES}
SEGMENTERS = {"seg_effb0_nasfpn": "b0", "seg_b7_nasfpn": "b7", "seg_l2_nasfpn": "l2"}
NETWORKS = (*CLASSIFIERS, *RESNET_DETECTORS, *EFFICIENTNET_DETECTORS, *SPINENET_DETECTORS, *SEGMENTERS)


def tf_names(network: str) -> NameMap:
    """Return where each variable of an official network goes.

    The variables of an unused classifier are left out, see `unused_tf_names`.

    Raises:
        InputError: the network is unknown.
    """
    if network in CLASSIFIERS:
        variant = CLASSIFIERS[network]
        return efficientnet_tf_names(variant, network) | efficientnet_classifier_tf_names(network)
    if network in RESNET_DETECTORS:
        depth = RESNET_DETECTORS[network]
        return resnet_tf_names(depth, f"resnet{depth}") | fpn_tf_names() | retinanet_head_tf_names()
    if network in EFFICIENTNET_DETECTORS:
        variant = EFFICIENTNET_DETECTORS[network]
        backbone = efficientnet_tf_names(variant, f"efficientnet-{variant}")
        return backbone | fpn_tf_names() | retinanet_head_tf_names()
    if network in SPINENET_DETECTORS:
        size = SPINENET_DETECTORS[network]
        return spinenet_tf_names(size) | retinanet_head_tf_names(SIZES[size].head_convs)
    if network in SEGMENTERS:
        variant = SEGMENTERS[network]
        backbone = efficientnet_tf_names(variant, f"efficientnet-{variant}")
        return backbone | nas_fpn_tf_names() | segmenter_tf_names()
    raise InputError(f"The official network {network!r} does not exist; use one of {', '.join(NETWORKS)}.")


def unused_tf_names(network: str) -> tuple[str, ...]:
    """Return the names to ignore: EfficientNet's classifier, which official detectors carry unused."""
    variant = (EFFICIENTNET_DETECTORS | SEGMENTERS).get(network)
    return tuple(efficientnet_classifier_tf_names(f"efficientnet-{variant}")) if variant else ()
