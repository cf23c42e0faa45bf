"""Loss normalisation (appendix B): one loss from the human and the pseudo-labelled half of a batch.

Call `ema_loss_normalizer(alpha)` (the paper's) or `plain_loss(alpha)` (its unstable baseline), keep
the state of `init()` in the train state, and call `update(terms, state)` once a forward pass.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from selftrain_jax.errors import InputError
from selftrain_jax.types import LossTerms, Metrics

PAPER_DECAY = 0.9997  # appendix B


class LossNormState(NamedTuple):
    """Moving averages of both losses. They start at 0; the number of updates removes that bias."""

    human_average: Float[Array, ""]
    pseudo_average: Float[Array, ""]
    human_updates: Int[Array, ""]
    pseudo_updates: Int[Array, ""]


class LossNormalizer(NamedTuple):
    """A pair of pure functions, as in optax: `update` gives the loss, the new state and metrics."""

    init: Callable[[], LossNormState]
    update: Callable[[LossTerms, LossNormState], tuple[Float[Array, ""], LossNormState, Metrics]]


def ema_loss_normalizer(alpha: float, decay: float = PAPER_DECAY) -> LossNormalizer:
    """Weigh both losses as equals: (L_h + alpha * (avg_h / avg_p) * L_p) / (1 + alpha).

    A source that is absent from the batch leaves its average as it was and drops out of the sum and
    of the divisor: a batch of human labels alone gives L_h. Until both averages exist the ratio is 1.

    Raises:
        InputError: alpha is negative, or decay outside [0, 1).

    Paper: appendix B.
    Differs: the paper leaves open when the averages are updated, how they start, and whether the
    ratio is differentiated. Here they are updated before use, start at 0 with the bias divided out
    (it cancels in the ratio when both sources are always present, and is right when one joins
    later), and the ratio is a constant to the gradient.
    """
    _check_settings(alpha, decay)

    def update(terms: LossTerms, state: LossNormState) -> tuple[Float[Array, ""], LossNormState, Metrics]:
        state = _update_averages(terms, state, decay)
        ratio = _ratio(state, decay)
        human_weight = (terms.num_human > 0).astype(jnp.float32)
        pseudo_weight = alpha * (terms.num_pseudo > 0).astype(jnp.float32)
        weighted = human_weight * terms.human + pseudo_weight * ratio * terms.pseudo
        divisor = human_weight + pseudo_weight
        loss = weighted / jnp.where(divisor > 0, divisor, 1.0)
        return loss, state, _metrics(terms, state, decay, loss, ratio)

    return LossNormalizer(_zero_state, update)


def plain_loss(alpha: float) -> LossNormalizer:
    """Add the losses as they are, L_h + alpha * L_p; the averages are kept for the log only.

    Raises:
        InputError: alpha is negative.

    Paper: appendix B, the baseline of Figure 2 that diverges for large alpha.
    """
    _check_settings(alpha, PAPER_DECAY)

    def update(terms: LossTerms, state: LossNormState) -> tuple[Float[Array, ""], LossNormState, Metrics]:
        state = _update_averages(terms, state, PAPER_DECAY)
        loss = terms.human + alpha * terms.pseudo
        return loss, state, _metrics(terms, state, PAPER_DECAY, loss, jnp.ones(()))

    return LossNormalizer(_zero_state, update)


def _check_settings(alpha: float, decay: float) -> None:
    if not 0 <= alpha < float("inf"):
        raise InputError(
            f"loss normalisation: alpha is {alpha}; expected 0 or more (the paper tries 0.25 to 5)"
        )
    if not 0 <= decay < 1:
        raise InputError(
            f"loss normalisation: decay is {decay}; expected 0 <= decay < 1 (paper: {PAPER_DECAY})"
        )


def _zero_state() -> LossNormState:
    # One array a field: a donated state must not hold the same buffer twice.
    return LossNormState(jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def _update_averages(terms: LossTerms, state: LossNormState, decay: float) -> LossNormState:
    # A non-finite loss stays out of the averages; it shows in the total, where the loop stops.
    use_human = (terms.num_human > 0) & jnp.isfinite(terms.human)
    use_pseudo = (terms.num_pseudo > 0) & jnp.isfinite(terms.pseudo)
    return LossNormState(
        human_average=_move(state.human_average, terms.human, use_human, decay),
        pseudo_average=_move(state.pseudo_average, terms.pseudo, use_pseudo, decay),
        human_updates=state.human_updates + use_human,
        pseudo_updates=state.pseudo_updates + use_pseudo,
    )


def _move(
    average: Float[Array, ""], loss: Float[Array, ""], use: Bool[Array, ""], decay: float
) -> Float[Array, ""]:
    """Give decay * average + (1 - decay) * loss, in the form that float32 rounds least."""
    moved = average + (1.0 - decay) * (jax.lax.stop_gradient(loss) - average)
    return jnp.where(use, moved, average)


def _debias(average: Float[Array, ""], updates: Int[Array, ""], decay: float) -> Float[Array, ""]:
    """Divide by the weight seen so far, 1 - decay**updates; 0 before the first update."""
    log_decay = float(np.log(decay)) if decay > 0 else -np.inf
    weight_seen = -jnp.expm1(jnp.maximum(updates, 1) * log_decay)
    return average / weight_seen


def _ratio(state: LossNormState, decay: float) -> Float[Array, ""]:
    human = _debias(state.human_average, state.human_updates, decay)
    pseudo = _debias(state.pseudo_average, state.pseudo_updates, decay)
    is_known = (state.human_updates > 0) & (state.pseudo_updates > 0) & (pseudo > 0)
    return jax.lax.stop_gradient(jnp.where(is_known, human / jnp.where(is_known, pseudo, 1.0), 1.0))


def _metrics(
    terms: LossTerms, state: LossNormState, decay: float, loss: Float[Array, ""], ratio: Float[Array, ""]
) -> Metrics:
    return {
        "loss_norm/human_average": _debias(state.human_average, state.human_updates, decay),
        "loss_norm/pseudo_average": _debias(state.pseudo_average, state.pseudo_updates, decay),
        "loss_norm/ratio": ratio,
        "train/loss": loss,
        "train/loss_human": terms.human,
        "train/loss_pseudo": terms.pseudo,
    }
