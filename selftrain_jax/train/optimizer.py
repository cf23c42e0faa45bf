"""The paper's optimizer (section 3.2 and its detection code): momentum SGD with L2, cosine schedule; AdamW.

The transformations of `momentum_sgd` and `adamw` leave out the learning rate, which is an argument of the
train step: so runs with different schedules share one compiled step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from selftrain_jax.errors import InputError
from selftrain_jax.train.layer_decay import scale_layers

Schedule = Callable[[int], float]
"""From the number of updates done (0 before the first) to the learning rate of the next."""


def warmup_cosine(peak: float, warmup_start: float, warmup_steps: int, total_steps: int) -> Schedule:
    """Rise linearly to `peak` over `warmup_steps` (w), then fall to 0 at `total_steps` (T) by a half cosine.

    warm-up: warmup_start + step / w * (peak - warmup_start);
    after: peak / 2 * (1 + cos(pi * (step - w) / (T - w))).

    Raises:
        InputError: the warm-up is not shorter than the run.

    Paper: section 3.2, peak 0.32 from 0.0032 over 1000 steps at batch 256.
    """
    _check_warmup(warmup_steps, total_steps)

    def learning_rate(step: int) -> float:
        if step < warmup_steps:
            return warmup_start + step / warmup_steps * (peak - warmup_start)
        progress_frac = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
        return 0.5 * peak * (1.0 + math.cos(math.pi * progress_frac))

    return learning_rate


def step_decay(
    peak: float, warmup_start: float, warmup_steps: int, drop_steps: Sequence[int], factor: float = 0.1
) -> Schedule:
    """Rise linearly to `peak`, then multiply by `factor` at each of `drop_steps`.

    Raises:
        InputError: the steps of warm-up and drops do not rise.

    Paper: the SpineNet runs of Table 5 (drops at 217,610 and 226,870 of 231,500 steps).
    """
    milestones = [warmup_steps, *drop_steps]
    if warmup_steps < 0 or milestones != sorted(set(milestones)):
        raise InputError(
            f"learning rate: warm-up to step {warmup_steps} and drops at {list(drop_steps)}; "
            "expected rising steps after the warm-up"
        )

    def learning_rate(step: int) -> float:
        if step < warmup_steps:
            return warmup_start + step / warmup_steps * (peak - warmup_start)
        return peak * factor ** sum(step >= drop for drop in drop_steps)

    return learning_rate


def warmup_constant(peak: float, warmup_start: float, warmup_steps: int, total_steps: int) -> Schedule:
    """Rise linearly to `peak` over `warmup_steps`, then stay there: for a run whose end is not known before.

    Raises:
        InputError: the warm-up is not shorter than the run.

    Not in the paper.
    """
    _check_warmup(warmup_steps, total_steps)
    return step_decay(peak, warmup_start, warmup_steps, ())


def _check_warmup(warmup_steps: int, total_steps: int) -> None:
    if not 0 <= warmup_steps < total_steps:
        raise InputError(
            f"learning rate: {warmup_steps} warm-up steps in a run of {total_steps} steps; "
            "expected fewer warm-up steps than steps"
        )


def momentum_sgd(
    *,
    momentum: float = 0.9,
    weight_decay: float,
    clip_norm: float = 0.0,
    decay_bn: bool = False,
    backbone_factor: float = 1.0,
    layer_decay: float = 1.0,
) -> optax.GradientTransformation:
    """Add weight_decay * w to the gradient g, clip by global norm (0: off), then v = momentum * v + g.

    The update is v, of the backbone `backbone_factor` * v; the train step multiplies it by minus the learning
    rate. A small factor keeps what pre-trained weights know where few labels are there to learn from;
    `layer_decay` is as in `scale_layers`.

    Paper: section 3.2 (weight decay 1e-4); momentum 0.9 without Nesterov is from the released code.
    Differs: the gradient of the whole batch is clipped; the TPU code clipped each core's part before the
    sum, which is far looser.
    """
    decay = optax.add_decayed_weights(weight_decay, mask=lambda params: decay_mask(params, decay_bn))
    steps = [decay if weight_decay > 0 else optax.identity(), clip_gradient(clip_norm), optax.trace(momentum)]
    return optax.chain(*steps, *scale_parts(backbone_factor, layer_decay))


def adamw(
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float,
    clip_norm: float = 0.0,
    decay_bn: bool = False,
    backbone_factor: float = 1.0,
    layer_decay: float = 1.0,
) -> optax.GradientTransformation:
    """Clip the gradient g, average g and g² and return m / (√v + epsilon) + weight_decay * w.

    m and v are the averages with b1 and b2, divided by 1 - b1^t and 1 - b2^t at update t. What decays is as
    in `momentum_sgd` (`decay_mask`); the factor and `layer_decay` scale the decay too.

    Raises:
        InputError: a value is outside of its range.

    Not in the paper. Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), with the
    learning rate before the decay, as in PyTorch and optax.
    """
    _check_adamw(b1, b2, epsilon, weight_decay)
    decay = optax.add_decayed_weights(weight_decay, mask=lambda params: decay_mask(params, decay_bn))
    steps = [clip_gradient(clip_norm), optax.scale_by_adam(b1, b2, epsilon), decay]
    return optax.chain(*steps, *scale_parts(backbone_factor, layer_decay))


def _check_adamw(b1: float, b2: float, epsilon: float, weight_decay: float) -> None:
    for key, value in (("b1", b1), ("b2", b2)):
        if not 0 <= value < 1:
            raise InputError(
                f"config.optimizer.{key}={value:g} is the share of AdamW's average that an update keeps; "
                "expected at least 0 and below 1"
            )
    if not 0 < epsilon < math.inf:
        raise InputError(f"config.optimizer.epsilon={epsilon:g}; expected a number above 0, as 1e-8")
    if not 0 <= weight_decay < math.inf:
        raise InputError(f"config.optimizer.weight_decay={weight_decay:g}; expected 0 or more")


def clip_gradient(norm: float) -> optax.GradientTransformation:
    """Return what clips by global norm; nothing for 0."""
    return optax.clip_by_global_norm(norm) if norm > 0 else optax.identity()


def scale_parts(backbone_factor: float, layer_decay: float) -> list[optax.GradientTransformation]:
    """Return what scales the backbone's updates; nothing for factors of 1, whose state is the old."""
    steps = [] if backbone_factor == 1 else [scale_backbone(backbone_factor)]
    return steps if layer_decay == 1 else [*steps, scale_layers(layer_decay)]


