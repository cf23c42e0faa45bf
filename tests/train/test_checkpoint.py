import errno
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.named_arrays import digest
from selftrain_jax.selftrain.loss_norm import plain_loss
from selftrain_jax.train import checkpoint_files
from selftrain_jax.train.checkpoint import Checkpoints, find_step, restore_variables, training_secs
from selftrain_jax.train.optimizer import adamw, momentum_sgd
from selftrain_jax.train.sharding import make_mesh, shard_shapes, shard_state
from selftrain_jax.train.state import create_state
from tests.train.toy import assert_same, make_task

TASK = make_task()


def state_at(step, *, task=TASK, with_ema=False, clip_norm=0.0, optimizer=momentum_sgd):
    tx = optimizer(weight_decay=1e-4, clip_norm=clip_norm)
    state = create_state(task, tx, plain_loss(1.0), jax.random.key(step), with_ema)
    state = state._replace(step=jnp.int32(step))
    if with_ema:
        state = state._replace(ema=jax.tree.map(lambda w: w + 1, state.ema))
    return shard_state(make_mesh(), state)


def save(directory, scores, keep=2, **options):
    with Checkpoints(directory, keep=keep) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(state_at(step, **options), score=score, training_secs=10.0 * step)


def steps_in(directory):
    return sorted(int(path.name) for path in (directory / "checkpoints").iterdir())


@pytest.mark.parametrize("options", [{}, {"with_ema": True}, {"optimizer": adamw}])
def test_state_comes_back_bit_for_bit(tmp_path, options):
    save(tmp_path, {3: None, 7: None}, **options)
    with Checkpoints(tmp_path) as checkpoints:
        state, secs = checkpoints.restore_latest(state_at(0, **options))
    assert_same(state, state_at(7, **options))
    assert secs == training_secs(tmp_path) == 70.0


def test_a_template_of_shapes_restores_the_same_arrays_on_the_same_devices(tmp_path):
    def new_state():
        key = jax.random.key(3, impl="rbg")
        task = make_task(num_features=2**18)  # large enough to be split over `model`
        return create_state(task, momentum_sgd(weight_decay=1e-4), plain_loss(1.0), key, with_ema=True)

    mesh = make_mesh(model=2, devices=jax.devices()[:2])
    saved = shard_state(mesh, new_state())
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(saved, score=None, training_secs=1.0)
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore_latest(shard_shapes(mesh, jax.eval_shape(new_state)))
    assert_same(restored, saved)
    assert restored.rng.dtype == saved.rng.dtype
    assert not restored.variables["params"]["dense"]["kernel"].sharding.is_fully_replicated
    jax.tree.map(
        lambda leaf, other: np.testing.assert_equal(leaf.sharding, other.sharding),
        restored._replace(rng=()),
        saved._replace(rng=()),
    )


def test_an_empty_folder_has_nothing_to_restore(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest(state_at(0)) is None
    with pytest.raises(InputError, match="no checkpoint in it"):
        restore_variables(tmp_path, "last", TASK.init(jax.random.key(0)))
    with pytest.raises(InputError, match="no such folder"):
        restore_variables(tmp_path / "nowhere", "last", TASK.init(jax.random.key(0)))


def test_the_last_and_the_best_are_kept_over_a_restart(tmp_path):
    save(tmp_path, {1: 0.2, 2: 0.9, 3: 0.3, 4: None})
    assert steps_in(tmp_path) == [2, 3, 4]
    save(tmp_path, {5: 0.4, 6: float("nan")})
    assert steps_in(tmp_path) == [2, 5, 6]
    assert (find_step(tmp_path, "best"), find_step(tmp_path, "last"), find_step(tmp_path, 5)) == (2, 6, 5)
    save(tmp_path, {7: 0.95}, keep=1)
    assert steps_in(tmp_path) == [7]


def test_variables_are_found_by_stage_folder_and_step(tmp_path):
    save(tmp_path, {1: 0.9, 2: 0.1})
    shapes = jax.eval_shape(TASK.init, jax.random.key(0))
    for path, which, step in [
        (tmp_path, "best", 1),
        (tmp_path, "last", 2),
        (str(tmp_path / "checkpoints"), 1, 1),
        (tmp_path / "checkpoints/2", "best", 2),
    ]:
        assert_same(restore_variables(path, which, shapes), state_at(step).variables)


def test_averaged_params_are_preferred_unless_refused(tmp_path):
    save(tmp_path, {1: None}, with_ema=True)
    state = state_at(1, with_ema=True)
    loaded = restore_variables(tmp_path, "last", TASK.init(jax.random.key(0)))
    assert_same(loaded, {**state.variables, "params": state.ema})
    raw = restore_variables(tmp_path, "last", TASK.init(jax.random.key(0)), use_ema=False)
    assert_same(raw, state.variables)


def test_asking_for_what_is_not_there_says_what_is(tmp_path):
    save(tmp_path, {1: None})
    template = TASK.init(jax.random.key(0))
    with pytest.raises(InputError, match="ask for 'last'"):
        restore_variables(tmp_path, "best", template)
    with pytest.raises(InputError, match=r"no checkpoint 5; there are 'last', 'best' and \[1\]"):
        restore_variables(tmp_path, 5, template)


def test_another_model_is_refused_by_name_and_shape(tmp_path):
    save(tmp_path, {1: None})
    template = make_task(num_features=5).init(jax.random.key(0))
    template["params"]["head"] = {f"layer{i}": jnp.zeros((i, 1)) for i in range(7)}
    del template["batch_stats"]
    with pytest.raises(InputError) as caught:
        restore_variables(tmp_path, "last", template)
    message = str(caught.value)
    assert "7 missing from it: variables/params/head/layer0 [0, 1]" in message
    assert "layer4 [4, 1] and 2 more" in message
    assert "1 unexpected in it: variables/batch_stats/mean [1]" in message
    assert "variables/params/dense/kernel is [3, 1], expected [5, 1]" in message


def test_resuming_another_optimizer_or_model_is_refused(tmp_path):
    save(tmp_path, {1: None})
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(InputError, match="3, 1"):
            checkpoints.restore_latest(state_at(0, task=make_task(num_features=4)))
        with pytest.raises(InputError, match="2 missing from it: ema/dense"):
            checkpoints.restore_latest(state_at(0, with_ema=True))


def test_a_full_disk_is_explained_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    save(tmp_path, {1: None})
    checkpoints = Checkpoints(tmp_path)

    def fail(*args, **kwargs):
        (tmp_path / "checkpoints/2.orbax-checkpoint-tmp-5").mkdir()
        raise ValueError("write failed") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(InputError, match=r"disk is full.*MiB are free"), checkpoints:
        checkpoints.save(state_at(2), score=None, training_secs=0.0)
    assert steps_in(tmp_path) == [1]


def test_a_save_that_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    save(tmp_path, {1: None})
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)  # a state of this size and a MiB do not fit
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(InputError, match=r"disk is full.*1 MiB are free"),
        Checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.save(state_at(2), score=None, training_secs=0.0)
    assert steps_in(tmp_path) == [1]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    monkeypatch.setattr(checkpoints._manager, "save", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError), checkpoints:
        checkpoints.save(state_at(2), score=None, training_secs=0.0)


