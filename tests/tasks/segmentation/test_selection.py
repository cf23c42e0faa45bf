"""What a mask says of an image, worked out by hand."""

import numpy as np
import pytest

from configs import common
from selftrain_jax.tasks.segmentation.selection import draw_labels, score_mask
from selftrain_jax.types import Category


def labels(mask, confidence):
    arrays = {"mask": np.array(mask, np.uint8), "confidence": np.array(confidence, np.uint8)}
    return {"image_id": "a", "is_pseudo": True, **arrays}


def test_uncertainty_is_one_less_the_mean_confidence_and_presence_is_the_confident_share():
    # Levels 127, 127, 255, 63 are 127.5, 127.5, 255.5, 63.5 of 256.
    found = score_mask(labels([[0, 2], [2, 2]], [[127, 127], [255, 63]]), 4)
    assert found.uncertainty == pytest.approx(1 - (127.5 + 127.5 + 255.5 + 63.5) / 4 / 256)
    np.testing.assert_allclose(found.presence, [127.5 / 4 / 256, 0, (127.5 + 255.5 + 63.5) / 4 / 256, 0])


def test_sure_image_is_less_uncertain():
    sure, unsure = (score_mask(labels([[1]], [[level]]), 2).uncertainty for level in (255, 10))
    assert sure == pytest.approx(1 / 512)
    assert unsure > sure


def test_pixels_below_the_threshold_are_hatched():
    config, image = common.get_config(), np.full((40, 40, 3), 100, np.uint8)
    categories = (Category(0, "background"), Category(1, "cat"))
    whole = np.ones((40, 40))
    sure, unsure = (
        draw_labels(config, image, labels(whole, whole * level), categories, 40) for level in (200, 20)
    )
    assert sure.shape == (40, 40, 3)
    assert len(np.unique(sure[-4:].reshape(-1, 3), axis=0)) < len(
        np.unique(unsure[-4:].reshape(-1, 3), axis=0)
    )
