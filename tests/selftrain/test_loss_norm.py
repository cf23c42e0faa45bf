import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer, plain_loss
from selftrain_jax.types import LossTerms


def terms(human=0.0, pseudo=0.0, num_human=2.0, num_pseudo=2.0):
    return LossTerms(*(jnp.asarray(x, jnp.float32) for x in (human, pseudo, num_human, num_pseudo)), {})


def run(normalizer, sequence):
    """Give (loss, metrics) of each step, and the last state."""
    state, rows = normalizer.init(), []
    for step_terms in sequence:
        loss, state, metrics = normalizer.update(step_terms, state)
        rows.append((float(loss), {key: float(value) for key, value in metrics.items()}))
    return rows, state


THREE_STEPS = [terms(4, 1), terms(2, 3), terms(1, 5)]


def test_three_steps_by_hand():
    # decay 1/2: averages 2, 2, 3/2 and 1/2, 7/4, 27/8; weights seen 1/2, 3/4, 7/8.
    rows, state = run(ema_loss_normalizer(0.5, decay=0.5), THREE_STEPS)
    np.testing.assert_allclose([loss for loss, _ in rows], [4, 52 / 21, 38 / 27], rtol=1e-6)
    np.testing.assert_allclose([m["loss_norm/ratio"] for _, m in rows], [4, 8 / 7, 4 / 9], rtol=1e-6)
    np.testing.assert_allclose([m["loss_norm/human_average"] for _, m in rows], [4, 8 / 3, 12 / 7], rtol=1e-6)
    np.testing.assert_allclose(
        [m["loss_norm/pseudo_average"] for _, m in rows], [1, 7 / 3, 27 / 7], rtol=1e-6
    )
    np.testing.assert_allclose([state.human_average, state.pseudo_average], [1.5, 3.375], rtol=1e-6)
    assert rows[1][1]["train/loss_human"] == 2
    assert rows[1][1]["train/loss_pseudo"] == 3
    assert rows[1][1]["train/loss"] == rows[1][0]


def test_plain_loss_adds_and_logs_the_same_keys():
    rows, _ = run(plain_loss(0.5), THREE_STEPS)
    assert [loss for loss, _ in rows] == [4.5, 3.5, 3.5]
    assert rows[0][1].keys() == run(ema_loss_normalizer(1.0), THREE_STEPS)[0][0][1].keys()
    assert rows[2][1]["loss_norm/ratio"] == 1


def test_alpha_zero_gives_the_human_loss():
    rows, _ = run(ema_loss_normalizer(0.0), THREE_STEPS)
    assert [loss for loss, _ in rows] == [4, 2, 1]


@pytest.mark.parametrize("alpha", [0.25, 1.0, 3.0])
def test_equal_losses_give_that_loss_for_any_alpha(alpha):
    rows, _ = run(ema_loss_normalizer(alpha), [terms(x, x) for x in (5.0, 0.3, 2.0)])
    np.testing.assert_allclose([loss for loss, _ in rows], [5, 0.3, 2], rtol=1e-6)


def test_scaling_the_pseudo_loss_changes_neither_total_nor_gradient():
    normalizer = ema_loss_normalizer(2.0)

    def total_of(w, scale, state):
        loss, state, _ = normalizer.update(terms()._replace(human=w**2, pseudo=scale * (3 * w + 1)), state)
        return loss, state

    states = {scale: normalizer.init() for scale in (1.0, 1000.0)}
    for w in (1.0, 2.0, 0.5):
        got = {}
        for scale in states:
            value_and_grad = jax.value_and_grad(total_of, has_aux=True)
            (loss, states[scale]), grad = value_and_grad(jnp.float32(w), scale, states[scale])
            got[scale] = [float(loss), float(grad)]
        np.testing.assert_allclose(got[1.0], got[1000.0], rtol=1e-5)


def test_no_gradient_flows_through_the_ratio():
    normalizer = ema_loss_normalizer(1.0, decay=0.5)

    def ratio(human, pseudo):
        return normalizer.update(terms()._replace(human=human, pseudo=pseudo), normalizer.init())[2][
            "loss_norm/ratio"
        ]

    assert jax.grad(ratio, argnums=(0, 1))(jnp.float32(3.0), jnp.float32(2.0)) == (0.0, 0.0)


