"""Sizes of images that no network divides, as a config asks for them."""

import jax
import jax.numpy as jnp
import pytest

from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Category
from tests import tiny, tiny_masks

CATEGORIES = (Category(1, "one"), Category(2, "two"))


def shapes_at(config, size_px):
    """Return the shapes of the network's variables and of what it predicts for two images of this size."""
    config.image.size_px = size_px
    task = get_task(config.task).build_task(config, CATEGORIES)
    variables = jax.eval_shape(task.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, size_px, size_px, 3), jnp.float32)
    return variables, jax.eval_shape(task.predict, variables, images)


def boxes_config():
    config = tiny.get_config()
    config.model.max_level = 7
    return config


@pytest.mark.parametrize("size_px", [224, 600, 800])
def test_detectors_take_any_size_with_the_same_parameters(size_px):
    variables, found = shapes_at(boxes_config(), size_px)
    assert variables == shapes_at(boxes_config(), 640)[0]
    assert found.boxes.shape == (2, 8, 4)


@pytest.mark.parametrize("size_px", [225, 600, 800])
def test_segmenters_take_any_size_with_the_same_parameters_and_logits_of_a_quarter_of_it(size_px):
    variables, found = shapes_at(tiny_masks.get_config(), size_px)
    assert variables == shapes_at(tiny_masks.get_config(), 640)[0]
    cells = -(-size_px // 4)
    assert found.logits.shape == (2, cells, cells, 3)
