"""The official networks as our modules, with the settings of the released code; call `make_network`."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier, make_classifier
from selftrain_jax.models.retinanet import RetinaNet, make_retinanet
from selftrain_jax.models.segmenter import Segmenter, fuse, make_segmenter
from selftrain_jax.pretrain.tf_names import (
    CLASSIFIERS,
    EFFICIENTNET_DETECTORS,
    NETWORKS,
    RESNET_DETECTORS,
    RESNET_NAS_FPN_DETECTORS,
    SEGMENTERS,
    SPINENET_DETECTORS,
)
from selftrain_jax.types import Variables

NUM_IMAGENET_CLASSES = 1000
NUM_COCO_CLASSES = 91  # with the background and unused ids
NUM_VOC_CLASSES = 21  # with the background
DETECTORS = {
    **{name: f"resnet{depth}" for name, depth in (RESNET_DETECTORS | RESNET_NAS_FPN_DETECTORS).items()},
    **{name: f"efficientnet_{variant}" for name, variant in EFFICIENTNET_DETECTORS.items()},
    **{name: f"spinenet{size}" for name, size in SPINENET_DETECTORS.items()},
}

Network = Classifier | RetinaNet | Segmenter


def make_network(name: str) -> Network:
    """Make an official network.

    Raises:
        InputError: the name is not one of `NETWORKS`.
    """
    if name in CLASSIFIERS:
        return make_classifier(f"efficientnet_{CLASSIFIERS[name]}", NUM_IMAGENET_CLASSES)
    if name in DETECTORS:
        activation = "swish" if name in SPINENET_DETECTORS else "relu"
        return make_retinanet(
            backbone=DETECTORS[name],
            neck="nas_fpn" if name in RESNET_NAS_FPN_DETECTORS else "",
            nas_fpn_repeats=7,
            num_classes=NUM_COCO_CLASSES,
            activation=activation,
            bn_epsilon=1e-4,
        )
    if name in SEGMENTERS:
        return make_segmenter(
            backbone=f"efficientnet_{SEGMENTERS[name]}",
            num_classes=NUM_VOC_CLASSES,
            nas_fpn_repeats=7,
            separable=True,
            bn_epsilon=1e-3,
        )
    raise InputError(f"The network {name!r} cannot be compared; use one of {', '.join(NETWORKS)}.")


def variable_shapes(network: Network, size_px: int) -> Variables:
    """Return the shapes of a network's variables without computing them."""
    image = jax.ShapeDtypeStruct((1, size_px, size_px, 3), jnp.float32)
    return jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), image)


def named_outputs(
    network: Network, variables: Variables, images: Float[Array, "B H W 3"]
) -> dict[str, Float[Array, "B ..."]]:
    """Run inference and return the outputs by which official networks are compared.

    Those of a classifier are `reduction_1`.., `logits`, of a detector `feat3`, `cls3`, `box3`, .., of a
    segmenter `feat3`.., `fused`, `logits`. The outputs of a level are maps.
    """
    if isinstance(network, Classifier):
        logits, features = apply_and_capture(network, variables, images, "backbone", "__call__")
        return {**{f"reduction_{level}": x for level, x in features.items()}, "logits": logits}
    pyramid_module = "backbone" if network.fpn is None else "fpn"
    method = "per_level" if isinstance(network, RetinaNet) else "__call__"
    result, features = apply_and_capture(network, variables, images, pyramid_module, method)
    pyramid = {level: features[level] for level in network.levels}
    outputs = {f"feat{level}": x for level, x in pyramid.items()}
    if isinstance(network, Segmenter):
        return {**outputs, "fused": fuse(pyramid, *result.shape[1:3]), "logits": result}
    logits, boxes = result
    outputs |= {f"cls{level}": x for level, x in logits.items()}
    return outputs | {f"box{level}": x for level, x in boxes.items()}


def apply_and_capture(
    network: Network, variables: Variables, images: Float[Array, "B H W 3"], module: str, method: str
) -> tuple[Any, Mapping[int, Float[Array, "B _ _ _"]]]:
    """Apply `method`; return its result and the result of the submodule named `module`."""
    result, state = network.apply(
        variables,
        images,
        train=False,
        method=method,
        capture_intermediates=lambda part, _: part.path == (module,),
        mutable=["intermediates"],
    )
    return result, state["intermediates"][module]["__call__"][0]
