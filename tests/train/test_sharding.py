import jax
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.train.sharding import check_batch_size, make_mesh, replicate, shard_batch


def test_mesh_takes_all_devices_or_as_many_as_asked():
    assert dict(make_mesh().shape) == {"data": 2}
    assert dict(make_mesh(1).shape) == {"data": 1}


@pytest.mark.parametrize("num_devices", [0, 3])
def test_mesh_of_devices_that_are_not_there_is_refused(num_devices):
    with pytest.raises(InputError, match="2 found"):
        make_mesh(num_devices)


def test_uneven_batch_is_refused_with_the_nearest_sizes():
    check_batch_size(8, make_mesh())
    with pytest.raises(InputError, match="batch 9 is not divisible by 2 devices on axis data; use 8 or 10"):
        check_batch_size(9, make_mesh())
    with pytest.raises(InputError, match=r"use 2$"):
        check_batch_size(1, make_mesh())


def test_batch_is_split_and_keeps_its_order():
    images = np.arange(8, dtype=np.float32).reshape(4, 2)
    placed = shard_batch(make_mesh(), {"images": images})["images"]
    assert [shard.data.shape for shard in placed.addressable_shards] == [(2, 2), (2, 2)]
    np.testing.assert_array_equal(placed, images)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_giving_a_replica_away_leaves_the_original(num_devices):
    mesh = make_mesh(num_devices)
    original = {"w": jax.numpy.ones(3), "rng": jax.random.key(1)}
    first = replicate(mesh, original)
    second = replicate(mesh, first)
    jax.jit(lambda tree: tree, donate_argnums=0)(second)
    np.testing.assert_array_equal(first["w"], original["w"])
    assert jax.random.key_data(first["rng"]).tolist() == jax.random.key_data(original["rng"]).tolist()
