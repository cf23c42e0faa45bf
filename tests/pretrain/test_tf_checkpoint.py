import shutil

import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.tf_checkpoint import find_prefix, open_tf_checkpoint, tf_checkpoint_files
from tests.pretrain.weight_files import write_tf_checkpoint

pytestmark = pytest.mark.tf

KERNEL, MEAN = "net/conv2d/kernel", "net/bn/moving_mean"


def arrays_with_everything():
    kernel, mean = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, np.float32)
    return {
        KERNEL: kernel,
        MEAN: mean,
        f"{KERNEL}/ExponentialMovingAverage": kernel + 100,
        f"{MEAN}/ExponentialMovingAverage": mean + 100,
        f"{KERNEL}/RMSProp": kernel,
        f"{KERNEL}/RMSProp_1": kernel,
        f"{KERNEL}/Momentum": kernel,
        "global_step": np.int64(7),
        "beta1_power": np.float32(0.9),
    }


@pytest.fixture
def prefix(tmp_path):
    return write_tf_checkpoint(tmp_path / "model.ckpt-7", arrays_with_everything())


@pytest.mark.parametrize(("ema", "added"), [(False, 0), (True, 100)])
def test_the_networks_variables_come_raw_or_averaged_without_slots_and_counters(prefix, ema, added):
    arrays = open_tf_checkpoint(prefix, ema=ema)
    assert set(arrays) == {KERNEL, MEAN}
    np.testing.assert_array_equal(arrays[KERNEL], np.arange(6).reshape(2, 3) + added)
    np.testing.assert_array_equal(arrays[MEAN], np.ones(3) + added)


def test_absent_averages_are_an_error_that_says_so(tmp_path):
    arrays = arrays_with_everything()
    del arrays[f"{MEAN}/ExponentialMovingAverage"]
    prefix = write_tf_checkpoint(tmp_path / "model.ckpt", arrays)
    with pytest.raises(InputError, match=rf"no moving average of 1 of its 2 variables \({MEAN}\).*ema=False"):
        open_tf_checkpoint(prefix, ema=True)
    assert set(open_tf_checkpoint(prefix, ema=False)) == {KERNEL, MEAN}


def test_averages_alone_are_refused_as_raw_values_and_read_as_averages(tmp_path):
    arrays = {f"{KERNEL}/ExponentialMovingAverage": np.zeros(2, np.float32)}
    prefix = write_tf_checkpoint(tmp_path / "model.ckpt", arrays)
    with pytest.raises(InputError, match="ema=True"):
        open_tf_checkpoint(prefix, ema=False)
    assert set(open_tf_checkpoint(prefix, ema=True)) == {KERNEL}


def test_a_checkpoint_is_found_by_prefix_file_and_folder(prefix):
    folder = prefix.parent
    for path in (prefix, folder, *tf_checkpoint_files(prefix)):
        assert find_prefix(path) == prefix
    other = write_tf_checkpoint(folder / "model.ckpt-8", {KERNEL: np.zeros(2, np.float32)})
    with pytest.raises(InputError, match=r"found 2: model\.ckpt-7, model\.ckpt-8"):
        find_prefix(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/train/model.ckpt-8"\n')
    assert find_prefix(folder) == other


def test_what_is_no_checkpoint_is_refused_with_advice(tmp_path):
    with pytest.raises(InputError, match="unpack it"):
        find_prefix(tmp_path / "efficientnet-b7.tar.gz")
    with pytest.raises(InputError, match="found none"):
        find_prefix(tmp_path)
    with pytest.raises(InputError, match=r"model\.ckpt\.index is missing"):
        find_prefix(tmp_path / "model.ckpt")


def test_a_missing_data_file_is_noticed_at_once(prefix):
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").unlink()
    with pytest.raises(InputError, match="0 of 1 data files"):
        open_tf_checkpoint(prefix, ema=False)


def test_a_missing_shard_is_noticed_at_once(prefix):
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    shutil.move(data, prefix.with_name(f"{prefix.name}.data-00000-of-00003"))
    with pytest.raises(InputError, match="1 of 3 data files"):
        open_tf_checkpoint(prefix, ema=False)


def test_a_truncated_data_file_is_noticed_when_its_array_is_read(prefix):
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:10])
    arrays = open_tf_checkpoint(prefix, ema=False)
    assert KERNEL in arrays  # nothing is read yet
    with pytest.raises(InputError, match="truncated or damaged"):
        dict(arrays)


def test_a_damaged_index_is_refused(prefix):
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(InputError, match="not a whole checkpoint index"):
        open_tf_checkpoint(prefix, ema=False)


def test_tensorflow_2_checkpoints_are_refused_by_name(tmp_path):
    import tensorflow as tf

    path = tf.train.Checkpoint(v=tf.Variable([1.0])).save(str(tmp_path / "ckpt"))
    with pytest.raises(InputError, match="TensorFlow 2"):
        open_tf_checkpoint(path, ema=False)
