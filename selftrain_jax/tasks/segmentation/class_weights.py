"""Weights of the classes in the loss of masks, given or by how rare a class is; call `balance_classes`.

The paper has none. Among few labelled images of streets, poles and pedestrians have 2 % of the pixels
together, and a short training never says them (docs/few_labels.md).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.data import pixel_counts
from selftrain_jax.types import Category

BALANCE, WEIGHTS = "config.segmentation.class_balance", "config.segmentation.class_weights"


def check_class_weights(config: ConfigDict) -> None:
    """Check both keys. Raises: InputError, naming the key."""
    balance, weights = config.segmentation.class_balance, tuple(config.segmentation.class_weights)
    if not 0 <= balance <= 1:
        raise InputError(
            f"{BALANCE}={balance:g} is the power of a class's rarity that weights it; expected 0 (off) to 1 "
            "(all classes count the same), such as 0.5"
        )
    if not all(isinstance(weight, int | float) and 0 < weight < math.inf for weight in weights):
        raise InputError(f"{WEIGHTS}={weights!r}: expected a number above 0 for each class, in their order")
    if balance and weights:
        raise InputError(
            f"{BALANCE}={balance:g} finds the weights that {WEIGHTS} gives; set one of them to 0 or ()"
        )


def balance_classes(config: ConfigDict, human: Source) -> ConfigDict:
    """Return the config with weights in place of its class_balance, by the pixels of the human labels.

    Raises:
        InputError: more masks are bad than config.data.max_bad_images.
    """
    balance = config.segmentation.class_balance
    if not balance:
        return config
    counts = hosts.run_on_host0(lambda: pixel_counts(human, max_bad_images=config.data.max_bad_images))
    balanced = config.copy_and_resolve_references()
    with balanced.unlocked():
        weights = balanced_weights(counts, balance)
        balanced.segmentation.update(class_balance=0.0, class_weights=weights)
    return balanced


def balanced_weights(counts: Mapping[str, int], balance: float) -> tuple[float, ...]:
    """Return f^-balance of each class, f its share of the labelled pixels, scaled to 1 on their mean.

    That is sum_k f_k w_k = 1: the loss keeps its size, and its learning rate. A class without pixels, of
    which nothing is known, has the weight 1.
    """
    shares = np.array(list(counts.values()), np.float64) / max(sum(counts.values()), 1)
    powers = np.where(shares > 0, np.maximum(shares, 1e-12) ** -balance, 0.0)
    weights = np.where(shares > 0, powers / max((shares * powers).sum(), 1e-12), 1.0)
    return tuple(round(float(weight), 4) for weight in weights)


def weights_by_id(config: ConfigDict, categories: Sequence[Category]) -> Float[np.ndarray, " K"] | None:
    """Return each class id's weight, 1 for ids that are no class; None without weights.

    Raises:
        InputError: there are not as many weights as classes.
    """
    weights = tuple(config.segmentation.class_weights)
    if not weights:
        return None
    if len(weights) != len(categories):
        raise InputError(
            f"{WEIGHTS} has {len(weights)} weights, but there are {len(categories)} classes: "
            f"{', '.join(name for _, name in categories)}. Give one for each, in this order."
        )
    by_id = np.ones(max(category.id for category in categories) + 1, np.float32)
    by_id[[category.id for category in categories]] = weights
    return by_id
