"""RandAugment for detection and segmentation, in Augment-S4; call `randaugment`."""

from functools import partial

import tensorflow as tf

from selftrain_jax.augment.operations import apply_operation, pixel_scale
from selftrain_jax.augment.tensors import Number, Seed, Tensors, split_seed

RANDAUGMENT: tuple[str, ...] = (
    *("Equalize", "Solarize", "Color", "Cutout", "SolarizeAdd"),
    *("TranslateX_BBox", "TranslateY_BBox", "ShearX_BBox", "ShearY_BBox", "Rotate_BBox"),
)


def randaugment(
    tensors: Tensors,
    seed: Seed,
    *,
    num_layers: int = 1,
    magnitude: Number = 10,
    box_fit: str = "corners",
    reference_size_px: int | None = None,
) -> Tensors:
    """Apply `num_layers` operations in turn, each drawn uniformly from `RANDAUGMENT`, at level `magnitude`.

    As in the released library, Solarize inverts the whole image at magnitude 10 (its threshold 256 wraps to
    0), and has the threshold 128 at magnitude 15.

    Paper: section 3.1 gives magnitude 10 (15 for ResNet-101, Table 12), but neither operations nor layers.
    The ten operations and the one layer are EfficientDet's (same lab, month and library).
    Differs: masks are transformed too; for `reference_size_px` see `operations.pixel_scale`, for
    `box_fit` `geometry.fit_ellipse`.
    """
    scale = pixel_scale(tensors["image"], reference_size_px)
    for layer in range(num_layers):
        layer_seed = tf.random.experimental.stateless_fold_in(seed, layer)
        draw_seed, operation_seed = split_seed(layer_seed, 2)
        index = tf.random.stateless_uniform([], draw_seed, 0, len(RANDAUGMENT), tf.int32)
        run = partial(
            apply_operation, tensors, level=magnitude, scale=scale, box_fit=box_fit, seed=operation_seed
        )
        tensors = tf.switch_case(index, [partial(run, name) for name in RANDAUGMENT])
    return tensors
