"""LARS, the optimizer of SimCLR's large batches; call `lars`.

Not in the paper. Source: You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017),
and SimCLR's `lars_optimizer.py`.
"""

import math

import optax

from selftrain_jax.errors import InputError
from selftrain_jax.train.optimizer import clip_gradient, decay_mask, scale_parts


def lars(
    *,
    momentum: float = 0.9,
    trust_coefficient: float = 0.001,
    weight_decay: float,
    clip_norm: float = 0.0,
    decay_bn: bool = False,
    backbone_factor: float = 1.0,
    layer_decay: float = 1.0,
) -> optax.GradientTransformation:
    """Add weight_decay * w to the gradient g, scale it to trust_coefficient * |w|, then v = momentum * v + g.

    The update is v, without the learning rate. What decays is as in `momentum_sgd` (`decay_mask`), and only
    this is scaled: biases and BatchNorms have plain momentum SGD. A kernel or a gradient of zeros is not
    scaled. Norms are of a kernel as a whole. The other arguments are as in `momentum_sgd`.

    Raises:
        InputError: the trust coefficient is not above 0, or the weight decay is negative.

    Differs: the official code has the learning rate inside of v, which is the same while the rate stays.
    """
    if not 0 < trust_coefficient < math.inf:
        raise InputError(
            f"config.optimizer.trust_coefficient={trust_coefficient:g} is the length of LARS's update as a "
            "share of the kernel's, at learning rate 1; expected above 0, as 0.001"
        )
    if not 0 <= weight_decay < math.inf:
        raise InputError(f"config.optimizer.weight_decay={weight_decay:g}; expected 0 or more")

    def is_kernel(params: optax.Params) -> optax.Params:
        return decay_mask(params, decay_bn)

    trust = optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=is_kernel),
        clip_gradient(clip_norm),
        optax.masked(trust, is_kernel),
        optax.trace(momentum),
        *scale_parts(backbone_factor, layer_decay),
    )
