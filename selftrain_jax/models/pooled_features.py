"""What a network's backbone makes of an image as a whole, one vector; call `pooled_features`."""

from typing import cast

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from selftrain_jax.models.fpn import Features
from selftrain_jax.models.input_padding import pad_images
from selftrain_jax.models.retinanet import RetinaNet
from selftrain_jax.models.segmenter import Segmenter
from selftrain_jax.types import FittedImages, Variables

LEVEL = 5  # the last one of most backbones, of stride 32; SpineNet has one too, a ViT only 4


def pooled_features(
    model: RetinaNet | Segmenter, variables: Variables, inputs: FittedImages, stride_px: int
) -> Float[Array, "B C"]:
    """Average the backbone's map of level 5, or its last one, over what the image covers; scale to length 1.

    `stride_px` is what the network's input is padded to a multiple of.
    """
    backbone = {name: tree["backbone"] for name, tree in variables.items() if "backbone" in tree}
    images = pad_images(inputs.images, stride_px)
    features = cast(Features, model.backbone.apply(backbone, images, train=False))
    last = features[min(LEVEL, max(features))]
    pooled = covered_mean(last.astype(jnp.float32), inputs.covered_px, images.shape[1])
    return pooled / jnp.maximum(jnp.linalg.norm(pooled, axis=-1, keepdims=True), 1e-12)


def covered_mean(
    features: Float[Array, "B h w C"], covered_px: Int[Array, "B 2"], side_px: int
) -> Float[Array, "B C"]:
    """Average over the cells from the corner on that [height, width] pixels cover, by the covered share."""
    rows, columns = (
        jnp.clip(covered_px[:, axis, None] * count / side_px - jnp.arange(count), 0, 1)
        for axis, count in enumerate(features.shape[1:3])
    )
    total = rows.sum(-1) * columns.sum(-1)
    return jnp.einsum("bhwc,bh,bw->bc", features, rows, columns) / total[:, None]
