import numpy as np
import pytest

from selftrain_jax.pretrain.import_variables import AXES, Slot, file_shape, from_file

SHAPES = {"depthwise": (3, 3, 6, 1), "conv_torch": (6, 4, 3, 5), "dense_torch": (6, 4)}
SHAPES |= {"depthwise_torch": (6, 1, 3, 5), "none": (3, 5, 4, 6)}


@pytest.mark.parametrize("transform", SHAPES)
def test_transform_is_undone_and_foretells_the_files_shape(transform):
    array = np.random.default_rng(0).normal(size=SHAPES[transform])
    ours = from_file(array, transform)
    undone = ours if transform == "none" else np.transpose(ours, np.argsort(AXES[transform]))
    np.testing.assert_array_equal(undone, array)
    assert file_shape(ours.shape, transform) == array.shape


def test_every_transform_is_tested():
    assert set(SHAPES) == {"none", *AXES}


def test_transform_puts_each_weight_in_its_place():
    array = np.random.default_rng(0).normal(size=(6, 4, 3, 5))
    assert from_file(array, "conv_torch")[1, 2, 3, 4] == array[4, 3, 1, 2]
    assert from_file(array[:, :1], "depthwise_torch")[1, 2, 0, 5] == array[5, 0, 1, 2]
    assert from_file(array[:, :, :, :1], "depthwise")[5, 3, 0, 2] == array[5, 3, 2, 0]
    assert from_file(array[0, 0], "dense_torch")[4, 2] == array[0, 0, 2, 4]
    assert from_file(array, "none") is array


def test_slot_is_written_as_a_path():
    assert str(Slot("batch_stats", ("backbone", "stem_bn", "mean"))) == "batch_stats/backbone/stem_bn/mean"
