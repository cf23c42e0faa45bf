import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from selftrain_jax.errors import InputError
from selftrain_jax.models import spatial_sharding
from selftrain_jax.train import sharding
from selftrain_jax.train.sharding import (
    batch_sharding,
    check_batch_size,
    local_mesh,
    make_mesh,
    shard_batch,
    shard_state,
    state_sharding,
)
from tests.processes import environment


def one_device():
    return make_mesh(devices=jax.devices()[:1])


def test_mesh_takes_all_devices_along_data_unless_asked():
    assert dict(make_mesh().shape) == {"data": 2, "space": 1, "model": 1}
    assert dict(make_mesh(space=2).shape) == {"data": 1, "space": 2, "model": 1}
    assert dict(make_mesh(model=2).shape) == {"data": 1, "space": 1, "model": 2}
    assert local_mesh(make_mesh(space=2)) == make_mesh(space=2)


@pytest.mark.parametrize("axes", [{"space": 3}, {"space": 2, "model": 2}, {"model": 0}])
def test_axes_that_do_not_divide_a_hosts_devices_are_refused(axes):
    with pytest.raises(InputError, match=r"config.mesh: .*a host has 2 \(cpu\).* product divides 2"):
        make_mesh(**axes)


def test_uneven_batch_is_refused_with_the_nearest_sizes():
    check_batch_size(8, make_mesh())
    with pytest.raises(InputError, match="batch 9 is not divisible by 2 devices on axis data; use 8 or 10"):
        check_batch_size(9, make_mesh())
    with pytest.raises(InputError, match=r"use 2$"):
        check_batch_size(1, make_mesh())


def test_batch_is_split_and_keeps_its_order():
    flags = np.arange(4)
    placed = shard_batch(make_mesh(), {"flags": flags})["flags"]
    assert [shard.data.tolist() for shard in placed.addressable_shards] == [[0, 1], [2, 3]]
    np.testing.assert_array_equal(placed, flags)


def test_space_splits_rows_of_images_and_masks_and_nothing_else():
    batch = {
        "images": np.arange(2 * 8 * 4 * 3, dtype=np.float32).reshape(2, 8, 4, 3),
        "masks": np.zeros((2, 8, 4), np.uint8),
        "boxes": np.zeros((2, 6, 4), np.float32),
        "classes": np.zeros((2, 8), np.int32),
    }
    mesh = make_mesh(space=2)
    specs = {name: found.spec for name, found in batch_sharding(mesh, batch).items()}
    rows, examples = PartitionSpec(("data", "model"), "space"), PartitionSpec(("data", "model"))
    assert specs == {"images": rows, "masks": rows, "boxes": examples, "classes": examples}
    images = shard_batch(mesh, batch)["images"]
    assert [shard.data.shape for shard in images.addressable_shards] == [(2, 4, 4, 3)] * 2
    np.testing.assert_array_equal(images, batch["images"])
    odd = {"images": np.zeros((2, 7, 4, 3), np.float32)}
    assert batch_sharding(mesh, odd)["images"].spec == examples


def test_model_splits_the_largest_side_of_large_tensors_alone():
    mesh = make_mesh(model=2)
    assert sharding.LARGE == 512 * 512
    assert state_sharding(mesh, (3, 3, 256, 512)).spec == PartitionSpec(None, None, None, "model")
    assert state_sharding(mesh, (1024, 256)).spec == PartitionSpec("model")
    assert state_sharding(mesh, (512, 511)).spec == PartitionSpec()
    assert state_sharding(mesh, (5, 100_001)).spec == PartitionSpec()  # no two equal parts
    assert state_sharding(mesh, ()).spec == PartitionSpec()
    assert state_sharding(make_mesh(), (1024, 1024)).spec == PartitionSpec()


@pytest.mark.parametrize("axes", [{}, {"model": 2}, {"devices": jax.devices()[:1]}])
def test_giving_a_placed_state_away_leaves_the_original(axes):
    mesh = make_mesh(**axes)
    original = {"w": jax.numpy.ones((512, 512)), "rng": jax.random.key(1)}
    first = shard_state(mesh, original)
    second = shard_state(mesh, first)
    assert second["w"].sharding == state_sharding(mesh, (512, 512))
    changed = jax.jit(lambda tree: {**tree, "w": tree["w"] + 1}, donate_argnums=0)(second)
    assert second["w"].is_deleted()
    np.testing.assert_array_equal(changed["w"], 2)
    np.testing.assert_array_equal(first["w"], original["w"])
    assert jax.random.key_data(first["rng"]).tolist() == jax.random.key_data(original["rng"]).tolist()
    jax.jit(lambda tree: {**tree, "w": tree["w"] + 1}, donate_argnums=0)(first)
    assert first["w"].is_deleted()
    np.testing.assert_array_equal(original["w"], 1)


def on_eight_devices(module: str, *arguments: str) -> str:
    """Run in a process of its own: the number of fake devices is fixed when JAX starts."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.train.{module}", *arguments],
        env=environment(num_devices=8),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


ALL_AXES = "data 2 x space 2 x model 2"


EACH_AXIS = ["data 8", "data 4 x space 2", "data 4 x model 2"]


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("task", "size_px", "meshes"),
    [
        pytest.param("detection", 64, [ALL_AXES], id="detection"),
        pytest.param("detection", 64, EACH_AXIS, id="detection-each", marks=pytest.mark.slow),
        pytest.param("segmentation", 64, [*EACH_AXIS, ALL_AXES], id="segmentation", marks=pytest.mark.slow),
        # The network pads these to 64: rows that are split before, and rows that cannot be.
        pytest.param("detection", 56, [ALL_AXES], id="detection-56", marks=pytest.mark.slow),
        pytest.param("segmentation", 57, [ALL_AXES], id="segmentation-57", marks=pytest.mark.slow),
    ],
)
def test_five_steps_on_eight_devices_equal_one_device(task, size_px, meshes):
    printed = on_eight_devices("sharded_steps", task, str(size_px), *meshes)
    assert printed.count(" equal") == len(meshes), printed


@pytest.mark.compiles
@pytest.mark.parametrize("rows", [("4",), pytest.param(("7", "16"), marks=pytest.mark.slow)])
def test_convolutions_with_split_rows_equal_whole_ones(rows):
    """Of XLA's partitioner: with fewer rows a device it gives false gradients, or aborts."""
    assert spatial_sharding.MIN_ROWS == 4
    assert on_eight_devices("sharded_convolutions", *rows) == "equal\n"


@pytest.mark.parametrize(("num_rows", "spec"), [(8, (("data", "model"), "space")), (6, (("data", "model"),))])
def test_coarse_maps_are_kept_whole(num_rows, spec):
    with spatial_sharding.split_rows_over(make_mesh(space=2)):
        traced = jax.make_jaxpr(spatial_sharding.shard_rows)(np.zeros((2, num_rows, 8, 3), np.float32))
    assert traced.eqns[0].params["sharding"].spec == PartitionSpec(*spec)


def test_an_uneven_batch_over_data_and_model_is_refused():
    with pytest.raises(InputError, match="3 is not divisible by 2 devices on axes data x model; use 2 or 4"):
        check_batch_size(3, make_mesh(model=2))
