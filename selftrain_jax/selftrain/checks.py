"""Score thresholds by class, and what makes pseudo labels of any task unfit for a student.

`tasks/<task>/pseudo/source.py` calls these on a manifest and adds the checks of its kind of label.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category

ADVICE = (
    "Train the teacher longer or on more labels, check that the unlabelled images show the same classes, "
    "or lower config.pseudo.threshold (with config.pseudo.thresholds=auto: config.pseudo.precision)."
)


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


def check_categories(manifest: Manifest, human_categories: Sequence[Category]) -> None:
    """Compare the classes of pseudo and human labels.

    Raises:
        InputError: they have different categories.
    """
    pseudo, human = set(manifest.categories), set(human_categories)
    if pseudo != human:
        raise InputError(
            "the pseudo labels and the human labels have different categories: only in the pseudo labels "
            f"{_list(pseudo - human)}, only in the human labels {_list(human - pseudo)}. Train the teacher "
            "on these human labels and label again."
        )


def check_dominant_class(manifest: Manifest, human: Mapping[str, int], max_class_frac: float) -> None:
    """See that no class holds more than `max_class_frac` of the labels kept, unless it does in `human` too.

    Raises:
        InputError: one does. Not where there is one class alone, or `human` is empty: unknown.
    """
    kept, kept_per_class = manifest.labels.num_kept, manifest.labels.kept_per_class
    name = max(kept_per_class, key=lambda name: kept_per_class[name])
    if len(kept_per_class) == 1 or kept_per_class[name] <= max_class_frac * kept:
        return
    if not human or human.get(name, 0) > max_class_frac * sum(human.values()):
        return
    unit = manifest.labels.unit
    raise InputError(
        f"class {name!r} holds {kept_per_class[name]} of {kept} pseudo {unit} "
        f"({kept_per_class[name] / kept:.2%}), but {human.get(name, 0)} of {sum(human.values())} human "
        f"{unit}. The teacher has collapsed onto one class: train it longer, or set "
        "config.pseudo.per_class_thresholds."
    )


def list_missing_classes(manifest: Manifest, human: Mapping[str, int]) -> list[str]:
    """Name the classes with human labels and without any pseudo label at the threshold."""
    kept = manifest.labels.kept_per_class
    return [name for name, count in human.items() if count and not kept.get(name, 0)]


def _list(categories: set[Category]) -> str:
    names = [f"{id} {name!r}" for id, name in sorted(categories)]
    return f"{len(names)} ({shorten_list(names)})" if names else "none"
