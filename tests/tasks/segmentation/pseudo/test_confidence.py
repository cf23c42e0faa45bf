import numpy as np
import pytest

from selftrain_jax.tasks.segmentation.pseudo.source import confidence_levels, mask_low_confidence
from selftrain_jax.types import IGNORED


def test_threshold_is_rounded_up_to_a_level_and_half_is_exact():
    levels = confidence_levels(np.array([0, 0.001, 1 / 256, 0.3, 0.5, 0.501, 255 / 256, 1], np.float32))
    assert levels.tolist() == [0, 1, 1, 77, 128, 129, 255, 256]


def test_kept_pixels_are_those_of_at_least_the_threshold_where_it_is_a_multiple_of_a_level():
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.uniform(0, 1, 10_000), np.arange(257) / 256])
    q = np.minimum(np.floor(256 * p), 255).astype(np.uint8)
    for threshold in np.arange(256) / 256:
        np.testing.assert_array_equal(q >= confidence_levels(np.array([threshold])), p >= threshold)


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ([0.5] * 5, [255, 3, 3, 4]),
        ([0.5, 0.5, 0.5, 0.5, 0.9], [255, 3, 3, 255]),
        ([0.0] * 5, [3, 3, 3, 4]),
        ([1.0] * 5, [255] * 4),
    ],
)
def test_pixels_below_the_level_of_their_own_class_are_ignored(thresholds, expected):
    mask = np.array([[3, 3, 3, 4]], np.uint8)
    confidence = np.array([[127, 128, 255, 200]], np.uint8)
    kept = mask_low_confidence(mask, confidence, confidence_levels(np.array(thresholds)))
    np.testing.assert_array_equal(kept, [expected])
    assert kept.dtype == np.uint8
    assert mask.max() < IGNORED, "the mask that was given is left alone"
