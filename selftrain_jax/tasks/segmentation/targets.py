"""Masks on their way into a batch; hand `MASK_TARGETS` or `SOFT_TARGETS` to `make_batches`."""

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


MASK_TARGETS = TargetSpec(
    signature={"mask": tf.TensorSpec([None, None], tf.uint8)},
    read=read_mask,
    to_targets=lambda tensors: MaskTargets(tensors["mask"]),
)


def read_soft_mask(example: Example, where: str) -> Mapping[str, np.ndarray]:
    """Take the mask and the shares of further classes out of an example; a human mask has none.

    Raises:
        InputError: as `read_mask`.
    """
    arrays = read_mask(example, where)
    none = np.zeros((*arrays["mask"].shape, 4), np.uint8)
    return {**arrays, "soft_mask": example.get("soft_mask", none)}


SOFT_TARGETS = TargetSpec(
    signature={**MASK_TARGETS.signature, "soft_mask": tf.TensorSpec([None, None, 4], tf.uint8)},
    read=read_soft_mask,
    to_targets=lambda tensors: MaskTargets(tensors["mask"], tensors["soft_mask"]),
)
