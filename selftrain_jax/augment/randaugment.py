"""RandAugment for detection and segmentation (Section 3.1, Augment-S4): call `randaugment`."""

from functools import partial

import tensorflow as tf

from selftrain_jax.augment.operations import apply_operation, pixel_scale
from selftrain_jax.augment.tensors import Number, Seed, Tensors, split_seed

RANDAUGMENT: tuple[str, ...] = (
    "Equalize",
    "Solarize",
    "Color",
    "Cutout",
    "SolarizeAdd",
    "TranslateX_BBox",
    "TranslateY_BBox",
    "ShearX_BBox",
    "ShearY_BBox",
    "Rotate_BBox",
)


def randaugment(
    tensors: Tensors,
    seed: Seed,
    *,
    num_layers: int = 1,
    magnitude: Number = 10,
    reference_size_px: int | None = None,
) -> Tensors:
    """Apply `num_layers` operations in turn, each drawn uniformly from `RANDAUGMENT`, at level `magnitude`.

    At magnitude 10 Solarize inverts the whole image (its threshold 256 wraps to 0) and at 15 it acts at 128:
    the released op library does so, and it is reproduced here exactly.

    Paper: Section 3.1 gives magnitude 10 (15 for ResNet-101, Table 12), but neither operations nor layers.
    Both are EfficientDet's (same lab and month, same op library): these ten operations, one layer.
    Differs: the mask moves along; `reference_size_px` (see `operations.pixel_scale`).
    """
    scale = pixel_scale(tensors["image"], reference_size_px)
    for layer in range(num_layers):
        layer_seed = tf.random.experimental.stateless_fold_in(seed, layer)
        draw_seed, own = split_seed(layer_seed, 2)
        index = tf.random.stateless_uniform([], draw_seed, 0, len(RANDAUGMENT), tf.int32)
        run = partial(apply_operation, tensors, level=magnitude, scale=scale, seed=own)
        tensors = tf.switch_case(index, [partial(run, name) for name in RANDAUGMENT])
    return tensors
