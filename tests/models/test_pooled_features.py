"""The backbone's features of an image as one vector, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models.pooled_features import covered_mean, pooled_features
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.types import FittedImages


def test_mean_is_over_the_covered_cells_by_their_covered_share():
    # Four cells of 32 px: the lower row is covered by half. (1 + 2 + (3 + 4) / 2) / 3; the left column alone.
    features = jnp.arange(1.0, 5).reshape(1, 2, 2, 1).repeat(2, 0)
    found = covered_mean(features, jnp.array([[48, 64], [64, 32]]), 64)
    np.testing.assert_allclose(found[:, 0], [(1 + 2 + 3.5) / 3, 2])


@pytest.mark.compiles
def test_features_are_the_backbones_last_map_averaged_to_length_one():
    model = make_retinanet(
        num_classes=2, backbone="resnet18", width_factor=0.125, max_level=5, fpn_channels=8
    )
    images = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
    variables = model.init(jax.random.key(1), images, train=False)
    found = pooled_features(model, variables, FittedImages(images, jnp.full((2, 2), 64)), 32)
    backbone = {name: tree["backbone"] for name, tree in variables.items()}
    expected = np.asarray(model.backbone.apply(backbone, images, train=False)[5]).mean((1, 2))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-4
