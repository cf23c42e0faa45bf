"""Masks on their way into a batch; hand what `mask_targets` returns to `make_batches`."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from selftrain_jax.data.pipeline import TargetSpec
from selftrain_jax.errors import InputError
from selftrain_jax.types import Example, MaskTargets


def read_mask(example: Example, where: str) -> Mapping[str, np.ndarray]:
    """Take the mask out of an example. The boxes that a source may have too are left out of the augmentation.

    Raises:
        InputError: there is no mask, or it has another size than the image.
    """
    if "mask" not in example:
        raise InputError(f"{where} has no mask; segmentation needs a data set with a class for every pixel")
    image, mask = example["image"], example["mask"]
    if mask.shape != image.shape[:2]:
        sizes = f"{_describe_size(mask)}, the image {_describe_size(image)} (width x height)"
        raise InputError(
            f"the mask of {where} is {sizes}; expected one size. Fix the mask or leave the image out."
        )
    return {"mask": mask}


def _describe_size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} px"


FULL_WEIGHT = 255


def mask_targets(*, is_soft: bool = False, is_weighed: bool = False) -> TargetSpec:
    """Return what a batch has of masks, with the shares of further classes and with pixels' weights.

    A human mask has no further shares, and its pixels the full weight.
    """

    def read(example: Example, where: str) -> Mapping[str, np.ndarray]:
        arrays = dict(read_mask(example, where))
        size_px = arrays["mask"].shape
        if is_soft:
            arrays["soft_mask"] = example.get("soft_mask", np.zeros((*size_px, 4), np.uint8))
        if is_weighed:
            full = np.full((*size_px, 1), FULL_WEIGHT, np.uint8)
            arrays["pixel_weight"] = example.get("pixel_weight", full)
        return arrays

    channels = {"soft_mask": 4} if is_soft else {}
    channels |= {"pixel_weight": 1} if is_weighed else {}
    maps = {key: tf.TensorSpec([None, None, number], tf.uint8) for key, number in channels.items()}
    return TargetSpec(
        signature={"mask": tf.TensorSpec([None, None], tf.uint8), **maps},
        read=read,
        to_targets=lambda tensors: MaskTargets(
            tensors["mask"], tensors.get("soft_mask"), tensors.get("pixel_weight")
        ),
    )
