import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from selftrain_jax.errors import InputError
from selftrain_jax.models.input_padding import pad_images, padded_size
from selftrain_jax.models.spatial_sharding import split_rows_over
from selftrain_jax.train.sharding import make_mesh


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [(224, 128, 256), (600, 128, 640), (800, 128, 896), (640, 128, 640), (1, 128, 128), (600, 32, 608)],
)
def test_padded_size_is_the_next_multiple(size, stride, expected):
    assert padded_size(size, stride) == expected


@pytest.mark.parametrize("size", [0, -64])
def test_an_image_without_a_pixel_is_refused(size):
    with pytest.raises(InputError, match=f"image_size_px is {size}; expected at least 1, such as 512"):
        padded_size(size, 128)


def test_zeros_are_added_below_and_to_the_right_each_axis_on_its_own():
    images = np.random.default_rng(0).normal(size=(2, 9, 16, 3)).astype(np.float32)
    padded = np.asarray(pad_images(jnp.asarray(images), 8))
    assert padded.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(padded[:, :9], images)
    np.testing.assert_array_equal(padded[:, 9:], 0)


def test_images_that_fit_are_not_touched():
    images = jnp.ones((1, 16, 24, 3))
    assert pad_images(images, 8) is images


def test_rows_are_split_evenly_after_the_padding():
    images = jnp.zeros((2, 9, 9, 3))
    with split_rows_over(make_mesh(space=2)):
        traced = jax.make_jaxpr(lambda images: pad_images(images, 8))(images)
    assert traced.eqns[-1].params["sharding"].spec == PartitionSpec(("data", "model"), "space")
    assert traced.out_avals[0].shape == (2, 16, 16, 3)
