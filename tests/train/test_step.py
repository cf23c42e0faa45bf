import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer, plain_loss
from selftrain_jax.train.optimizer import momentum_sgd
from selftrain_jax.train.sharding import make_mesh, shard_batch, shard_state
from selftrain_jax.train.state import create_state, eval_variables, with_variables
from selftrain_jax.train.step import jit_train_step, make_train_step
from tests.train.toy import assert_same, make_batch, make_task

pytestmark = pytest.mark.compiles

TX = momentum_sgd(weight_decay=1e-3)


def start(task, normalizer, tx=TX, **options):
    return create_state(task, tx, normalizer, jax.random.key(0), **options)


def run(
    num_steps, task, normalizer, *, num_devices=1, learning_rate=0.05, tx=TX, options=None, **step_options
):
    mesh = make_mesh(devices=jax.devices()[:num_devices])
    train_step = jit_train_step(make_train_step(task, tx, normalizer, **step_options), mesh)
    state = shard_state(mesh, start(task, normalizer, tx, with_ema="ema_decay" in step_options))
    rows = []
    for step in range(num_steps):
        batch = shard_batch(mesh, make_batch(step, **(options or {})))
        state, metrics = train_step(state, batch, np.float32(learning_rate))
        rows.append(jax.device_get({"params": state.variables["params"], **metrics}))
    return state, rows


def test_loss_falls_to_the_known_optimum():
    state, rows = run(150, make_task(), ema_loss_normalizer(1.0), tx=momentum_sgd(weight_decay=0.0))
    assert rows[0]["train/loss"] > 0.5
    assert rows[-1]["train/loss"] < 1e-4
    np.testing.assert_allclose(state.variables["params"]["dense"]["kernel"][:, 0], [1, -2, 3], atol=1e-2)
    np.testing.assert_allclose(state.variables["params"]["dense"]["bias"], [0.5], atol=1e-2)
    assert int(state.step) == 150


def test_three_updates_equal_a_numpy_loop():
    # Human batches: mean squared error, coupled L2 on the kernel, heavy-ball momentum.
    _, rows = run(3, make_task(), ema_loss_normalizer(1.0), options={"with_pseudo": False})
    params = start(make_task(), ema_loss_normalizer(1.0)).variables["params"]["dense"]
    w, b = np.asarray(params["kernel"][:, 0], np.float64), 0.0
    v_w, v_b = np.zeros(3), 0.0
    for step in range(3):
        batch = make_batch(step, with_pseudo=False)
        x = batch.images.reshape(-1, 3)
        error = x @ w + b - batch.targets.boxes[:, 0, 0]
        grad_w, grad_b = 2 * (error[:, None] * x).mean(0), 2 * error.mean()
        norm = np.sqrt((grad_w**2).sum() + grad_b**2)
        v_w, v_b = 0.9 * v_w + grad_w + 1e-3 * w, 0.9 * v_b + grad_b
        w, b = w - 0.05 * v_w, b - 0.05 * v_b
        np.testing.assert_allclose(rows[step]["train/loss"], (error**2).mean(), rtol=1e-5)
        np.testing.assert_allclose(rows[step]["train/gradient_norm"], norm, rtol=1e-5)
        np.testing.assert_allclose(rows[step]["params"]["dense"]["kernel"][:, 0], w, rtol=1e-4)
        np.testing.assert_allclose(rows[step]["params"]["dense"]["bias"], [b], rtol=1e-4)


def test_accumulating_two_slices_equals_the_full_batch():
    _, whole = run(3, make_task(), plain_loss(1.0))
    _, sliced = run(3, make_task(), plain_loss(1.0), accumulation=2)
    for one, other in zip(whole, sliced, strict=True):
        np.testing.assert_allclose(other["train/loss"], one["train/loss"], rtol=1e-5)
        np.testing.assert_allclose(other["train/gradient_norm"], one["train/gradient_norm"], rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one["params"], other["params"])