def skip_backbone(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Update all but the backbone: its weights do not decay, count for the clip or have a state.

    `tx` must not scale the backbone's updates.
    """

    def init(params: optax.Params) -> optax.OptState:
        return tx.init(_without_backbone(params))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        rest, state = tx.update(_without_backbone(updates), state, params and _without_backbone(params))
        return {**rest, "backbone": optax.tree.zeros_like(updates["backbone"])}, state

    return optax.GradientTransformation(init, update)


def _without_backbone(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in tree.items() if name != "backbone"}


def scale_backbone(factor: float) -> optax.GradientTransformation:
    """Multiply the backbone's updates by `factor`; with 0 its weights stay, but not BatchNorm's statistics.

    Raises:
        InputError: the factor is negative or not a number.
    """
    if not 0 <= factor < math.inf:
        raise InputError(
            f"config.optimizer.backbone_rate_factor={factor:g} is the backbone's learning rate as a multiple "
            "of the others'; expected 0 (its weights stay) or more, 1 for the same"
        )

    def scale(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        return {**updates, "backbone": jax.tree.map(lambda update: factor * update, updates["backbone"])}

    return optax.stateless(scale)


def decay_mask(params: dict[str, Any], decay_bn: bool = False) -> dict[str, Any]:
    """Mark the parameters that decay: every `kernel`; with `decay_bn` also `scale` and `bias` of BatchNorms.

    Paper: by Table 12's caption, the ResNet-101 runs decay BatchNorm's parameters too.
    """
    is_bn = "scale" in params
    return {
        name: decay_mask(value, decay_bn)
        if isinstance(value, dict)
        else name == "kernel" or (decay_bn and is_bn)
        for name, value in params.items()
    }