def test_a_save_cut_off_by_a_crash_is_not_seen_and_is_cleaned_up(tmp_path):
    save(tmp_path, {1: None})
    shutil.copytree(tmp_path / "checkpoints/1", tmp_path / "checkpoints/2.orbax-checkpoint-tmp")
    assert find_step(tmp_path, "last") == 1
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2  # a reader removes nothing
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 1
    assert steps_in(tmp_path) == [1]


def test_digest_depends_on_every_weight_and_name_but_not_on_order():
    variables = {
        "params": {"a": {"kernel": np.ones((2, 3), np.float32)}, "b": {"bias": np.zeros(2, np.float32)}}
    }
    swapped = {"params": {"b": variables["params"]["b"], "a": variables["params"]["a"]}}
    assert digest(variables) == digest(swapped) == digest(jax.tree.map(jnp.asarray, variables))
    changed = jax.tree.map(np.copy, variables)
    changed["params"]["a"]["kernel"][1, 2] = np.nextafter(np.float32(1), np.float32(2))
    renamed = {"params": {"a": variables["params"]["a"], "c": variables["params"]["b"]}}
    reshaped = {"params": {"a": {"kernel": np.ones((3, 2), np.float32)}, "b": variables["params"]["b"]}}
    assert len({digest(tree) for tree in (variables, changed, renamed, reshaped)}) == 4


def largest_file(folder):
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.name != checkpoint_files.CHECKSUMS_FILE
    ]
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "flipped": (flip_a_bit, "does not match its checksum"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "were written"),
    "gone": (lambda path: path.unlink(), "is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_said_set_aside_and_the_one_before_is_taken(tmp_path, damage, capsys):
    save(tmp_path, {3: None, 7: None})
    change, words = DAMAGES[damage]
    change(largest_file(tmp_path / "checkpoints/7"))
    with pytest.raises(InputError, match=f"checkpoint 7 is damaged: .*{words}.*from the one before"):
        restore_variables(tmp_path, "last", TASK.init(jax.random.key(0)))
    with Checkpoints(tmp_path) as checkpoints:
        state, secs = checkpoints.restore_latest(state_at(0))
        assert_same(state, state_at(3))
        assert secs == 30.0
        checkpoints.save(state_at(7), score=None, training_secs=1.0)
    assert "warning: checkpoint 7 is damaged and set aside" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "7", "7.damaged"]
    assert_same(restore_variables(tmp_path, "last", TASK.init(jax.random.key(0))), state_at(7).variables)


def test_when_all_are_damaged_the_run_stops(tmp_path):
    save(tmp_path, {3: None})
    flip_a_bit(largest_file(tmp_path / "checkpoints/3"))
    with pytest.raises(InputError, match="every checkpoint is damaged"), Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore_latest(state_at(0))


def test_a_checkpoint_that_a_crash_left_without_checksums_is_taken(tmp_path):
    save(tmp_path, {3: None, 7: None})
    (tmp_path / "checkpoints/7" / checkpoint_files.CHECKSUMS_FILE).unlink()
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(checkpoints.restore_latest(state_at(0))[0], state_at(7))
