"""SimCLR's two views: different, repeatable by seed, in range, and each change as its formula has it."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import contrastive_views as views
from selftrain_jax.augment.contrastive_views import augment_views
from selftrain_jax.errors import InputError

pytestmark = pytest.mark.tf
PX = 32


@pytest.fixture(scope="module")
def image() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))


def random_pixels(side: int = PX, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(side, side, 3)).astype(np.float32)


def test_views_differ_and_depend_on_the_seed_alone(image, in_dataset) -> None:
    augment = augment_views(output_size_px=PX)
    seeds = [tf.constant([4, number]) for number in range(4)]
    found = in_dataset(
        lambda x: augment({"image": x["image"]}, x["seed"]), *({"image": image, "seed": s} for s in seeds)
    )
    for seed, one in zip(seeds, found, strict=True):
        assert one["image"].shape == (2 * PX, PX, 3)
        assert one["image"].dtype == np.uint8
        assert (one["image"][:PX] != one["image"][PX:]).mean() > 0.5
        np.testing.assert_array_equal(augment({"image": image}, seed)["image"], one["image"])
    assert (found[0]["image"] != found[1]["image"]).mean() > 0.5


def test_without_changes_both_views_are_the_image() -> None:
    image = tf.constant((255 * random_pixels()).astype(np.uint8))
    augment = augment_views(
        output_size_px=PX, min_area_frac=1.0, flip_frac=0.0, jitter_strength=0.0, blur_frac=0.0
    )
    for number in range(30):
        both = augment({"image": image, "other": 3}, tf.constant([0, number]))
        for view in np.split(both["image"].numpy(), 2):
            is_grey = (view == view[..., :1]).all()
            assert is_grey or np.array_equal(view, image)
        assert both["other"] == 3


def test_shares_of_grey_flipped_and_jittered_views(over_seeds) -> None:
    """Of 1,000 a share p has a deviation of at most 0.016."""
    pixels = tf.constant(random_pixels(8))

    def run(seed):
        return views.distort_colours(pixels, seed, 0.5)

    found = over_seeds(run, 1000)
    is_grey = np.ptp(found, axis=-1).max(axis=(1, 2)) < 1e-6
    is_same = np.abs(found - pixels).max(axis=(1, 2, 3)) < 1e-6
    assert is_grey.mean() == pytest.approx(0.2, abs=0.05)
    assert is_same.mean() == pytest.approx(0.2 * 0.8, abs=0.05)
    assert found.min() >= 0
    assert found.max() <= 1


def test_jitter_of_a_grey_image_is_a_factor_within_the_strength(over_seeds) -> None:
    """An even grey has no contrast, saturation or hue: only its brightness changes, by 1 ± 0.8 / 2."""
    grey = tf.fill([4, 4, 3], 0.5)
    found = over_seeds(lambda seed: views.jitter_colours(grey, seed, 0.5), 400)
    factors = found.mean(axis=(1, 2, 3)) / 0.5
    assert np.abs(np.ptp(found, axis=(1, 2, 3))).max() < 1e-5
    assert 0.6 - 1e-5 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.4 + 1e-5
    assert factors.mean() == pytest.approx(1, abs=0.04)


def test_each_change_is_its_formula() -> None:
    pixels = random_pixels(4)
    draws = [tf.constant(value) for value in (0.3, -0.4, 0.5, 0.1)]
    bright, contrast, saturated, hue = (
        views._change(tf.constant(which), tf.constant(pixels), draws).numpy() for which in range(4)
    )
    np.testing.assert_allclose(bright, 1.3 * pixels, rtol=1e-6)
    mean = pixels.mean(axis=(0, 1))
    np.testing.assert_allclose(contrast, mean + 0.6 * (pixels - mean), rtol=1e-5)
    for y in range(4):
        for x in range(4):
            h, s, v = colorsys.rgb_to_hsv(*pixels[y, x])
            expected = colorsys.hsv_to_rgb(h, min(1.5 * s, 1), v)
            np.testing.assert_allclose(saturated[y, x], expected, atol=1e-5)
            np.testing.assert_allclose(hue[y, x], colorsys.hsv_to_rgb((h + 0.1) % 1, s, v), atol=1e-5)


def test_blur_is_a_convolution_with_a_gaussian() -> None:
    from scipy.ndimage import correlate1d

    pixels = random_pixels()
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    expected = correlate1d(pixels, weights, axis=0, mode="constant")
    expected = correlate1d(expected, weights, axis=1, mode="constant")
    np.testing.assert_allclose(views.gaussian_blur(tf.constant(pixels), 3, 1.5), expected, atol=1e-6)


def test_kernel_is_a_tenth_of_the_image(monkeypatch) -> None:
    asked = []

    def note(image, radius_px, sigma_px):
        asked.append((radius_px, float(sigma_px)))
        return image

    monkeypatch.setattr(views, "gaussian_blur", note)
    for side in (224, 64, 32):
        for number in range(20):
            views.random_blur(tf.zeros([side, side, 3]), tf.constant([0, number]))
    assert [radius for radius, _ in asked[::20]] == [11, 3, 1]
    sigmas = [sigma for _, sigma in asked]
    assert 0.1 <= min(sigmas) < 0.5
    assert 1.6 < max(sigmas) <= 2.0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"jitter_strength": 1.3}, r"jitter_strength is 1\.3; expected 0 \(off\) to 1\.25"),
        ({"jitter_strength": -0.1}, "jitter_strength is -0.1"),
        ({"blur_frac": 1.5}, "blur_frac is 1.5"),
        ({"min_area_frac": 0.0}, "min_area_frac is 0;"),
    ],
)
def test_values_outside_their_range_are_refused(setting, words: str) -> None:
    with pytest.raises(InputError, match=words):
        augment_views(output_size_px=PX, **setting)