def test_gradient_is_that_of_the_weighted_sum():
    normalizer = ema_loss_normalizer(0.5)  # first step: ratio 3 / 2

    def total(human, pseudo):
        return normalizer.update(terms()._replace(human=human, pseudo=pseudo), normalizer.init())[0]

    grads = jax.grad(total, argnums=(0, 1))(jnp.float32(3.0), jnp.float32(2.0))
    np.testing.assert_allclose(grads, [1 / 1.5, 0.5 * 1.5 / 1.5], rtol=1e-6)


def test_human_batch_gives_human_loss_and_leaves_the_pseudo_average():
    rows, state = run(ema_loss_normalizer(3.0), [terms(4, 0, 2, 0), terms(7, 0, 2, 0)])
    assert [loss for loss, _ in rows] == [4, 7]
    assert [m["loss_norm/ratio"] for _, m in rows] == [1, 1]
    assert (float(state.pseudo_average), int(state.pseudo_updates), int(state.human_updates)) == (0, 0, 2)


def test_pseudo_batch_gives_ratio_times_its_loss():
    # decay 1/2 after (4, 1): pseudo 3 alone moves its average to 7/4, by 3/4 = 7/3; human stays 4.
    rows, state = run(ema_loss_normalizer(0.7, decay=0.5), [terms(4, 1), terms(0, 3, 0, 2)])
    np.testing.assert_allclose(rows[1][0], 4 / (7 / 3) * 3, rtol=1e-6)
    assert (float(state.human_average), int(state.human_updates)) == (2, 1)


def test_pseudo_batch_before_any_human_one_has_ratio_one():
    assert run(ema_loss_normalizer(0.5), [terms(0, 3, 0, 2)])[0][0][0] == pytest.approx(3)


def test_source_that_joins_late_starts_unbiased():
    # Human 4 then 2: average 8/3 after debiasing; pseudo joins at 3: ratio 8/9.
    rows, _ = run(ema_loss_normalizer(1.0, decay=0.5), [terms(4, 0, 2, 0), terms(2, 3)])
    np.testing.assert_allclose(rows[1][0], 7 / 3, rtol=1e-6)


def test_decay_zero_uses_the_present_losses_only():
    rows, _ = run(ema_loss_normalizer(1.0, decay=0.0), THREE_STEPS)
    np.testing.assert_allclose([loss for loss, _ in rows], [4, 2, 1], rtol=1e-6)  # (h + h / p * p) / 2


def test_paper_decay_is_debiased_to_float_precision():
    rows, _ = run(ema_loss_normalizer(1.0), [terms(0.123, 45.6)] * 3)
    np.testing.assert_allclose([m["loss_norm/human_average"] for _, m in rows], 0.123, rtol=2e-6)
    np.testing.assert_allclose([m["loss_norm/pseudo_average"] for _, m in rows], 45.6, rtol=2e-6)


def test_zero_pseudo_loss_stays_finite():
    rows, _ = run(ema_loss_normalizer(1.0), [terms(4, 0), terms(4, 0)])
    assert [loss for loss, _ in rows] == [2, 2]


def test_non_finite_loss_shows_in_the_total_and_stays_out_of_the_averages():
    rows, state = run(ema_loss_normalizer(1.0, decay=0.5), [terms(4, 1), terms(np.nan, np.inf)])
    assert not np.isfinite(rows[1][0])
    assert (float(state.human_average), float(state.pseudo_average)) == (2, 0.5)


def test_scan_under_jit_equals_the_eager_loop():
    normalizer = ema_loss_normalizer(0.5, decay=0.9)

    @jax.jit
    def scan(stacked):
        def step(state, step_terms):
            loss, state, _ = normalizer.update(step_terms, state)
            return state, loss

        return jax.lax.scan(step, normalizer.init(), stacked)

    state, losses = scan(jax.tree.map(lambda *leaves: jnp.stack(leaves), *THREE_STEPS))
    rows, eager_state = run(normalizer, THREE_STEPS)
    np.testing.assert_allclose(losses, [loss for loss, _ in rows], rtol=1e-6)
    np.testing.assert_allclose(state, eager_state, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "decay"), [(-1.0, 0.9), (1.0, 1.0), (1.0, -0.1), (float("nan"), 0.5)])
def test_settings_out_of_range_are_refused(alpha, decay):
    with pytest.raises(InputError, match="loss normalisation"):
        ema_loss_normalizer(alpha, decay)
