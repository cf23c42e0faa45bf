"""Cross-entropy over pixels: the authors' numbers, a loop over pixels, what is ignored, sources apart."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.segmentation import losses
from selftrain_jax.segmentation.losses import RESOLUTIONS

# Compiled as a whole, which takes less time than each operation alone.
pixel_losses = jax.jit(losses.pixel_losses, static_argnums=2)
source_loss, pixel_hits = jax.jit(losses.source_loss), jax.jit(losses.pixel_hits)
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "segmentation.json").read_text())
RANDOM = np.random.default_rng(0)
LOGITS = jnp.asarray(RANDOM.normal(size=(3, 2, 3, 4)) * 3, jnp.float32)
MASKS = RANDOM.integers(0, 4, (3, 8, 10)).astype(np.uint8)  # two columns fewer than the cells cover
MASKS[RANDOM.uniform(size=MASKS.shape) < 0.3] = 255
MASKS[0, 0, 0] = 2


def golden_inputs():
    logits = np.random.RandomState(4).randn(2, 8, 8, 21).astype(np.float32)
    masks = np.random.RandomState(5).randint(0, 21, (2, 32, 32))
    masks[:, :9] = 255
    return jnp.asarray(logits), jnp.asarray(masks, jnp.uint8)


@pytest.mark.parametrize(
    ("resolution", "name"), [("stride4", "loss_label_resized"), ("full", "loss_logits_resized")]
)
def test_loss_is_the_authors(resolution, name) -> None:
    logits, masks = golden_inputs()
    found = source_loss(*pixel_losses(logits, masks, resolution), jnp.array([True, True]))
    np.testing.assert_allclose(found.loss, GOLDEN[name], rtol=1e-6)


def logits_at(logits, y, x):
    """Interpolate between the four cells around y / 4, x / 4; beyond the last there is the last."""
    (row, column), (height, width) = (y // 4, x // 4), logits.shape[:2]
    below, right = min(row + 1, height - 1), min(column + 1, width - 1)
    down, across = y / 4 - row, x / 4 - column
    top = (1 - across) * logits[row, column] + across * logits[row, right]
    bottom = (1 - across) * logits[below, column] + across * logits[below, right]
    return (1 - down) * top + down * bottom


@pytest.mark.parametrize(("resolution", "step"), [("stride4", 4), ("full", 1)])
def test_loss_is_minus_the_log_probability_of_the_class_pixel_by_pixel(resolution, step) -> None:
    each, valid = pixel_losses(LOGITS, jnp.asarray(MASKS), resolution)
    sampled = MASKS[:, ::step, ::step]
    np.testing.assert_array_equal(valid, sampled != 255)
    for (b, y, x), k in np.ndenumerate(sampled):
        scores = np.exp(logits_at(np.float64(LOGITS[b]), y * step, x * step))
        expected = 0 if k == 255 else -np.log(scores[k] / scores.sum())
        np.testing.assert_allclose(each[b, y, x], expected, rtol=1e-5, atol=1e-6)


def test_weights_of_classes_multiply_the_terms_of_hard_and_of_soft_targets() -> None:
    weights = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
    by_image = np.tile(weights, (3, 1))
    plain, _ = pixel_losses(LOGITS, jnp.asarray(MASKS), "stride4")
    weighted, valid = pixel_losses(LOGITS, jnp.asarray(MASKS), "stride4", None, by_image)
    sampled = MASKS[:, ::4, ::4]
    of_class = np.where(sampled == 255, 0, weights[np.minimum(sampled, 3)])
    np.testing.assert_allclose(weighted, of_class * plain, rtol=1e-6)
    soft = np.zeros((*MASKS.shape, 4), np.uint8)
    soft[..., 0], soft[..., 1] = (MASKS + 1) % 4, 51  # a fifth is the next class
    weighted, _ = pixel_losses(LOGITS, jnp.asarray(MASKS), "stride4", jnp.asarray(soft), by_image)
    log = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True))
    for (b, y, x), k in np.ndenumerate(sampled):
        if k != 255:
            more = (int(k) + 1) % 4
            expected = -0.8 * weights[k] * log[b, y, x, k] - 0.2 * weights[more] * log[b, y, x, more]
            np.testing.assert_allclose(weighted[b, y, x], expected, rtol=1e-5)
    assert (np.asarray(weighted)[~np.asarray(valid)] == 0).all()


def test_equal_logits_cost_the_log_of_the_number_of_classes() -> None:
    each, valid = pixel_losses(jnp.ones((3, 2, 3, 4)), jnp.asarray(MASKS), "full")
    np.testing.assert_allclose(each[valid], np.log(4), rtol=1e-6)


def test_full_resolution_of_masks_known_at_every_4th_pixel_is_stride_4() -> None:
    sparse = np.full_like(MASKS, 255)
    sparse[:, ::4, ::4] = MASKS[:, ::4, ::4]
    full, valid = pixel_losses(LOGITS, jnp.asarray(sparse), "full")
    assert valid.sum() == (MASKS[:, ::4, ::4] != 255).sum()
    expected, _ = pixel_losses(LOGITS, jnp.asarray(MASKS), "stride4")
    np.testing.assert_allclose(full[:, ::4, ::4], expected, rtol=1e-5)


@partial(jax.jit, static_argnums=2)
@jax.value_and_grad
def loss_and_gradient(logits, masks, resolution):
    return source_loss(*pixel_losses(logits, masks, resolution), jnp.ones(len(masks), bool)).loss


@pytest.mark.parametrize("resolution", ["stride4", "full"])
def test_the_weight_of_a_pixel_multiplies_its_loss(resolution: str) -> None:
    masks = jnp.asarray(MASKS)
    plain, valid = pixel_losses(LOGITS, masks, resolution)
    weight = np.random.default_rng(5).integers(0, 256, (*MASKS.shape, 1)).astype(np.uint8)
    found, same = pixel_losses(LOGITS, masks, resolution, weight=jnp.asarray(weight))
    step = 4 if resolution == "stride4" else 1
    np.testing.assert_allclose(found, plain * (weight[:, ::step, ::step, 0] / 255), rtol=1e-6)
    np.testing.assert_array_equal(same, valid)
    full, _ = pixel_losses(LOGITS, masks, resolution, weight=jnp.full_like(weight, 255))
    np.testing.assert_array_equal(full, plain)


def test_gradient_is_softmax_minus_one_over_valid_pixels_and_0_where_ignored() -> None:
    masks = jnp.asarray(MASKS)
    _, gradient = loss_and_gradient(LOGITS, masks, "stride4")
    classes = MASKS[:, ::4, ::4]
    expected = np.array(jax.nn.softmax(LOGITS)) - (classes[..., None] == np.arange(4))
    expected = np.where(classes[..., None] == 255, 0, expected) / (classes != 255).sum()
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)
    assert (np.array(gradient)[classes == 255] == 0).all()
    assert (classes == 255).any()


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_all_ignored_is_0_with_zero_gradient(resolution) -> None:
    ignored = jnp.full(MASKS.shape, 255, jnp.uint8)
    value, gradient = loss_and_gradient(LOGITS, ignored, resolution)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_loss_and_gradient_are_finite_for_certain_answers() -> None:
    logits = jnp.zeros((1, 1, 2, 2)).at[0, 0, :, 0].set(1e4)
    masks = jnp.array([[[0, 255, 255, 255, 1]]], jnp.uint8)
    value, gradient = loss_and_gradient(logits, masks, "stride4")
    assert value == 5e3
    np.testing.assert_array_equal(gradient, [[[[0, 0], [0.5, -0.5]]]])


def test_class_that_the_logits_lack_is_not_a_number() -> None:
    masks = jnp.asarray(MASKS).at[1, 4, 4].set(4)
    each, valid = pixel_losses(LOGITS, masks, "stride4")
    assert valid[1, 1, 1]
    assert np.argwhere(np.isnan(each)).tolist() == [[1, 1, 1]]


LOSSES = jnp.array([[[1.0, 2.0]], [[4.0, 8.0]], [[16.0, 32.0]], [[64.0, 0.0]]])
VALID = jnp.array([[[True, True]], [[True, False]], [[False, True]], [[False, False]]])
IS_PSEUDO = jnp.array([False, True, False, True])


def test_source_loss_by_hand() -> None:
    human, pseudo = source_loss(LOSSES, VALID, ~IS_PSEUDO), source_loss(LOSSES, VALID, IS_PSEUDO)
    np.testing.assert_allclose(human, [(1 + 2 + 32) / 3, 3, 2], rtol=1e-6)
    np.testing.assert_allclose(pseudo, [4, 1, 1])


def test_mixed_batch_gives_each_source_what_it_has_alone() -> None:
    each, valid = map(np.asarray, pixel_losses(LOGITS, jnp.asarray(MASKS), "full"))
    for mask in ([True, False, True], [False, True, False]):
        keep = np.flatnonzero(mask)
        mixed = source_loss(each, valid, np.array(mask))
        alone = source_loss(each[keep], valid[keep], np.ones(len(keep), bool))
        np.testing.assert_allclose(mixed, alone, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_absent_source_is_0_with_zero_gradient_whatever_the_other_holds(bad) -> None:
    def total(each):
        return source_loss(each, VALID, jnp.zeros(4, bool)).loss

    value, gradient = jax.value_and_grad(total)(LOSSES.at[0, 0, 0].set(bad))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_hits_are_the_best_class_at_every_4th_pixel() -> None:
    hits, valid = pixel_hits(LOGITS, jnp.asarray(MASKS))
    for (b, y, x), k in np.ndenumerate(MASKS[:, ::4, ::4]):
        assert valid[b, y, x] == (k != 255)
        assert hits[b, y, x] == (np.argmax(LOGITS[b, y, x]) == k)
    assert 0 < hits.sum() < valid.sum()
