"""What each of several models counts for by class, and how the manifest names them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.selftrain.foreign.files import hash_content
from selftrain_jax.tasks.foreign_settings import ForeignSettings
from selftrain_jax.types import Category

TEACHER = "teacher"  # its name among the models


def weight_table(
    class_ids: Sequence[Collection[int]],
    measured: Sequence[Float[np.ndarray, " K"] | None],
    num_classes: int,
    measure_teacher: Callable[[], Float[np.ndarray, " K"]] | None,
) -> Float[np.ndarray, "T K"]:
    """Return the weights of all models by Category.id, our teacher's first where it takes part.

    A model that was measured on val has what was measured there, another 1; for a class that it cannot find
    it has 0, so that it is not asked. The teacher is measured where a model was.
    """
    rows = []
    if measure_teacher:
        is_measured = any(found is not None for found in measured)
        rows.append(measure_teacher() if is_measured else np.ones(num_classes))
    for own, found in zip(class_ids, measured, strict=True):
        can_find = np.isin(np.arange(num_classes), list(own))
        rows.append(can_find * (np.ones(num_classes) if found is None else found))
    return np.stack(rows)


def describe_models(
    names_and_counts: Sequence[Mapping[str, Any]],
    settings: ForeignSettings,
    weights: Float[np.ndarray, "T K"],
    categories: Sequence[Category],
) -> tuple[JsonObject, ...]:
    """Return for the manifest what each model is: name, file, digest, counts, weight by class."""
    by_name = [{name: round(float(row[class_id]), 4) for class_id, name in categories} for row in weights]
    has_teacher = len(weights) > len(names_and_counts)
    teacher = [{"model": TEACHER, "weights": by_name[0]}] if has_teacher else []
    others = [
        {
            **described,
            "file": str(model.predictions),
            "sha256": hash_content(model.predictions),
            "weights": own,
        }
        for described, model, own in zip(
            names_and_counts, settings.models, by_name[has_teacher:], strict=True
        )
    ]
    return (*teacher, *others)
