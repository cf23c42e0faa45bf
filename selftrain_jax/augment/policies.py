"""The four augmentation policies (section 3.1, Table 1): call `augment_policy("s1" ... "s4")`.

`resize_for_inference` is their deterministic part; `augment_uint8` shows what a policy does to an image.
"""

import difflib
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf
from jaxtyping import Int, UInt8

from selftrain_jax.augment.autoaugment import AUTOAUGMENT, autoaugment
from selftrain_jax.augment.geometry import BOX_FITS, flip_horizontal
from selftrain_jax.augment.randaugment import randaugment
from selftrain_jax.augment.resize import resize_and_crop
from selftrain_jax.augment.tensors import MAPS, Number, Seed, Tensors, split_seed
from selftrain_jax.errors import InputError

Augment = Callable[[Tensors, Seed], Tensors]


class Policy(NamedTuple):
    """A row of the paper's Table 1; all policies flip and crop as well."""

    operations: Literal["none", "autoaugment", "randaugment"]
    jitter: tuple[Number, Number]  # range of scales, relative to the image fitted into the network's input


POLICIES: dict[str, Policy] = {
    "s1": Policy("none", (0.8, 1.2)),
    "s2": Policy("autoaugment", (0.8, 1.2)),
    "s3": Policy("autoaugment", (0.5, 2.0)),
    "s4": Policy("randaugment", (0.5, 2.0)),
}


def augment_policy(
    name: str,
    *,
    output_size_px: int,
    magnitude: Number = 10,
    num_layers: int = 1,
    jitter: tuple[Number, Number] | None = None,
    autoaugment_version: str = "v0",
    box_fit: str = "corners",
    reference_size_px: int | None = None,
    flip_frac: float = 0.5,
) -> Augment:
    """Make the function (tensors, seed) -> tensors that augments one training image.

    The steps are AutoAugment or RandAugment on the uint8 image at its own resolution, a flip for `flip_frac`
    of the images, scale jitter and crop, padding. `magnitude` and `num_layers` are for
    RandAugment; `jitter` replaces that of the policy. `box_fit` is for boxes of turned and sheared images,
    see `geometry.fit_ellipse`.

    Returns:
        A function whose `image` is uint8 [S, S, 3], `boxes` are in network px, clipped to [0, S - 1] and not
        empty, `mask` is uint8 [S, S] with 255 outside the image; `covered_px`, `scale` and `offset` are those
        of `resize.resize_and_crop`.

    Raises:
        InputError: the policy, version or box fit is unknown, or a size, jitter, magnitude or number of
            layers is out of range.

    Paper: section 3.1, Table 1. S2 has the jitter of S1 (the text enlarges it for S3 and S4 only). It does
    not say what happens to masks: here they move with the image, and colours and Cutout do not change them.
    Differs: `reference_size_px` scales constants in pixels to the image (see `operations.pixel_scale`);
    `flip_frac` is for data in which left and right matter, such as digits.
    """
    low, high = jitter or _find_policy(name).jitter
    if not 0 < low <= high:
        raise InputError(
            f"jitter {(low, high)} is not a range of scales; expected 0 < low <= high, such as (0.5, 2.0)"
        )
    _check_positive("output_size_px", output_size_px)
    augment = augment_uint8(
        name,
        magnitude,
        num_layers,
        autoaugment_version=autoaugment_version,
        box_fit=box_fit,
        reference_size_px=reference_size_px,
    )

    @tf.autograph.experimental.do_not_convert
    def apply(tensors: Tensors, seed: Seed) -> Tensors:
        augment_seed, flip_seed, jitter_seed, crop_seed = split_seed(seed, 4)
        return resize_and_crop(
            _flip_some(augment(tensors, augment_seed), flip_seed, flip_frac),
            output_size_px=output_size_px,
            jitter=tf.random.stateless_uniform([], jitter_seed, low, high),
            crop_yx_frac=tf.random.stateless_uniform([2], crop_seed),
        )

    return apply