def test_each_slice_holds_human_and_pseudo_images_alike():
    state, rows = run(1, make_task(), ema_loss_normalizer(1.0), accumulation=4)
    assert rows[0]["toy/squared_num_pseudo"] == 1  # one pseudo image of two in each of four slices
    assert (int(state.loss_norm.human_updates), int(state.loss_norm.pseudo_updates)) == (4, 4)


def test_slices_draw_their_own_noise_and_pass_batch_stats_on():
    task = make_task(noise=1.0)
    state, rows = run(1, task, plain_loss(1.0), accumulation=2)
    first = start(task, plain_loss(1.0))
    batch = jax.tree.map(jnp.asarray, make_batch(0))
    variables, losses = first.variables, []
    for index, chosen in enumerate(([0, 1, 4, 5], [2, 3, 6, 7])):
        part = jax.tree.map(lambda leaf, chosen=chosen: leaf[jnp.array(chosen)], batch)
        rng = jax.random.fold_in(jax.random.fold_in(first.rng, 0), index)
        terms, changed = task.loss(variables, part, rng)
        variables = {**variables, **changed}
        losses.append(terms.human + terms.pseudo)
    np.testing.assert_allclose(rows[0]["train/loss"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(
        state.variables["batch_stats"]["mean"], variables["batch_stats"]["mean"], rtol=1e-4
    )


def test_slices_that_would_split_pairs_are_refused():
    with pytest.raises(InputError, match="batch 6 cannot be split into 2 slices"):
        run(1, make_task(), plain_loss(1.0), accumulation=2, options={"batch_size": 6})


def test_two_devices_equal_one():
    one, _ = run(4, make_task(noise=0.1), ema_loss_normalizer(0.5), ema_decay=0.9)
    two, _ = run(4, make_task(noise=0.1), ema_loss_normalizer(0.5), ema_decay=0.9, num_devices=2)
    for name in ("variables", "opt_state", "loss_norm", "ema"):
        a, b = getattr(one, name), getattr(two, name)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def test_ema_decay_rises_to_its_value_as_in_tensorflow():
    normalizer = ema_loss_normalizer(1.0)
    expected = np.asarray(start(make_task(), normalizer).variables["params"]["dense"]["kernel"])
    state, rows = run(5, make_task(), normalizer, ema_decay=0.27)
    for decay, row in zip((1 / 10, 2 / 11, 3 / 12, 0.27, 0.27), rows, strict=True):
        expected = decay * expected + (1 - decay) * row["params"]["dense"]["kernel"]
    np.testing.assert_allclose(state.ema["dense"]["kernel"], expected, rtol=1e-5)


def test_ema_counts_updates_not_slices_and_continues_where_a_resumed_state_stands():
    normalizer = plain_loss(1.0)
    first = start(make_task(), normalizer, with_ema=True)
    first = first._replace(ema=jax.tree.map(jnp.zeros_like, first.ema))
    step = jax.jit(make_train_step(make_task(), TX, normalizer, accumulation=2, ema_decay=0.9998))
    for num_updates, decay in ((0, 1 / 10), (1, 2 / 11), (90, 91 / 100), (10**6, 0.9998)):
        state, _ = step(first._replace(step=jnp.int32(num_updates)), make_batch(0), 0.05)
        average, new = (params["dense"]["kernel"] for params in (state.ema, state.variables["params"]))
        np.testing.assert_allclose(average, (1 - decay) * new, rtol=1e-4)


def share_of_start(num_updates, **options):
    """The start's share of the average: of ones in the start and zeros ever after."""
    normalizer = plain_loss(1.0)
    state = start(make_task(), normalizer, with_ema=True)
    zeros = jax.tree.map(jnp.zeros_like, state.variables["params"])
    state = state._replace(
        variables={**state.variables, "params": zeros}, ema=jax.tree.map(jnp.ones_like, zeros)
    )
    step, batch = make_train_step(make_task(), TX, normalizer, **options), make_batch(0)
    many = jax.jit(
        lambda state: jax.lax.fori_loop(0, num_updates, lambda _, s: step(s, batch, 0.0)[0], state)
    )
    return float(many(state).ema["dense"]["bias"][0])


def test_of_a_random_start_nothing_is_left_in_the_average():
    rising = math.prod((1 + t) / (10 + t) for t in range(3000))
    assert rising == pytest.approx(1.8e-26, rel=0.02)
    assert share_of_start(3000, ema_decay=0.9998) == pytest.approx(rising, rel=1e-3)
    # As it was, and as folders from before resume.
    assert share_of_start(3000, ema_decay=0.9998, ema_ramp=False) == pytest.approx(0.9998**3000, rel=1e-3)
    assert round(0.9998**3000, 2) == 0.55
    # Less than one in a million after 15 updates, as the docstring says.
    assert share_of_start(15, ema_decay=0.9998) < 1e-6 < share_of_start(14, ema_decay=0.9998)


@pytest.mark.parametrize("ema_ramp", [True, False])
def test_ema_without_decay_is_the_last_weights(ema_ramp):
    state, _ = run(3, make_task(), plain_loss(1.0), ema_decay=0.0, ema_ramp=ema_ramp)
    jax.tree.map(
        lambda average, w: np.testing.assert_allclose(average, w, rtol=1e-6),
        state.ema,
        state.variables["params"],
    )


def test_evaluation_takes_the_averaged_weights_and_the_last_statistics():
    state, _ = run(3, make_task(), plain_loss(1.0), ema_decay=0.9)
    alone, _ = run(3, make_task(), plain_loss(1.0))
    assert eval_variables(state)["params"] is state.ema
    assert_same(eval_variables(state)["batch_stats"], alone.variables["batch_stats"])


def test_ema_of_constant_decay_follows_its_closed_form():
    normalizer, decay = ema_loss_normalizer(1.0), 0.8
    first = np.asarray(start(make_task(), normalizer).variables["params"]["dense"]["kernel"])
    state, rows = run(4, make_task(), normalizer, ema_decay=decay, ema_ramp=False)
    expected = decay**4 * first
    for index, row in enumerate(rows):
        expected = expected + (1 - decay) * decay ** (3 - index) * row["params"]["dense"]["kernel"]
    np.testing.assert_allclose(state.ema["dense"]["kernel"], expected, rtol=1e-5)


def test_without_ema_the_last_params_are_evaluated():
    state = start(make_task(), plain_loss(1.0))
    assert state.ema == ()
    assert eval_variables(state) is state.variables


def test_starting_from_given_weights_keeps_them_alive():
    task, normalizer = make_task(), plain_loss(1.0)
    teacher = task.init(jax.random.key(9))
    state = with_variables(start(task, normalizer, with_ema=True), teacher)
    assert_same(state.variables, teacher)
    assert_same(state.ema, teacher["params"])
    mesh = make_mesh(devices=jax.devices()[:1])
    jit_train_step(make_train_step(task, TX, normalizer), mesh)(
        state, shard_batch(mesh, make_batch(0)), np.float32(0.1)
    )
    assert not teacher["params"]["dense"]["kernel"].is_deleted()


def test_the_step_number_alone_decides_the_noise():
    task, normalizer = make_task(noise=1.0), plain_loss(1.0)
    step = jax.jit(make_train_step(task, TX, normalizer))
    state = start(task, normalizer)
    batch = jax.tree.map(jnp.asarray, make_batch(0))
    losses = [
        float(step(state._replace(step=jnp.int32(n)), batch, jnp.float32(0.1))[1]["train/loss"])
        for n in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_zero_learning_rate_changes_no_weight():
    state, rows = run(1, make_task(), plain_loss(1.0), learning_rate=0.0)
    first = start(make_task(), plain_loss(1.0))
    assert_same(state.variables["params"], first.variables["params"])
    assert rows[0]["train/learning_rate"] == 0


def with_auxiliary(task, weight):
    """Add weight * mean squared output on the second batch."""

    def loss(variables, batch, rng):
        terms, changed = task.loss(variables, batch._replace(auxiliary=None), rng)
        dense = variables["params"]["dense"]
        y = (batch.auxiliary.images.reshape(-1, 3) @ dense["kernel"] + dense["bias"])[:, 0]
        return terms._replace(auxiliary=weight * jnp.mean(y**2)), changed

    return task._replace(loss=loss)


def joint_step(weight, normalizer, **options):
    task = with_auxiliary(make_task(), weight)
    state = start(task, normalizer)
    batch = make_batch(0)._replace(auxiliary=make_batch(1, batch_size=4))
    return state, batch, jax.jit(make_train_step(task, TX, normalizer, **options))(state, batch, 0.05)


def test_auxiliary_loss_is_added_after_the_loss_normalisation():
    normalizer = ema_loss_normalizer(3.0)
    state, batch, (after, metrics) = joint_step(0.5, normalizer)
    dense = state.variables["params"]["dense"]
    x = batch.auxiliary.images.reshape(-1, 3)
    y = x @ np.asarray(dense["kernel"])[:, 0]
    alone, alone_metrics = jax.jit(make_train_step(make_task(), TX, normalizer))(state, make_batch(0), 0.05)
    np.testing.assert_allclose(
        metrics["train/loss"], alone_metrics["train/loss"] + 0.5 * np.mean(y**2), rtol=1e-5
    )
    assert_same(after.loss_norm, alone.loss_norm)
    moved, moved_alone = (s.variables["params"]["dense"]["kernel"][:, 0] for s in (after, alone))
    auxiliary_gradient = 0.5 * 2 * (y[:, None] * x).mean(axis=0)
    np.testing.assert_allclose(moved, moved_alone - 0.05 * auxiliary_gradient, rtol=1e-4, atol=1e-6)


def test_auxiliary_loss_of_weight_0_changes_nothing():
    _, _, (after, metrics) = joint_step(0.0, plain_loss(1.0))
    alone, alone_metrics = jax.jit(make_train_step(make_task(), TX, plain_loss(1.0)))(
        start(make_task(), plain_loss(1.0)), make_batch(0), 0.05
    )
    assert_same(after.variables, alone.variables)
    assert metrics["train/loss"] == alone_metrics["train/loss"]


def test_accumulation_slices_the_second_batch_too():
    _, _, (whole, whole_metrics) = joint_step(0.5, plain_loss(1.0))
    _, _, (sliced, sliced_metrics) = joint_step(0.5, plain_loss(1.0), accumulation=2)
    np.testing.assert_allclose(sliced_metrics["train/loss"], whole_metrics["train/loss"], rtol=1e-5)
    first, second = (state.variables["params"]["dense"]["kernel"] for state in (whole, sliced))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_accumulated_slices_hold_the_same_share_of_a_batch_that_is_not_half_and_half():
    batch = make_batch(0, batch_size=16)._replace(is_pseudo=np.arange(16) % 4 == 3)

    def run_one(**options):
        step = make_train_step(make_task(), TX, plain_loss(1.0), **options)
        return jax.jit(step)(start(make_task(), plain_loss(1.0)), batch, 0.05)

    (whole, _), (sliced, metrics) = run_one(), run_one(accumulation=4, period=4)
    assert float(metrics["toy/squared_num_pseudo"]) == 1.0  # in every slice one
    for first, second in zip(
        *(jax.tree.leaves(state.variables["params"]) for state in (whole, sliced)), strict=True
    ):
        np.testing.assert_allclose(first, second, rtol=1e-5)
    with pytest.raises(InputError, match="8 slices of human/pseudo groups of 4; use a multiple of 32"):
        run_one(accumulation=8, period=4)
