import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.input_normalization import (
    MEAN_RGB,
    STDDEV_RGB,
    fitted_images,
    normalize,
    take_pixels,
)
from selftrain_jax.types import Batch, ClassTargets, FittedImages, LossTerms, Task

COVERED_PX = np.array([[8, 8], [3, 7], [0, 8]], np.int32)


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, channels), np.uint8)


def by_loop(pixels: np.ndarray, covered_px: np.ndarray) -> np.ndarray:
    """Normalise pixel by pixel in float64."""
    result = np.zeros(pixels.shape)
    for image, (height, width) in enumerate(covered_px):
        for y in range(height):
            for x in range(width):
                result[image, y, x] = (pixels[image, y, x] / 255 - np.array(MEAN_RGB)) / np.array(STDDEV_RGB)
    return result


def test_every_level_equals_the_formula_within_rounding() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    found = normalize(FittedImages(levels, np.array([[16, 16]], np.int32)))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, by_loop(levels, [[16, 16]]), atol=5e-7)


def test_padding_is_zero_whatever_its_pixels_are() -> None:
    found = jax.jit(normalize)(FittedImages(images(), COVERED_PX))
    np.testing.assert_allclose(found, by_loop(images(), COVERED_PX), atol=5e-7)
    assert not np.any(found[1, 3:])
    assert not np.any(found[1, :, 7:])
    assert not np.any(found[2])


def test_normalised_mean_colour_is_zero_and_one_deviation_is_one() -> None:
    mean, stddev = np.array(MEAN_RGB) * 255, np.array(STDDEV_RGB) * 255
    values = np.stack([mean, mean + stddev])[None, None].astype(np.float32)
    found = normalize(FittedImages(values, np.array([[1, 2]])))
    np.testing.assert_allclose(found, [[[[0, 0, 0], [1, 1, 1]]]], atol=1e-6)


def seen_by(kind: str) -> np.ndarray:
    """What a task is given, by each of its functions."""
    seen = {}

    def loss(variables, batch, rng):
        assert batch.covered_px is None
        seen["loss"], second = batch.images, batch.auxiliary
        seen["auxiliary"] = second.images
        return LossTerms(*[jnp.zeros(())] * 4, {}), {}

    def predict(variables, normalized):
        seen["predict"] = normalized

    def features(variables, fitted):
        np.testing.assert_array_equal(fitted.covered_px, COVERED_PX)
        seen["features"] = fitted.images
        return jnp.zeros((3, 1))

    task = take_pixels(Task(lambda rng: {}, loss, predict, features))
    fitted = FittedImages(images(), COVERED_PX)
    second = Batch(255 - images(), ClassTargets(np.zeros(3)), np.zeros(3, bool), covered_px=COVERED_PX)
    task.loss({}, second._replace(images=images(), auxiliary=second), jax.random.key(0))
    task.predict({}, fitted)
    task.features({}, fitted)
    return np.asarray(seen[kind])


@pytest.mark.parametrize("kind", ["loss", "predict", "features", "auxiliary"])
def test_a_tasks_functions_see_the_same_normalised_images(kind: str) -> None:
    pixels = 255 - images() if kind == "auxiliary" else images()
    np.testing.assert_allclose(seen_by(kind), by_loop(pixels, COVERED_PX), atol=5e-7)


def test_a_task_without_features_still_has_none() -> None:
    assert take_pixels(Task(lambda rng: {}, lambda *_: None, lambda *_: None)).features is None


def test_images_are_not_normalised_twice() -> None:
    batch = Batch(images(), ClassTargets(np.zeros(3)), np.zeros(3, bool))
    with pytest.raises(AssertionError, match="normalised already"):
        fitted_images(batch)