def augment_uint8(
    name: str,
    magnitude: Number = 10,
    num_layers: int = 1,
    *,
    autoaugment_version: str = "v0",
    box_fit: str = "corners",
    reference_size_px: int | None = None,
) -> Augment:
    """Make only the AutoAugment or RandAugment part of a policy, from uint8 to uint8; S1 has none.

    Raises:
        InputError: the policy, version or box fit is unknown, or a magnitude or number of layers is out of
            range.
    """
    operations = _find_policy(name).operations
    _check_operations(magnitude, num_layers, autoaugment_version, reference_size_px)
    if box_fit not in BOX_FITS:
        raise InputError(
            f"unknown box fit {box_fit!r} (config.augment.box_fit); expected one of {', '.join(BOX_FITS)}"
        )
    apply_operations = {
        "none": None,
        "autoaugment": functools.partial(autoaugment, version=autoaugment_version),
        "randaugment": functools.partial(randaugment, num_layers=num_layers, magnitude=magnitude),
    }[operations]

    @tf.autograph.experimental.do_not_convert
    def apply(tensors: Tensors, seed: Seed) -> Tensors:
        image = tf.ensure_shape(tensors["image"], [None, None, 3])
        moving = {key: tensors[key] for key in ("boxes", *MAPS) if key in tensors} | {"image": image}
        if apply_operations is not None:
            moving = apply_operations(moving, seed, box_fit=box_fit, reference_size_px=reference_size_px)
        return {**tensors, **moving}

    return apply


@tf.autograph.experimental.do_not_convert
def resize_for_inference(tensors: Tensors, *, output_size_px: int) -> Tensors:
    """Fit the longest side and pad, without randomness, for evaluation and pseudo labels.

    The output is as in `augment_policy`; original px = (network px + offset) / scale, with offset 0.
    """
    tensors = {**tensors, "image": tf.ensure_shape(tensors["image"], [None, None, 3])}
    return resize_and_crop(tensors, output_size_px=output_size_px, jitter=1.0, crop_yx_frac=tf.zeros([2]))


@functools.cache
def make_inference_resize(
    output_size_px: int,
) -> Callable[[UInt8[np.ndarray, "H W 3"]], tuple[UInt8[np.ndarray, "S S 3"], Int[np.ndarray, " 2"]]]:
    """Return `resize_for_inference` for one image: the network's input, and what the image covers of it (yx).

    Network px = image px * covered / image's size.

    Traced here, not in the threads that call it.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def resize(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tensors = {"image": image, "boxes": tf.zeros([0, 4]), "classes": tf.zeros([0], tf.int32)}
        resized = resize_for_inference(tensors, output_size_px=output_size_px)
        return resized["image"], resized["covered_px"]

    resize.get_concrete_function()
    return lambda image: tuple(tensor.numpy() for tensor in resize(image))


def _flip_some(tensors: Tensors, seed: Seed, flip_frac: float) -> Tensors:
    moving: Tensors = {key: tensors[key] for key in ("image", "boxes", *MAPS) if key in tensors}
    is_flipped = tf.random.stateless_uniform([], seed) > 1 - flip_frac
    return {**tensors, **tf.cond(is_flipped, lambda: flip_horizontal(moving), lambda: moving)}


def _find_policy(name: str) -> Policy:
    if name in POLICIES:
        return POLICIES[name]
    nearest = difflib.get_close_matches(name.lower(), POLICIES, n=1, cutoff=0.0)[0]
    raise InputError(
        f"unknown augmentation policy {name!r}; expected one of {', '.join(POLICIES)}; nearest is {nearest!r}"
    )


def _check_positive(key: str, value: Number) -> None:
    if value <= 0:
        raise InputError(f"{key} is {value}; expected more than 0")


def _check_operations(
    magnitude: Number, num_layers: int, autoaugment_version: str, reference_size_px: int | None
) -> None:
    if magnitude < 0:
        raise InputError(f"magnitude is {magnitude}; expected 0 or more (the paper uses 10 and 15)")
    if num_layers < 0:
        raise InputError(f"num_layers is {num_layers}; expected 0 or more (0 turns RandAugment off)")
    if autoaugment_version not in AUTOAUGMENT:
        raise InputError(
            f"unknown AutoAugment version {autoaugment_version!r}; expected one of {', '.join(AUTOAUGMENT)} "
            "(v0 is the published one)"
        )
    if reference_size_px is not None:
        _check_positive("reference_size_px", reference_size_px)
