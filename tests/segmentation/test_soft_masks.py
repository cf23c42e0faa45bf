"""Soft masks: the best classes against loops, the cross entropy against a slow one, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.segmentation.losses import RESOLUTIONS, pixel_losses
from selftrain_jax.segmentation.multi_scale import label_pixels
from tests.segmentation.test_multi_scale import (
    CANVAS_PX,
    SCALED_PX,
    TARGET_PX,
    make_logits,
    resample_both,
    softmax,
)

RANDOM = np.random.default_rng(2)
LOGITS = jnp.asarray(RANDOM.normal(size=(2, 2, 3, 5)) * 3, jnp.float32)
MASKS = RANDOM.integers(0, 5, (2, 8, 12)).astype(np.uint8)
MASKS[RANDOM.uniform(size=MASKS.shape) < 0.3] = 255
losses = jax.jit(pixel_losses, static_argnums=2)


def draw_soft() -> np.ndarray:
    """Two other classes a pixel, the third without a share in the second image."""
    shares = RANDOM.integers(0, 120, (2, 8, 12, 2))
    shares[1, ..., 1] = 0
    classes = RANDOM.integers(0, 5, shares.shape)
    return np.stack([classes[..., 0], shares[..., 0], classes[..., 1], shares[..., 1]], -1).astype(np.uint8)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_with_one_hot_probabilities_it_is_the_hard_loss(resolution: str) -> None:
    soft = draw_soft()
    soft[..., 1::2] = 0
    hard, valid = losses(LOGITS, jnp.asarray(MASKS), resolution)
    found, same = losses(LOGITS, jnp.asarray(MASKS), resolution, jnp.asarray(soft))
    np.testing.assert_allclose(found, hard, rtol=1e-6)
    np.testing.assert_array_equal(same, valid)


def test_it_is_the_cross_entropy_with_the_shares_pixel_by_pixel() -> None:
    soft = draw_soft()
    found, valid = losses(LOGITS, jnp.asarray(MASKS), "stride4", jnp.asarray(soft))
    for (b, y, x), is_valid in np.ndenumerate(np.asarray(valid)):
        probability = softmax(np.float64(LOGITS[b, y, x]))
        best, (second, p2, third, p3) = MASKS[b, 4 * y, 4 * x], soft[b, 4 * y, 4 * x].tolist()
        assert is_valid == (best != 255)
        target = np.zeros(5)
        for class_id, share in ((best, 255 - p2 - p3), (second, p2), (third, p3)):
            target[class_id if class_id != 255 else 0] += share / 255
        expected = -(target * np.log(probability)).sum() if is_valid else 0.0
        np.testing.assert_allclose(found[b, y, x], expected, rtol=1e-5, atol=1e-6)


def test_its_gradient_vanishes_where_the_network_says_the_target() -> None:
    soft = jnp.array([[[[2, 51, 4, 51]]]], jnp.uint8)  # 0.6, 0.2, 0.2
    logits = jnp.log(jnp.array([1e-9, 0.6, 0.2, 1e-9, 0.2]))[None, None, None]
    mask = jnp.ones((1, 1, 1), jnp.uint8)
    gradient = jax.grad(lambda logits: pixel_losses(logits, mask, "stride4", soft)[0].sum())(logits)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


@pytest.mark.parametrize("top_k", [2, 3])
def test_runners_up_are_the_next_best_classes_of_the_averaged_probabilities(top_k: int) -> None:
    logits, mirrored = make_logits(), (False, True)
    jitted = jax.jit(label_pixels, static_argnums=(3, 4, 5))
    found = jitted(logits, SCALED_PX, TARGET_PX, CANVAS_PX, mirrored, top_k)
    plain = jitted(logits, SCALED_PX, TARGET_PX, CANVAS_PX, mirrored, 1)
    np.testing.assert_array_equal(found.classes, plain.classes)
    np.testing.assert_array_equal(found.confidence, plain.confidence)
    assert found.runners_up.shape == (3, CANVAS_PX, CANVAS_PX, 2 * (top_k - 1))
    assert plain.runners_up is None
    for image, target in enumerate(TARGET_PX):
        views = [
            softmax(resample_both(view[image].astype(np.float64), SCALED_PX[image, i], target))
            for i, view in enumerate(logits)
        ]
        mean = np.mean([views[0], views[1][:, ::-1]], axis=0)
        order = np.argsort(-mean, axis=-1)
        values = np.take_along_axis(mean, order, axis=-1)
        clear = (-np.diff(values[..., : top_k + 1]) > 1e-5).all(axis=-1)
        assert clear.mean() > 0.99
        rest = np.asarray(found.runners_up[image])[: target[0], : target[1]]
        for rank in range(1, top_k):
            np.testing.assert_array_equal(rest[..., 2 * rank - 2][clear], order[..., rank][clear])
            exact = clear & (np.abs(256 * values[..., rank] - np.round(256 * values[..., rank])) > 1e-2)
            np.testing.assert_array_equal(
                rest[..., 2 * rank - 1][exact], np.floor(256 * values[..., rank])[exact]
            )


def test_runners_up_on_two_devices_are_those_of_one() -> None:
    logits = [np.concatenate([view, view[:1]]) for view in make_logits()]
    scaled, target = (np.concatenate([sizes, sizes[:1]]) for sizes in (SCALED_PX, TARGET_PX))
    mesh = jax.make_mesh((2,), ("data",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    label = jax.jit(label_pixels, static_argnums=(3, 4, 5))
    placed = jax.device_put((logits, scaled, target), split)
    found = label(*placed, CANVAS_PX, (False, False), 2)
    alone = label(logits, scaled, target, CANVAS_PX, (False, False), 2)
    for ours, theirs in zip(found, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)
