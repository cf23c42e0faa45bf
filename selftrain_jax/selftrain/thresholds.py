"""Score thresholds of pseudo labels: one for all classes, or one of its own for some (Paper: Section 3.1)."""

from collections.abc import Mapping, Sequence

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category


def parse_class_thresholds(text: str, key: str) -> dict[str, float]:
    """Read "person=0.4,car=0.6", the value of config `key`.

    Raises:
        InputError: it does not have that form.
    """
    try:
        pairs = [item.rsplit("=", 1) for item in text.split(",") if item]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise InputError(f"{key}={text!r}; expected name=score pairs such as person=0.4") from None


def class_thresholds(
    categories: Sequence[Category], threshold: float, per_class: Mapping[str, float] | None
) -> np.ndarray:
    """Return the score threshold of each class, indexed by Category.id.

    Raises:
        InputError: a threshold for a class that does not exist, or one outside [0, 1].
    """
    per_class = per_class or {}
    ids = {category.name: category.id for category in categories}
    unknown = sorted(set(per_class) - set(ids))
    if unknown:
        raise InputError(
            f"thresholds for unknown classes {shorten_list([*map(repr, unknown)])}; expected names among "
            f"{shorten_list([*map(repr, sorted(ids))], 20)}"
        )
    wrong = {name: value for name, value in {"": threshold, **per_class}.items() if not 0 <= value <= 1}
    if wrong:
        raise InputError(f"score thresholds must be between 0 and 1; got {wrong} ('' is the common one)")
    thresholds = np.full(1 + max((category.id for category in categories), default=0), threshold, np.float32)
    for name, value in per_class.items():
        thresholds[ids[name]] = value
    return thresholds
