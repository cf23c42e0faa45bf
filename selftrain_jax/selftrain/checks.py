"""Score thresholds by class, and what makes pseudo labels of any task unfit for a student.

`tasks/<task>/pseudo/source.py` calls these on a manifest and adds the checks of its kind of label.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category

MAX_DOMINANCE_RATIO = 3.0
ADVICE = (
    "Train the teacher longer or on more labels, check that the unlabelled images show the same classes, "
    "or lower config.pseudo.threshold (with config.pseudo.thresholds=auto: config.pseudo.precision)."
)


class SourceThresholds(NamedTuple):
    """From which scores on the pseudo labels of one source of several are labels."""

    threshold: float
    per_class: Mapping[str, float]  # by class name, where they differ


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
    """See that the teacher has not collapsed onto one class; `human` counts human labels by class name.

    A class has collapsed the others when it holds more than `max_class_frac` of the labels kept, does not do
    so in `human`, and outnumbers all other classes more than `MAX_DOMINANCE_RATIO` times as much as there:
    pseudo / other pseudo > ratio * human / other human. So 96 % after 94 % of the human labels passes, as 24
    to 1 is 1.5 times 15.7 to 1; 99.5 % after 60 % does not. A class without human labels may not exceed
    `max_class_frac` at all. One class alone passes, and so does any where `human` has no label: unknown.

    Raises:
        InputError: one has.
    """
    kept, per_class = manifest.labels.num_kept, manifest.labels.kept_per_class
    name = max(per_class, key=lambda name: per_class[name])
    pseudo, in_human, all_human = per_class[name], human.get(name, 0), sum(human.values())
    if len(per_class) == 1 or pseudo <= max_class_frac * kept or in_human > max_class_frac * all_human:
        return
    if pseudo * (all_human - in_human) <= MAX_DOMINANCE_RATIO * in_human * (kept - pseudo):
        return
    unit = manifest.labels.unit
    raise InputError(
        f"class {name!r} holds {pseudo} of {kept} pseudo {unit} ({pseudo / kept:.2%}), but {in_human} of "
        f"{all_human} human {unit} ({in_human / all_human:.2%}): above {max_class_frac:g}, and it outnumbers "
        f"the other classes more than {MAX_DOMINANCE_RATIO:g} times as much as in the human labels. The "
        "teacher has collapsed onto one class: train it longer, or set config.pseudo.per_class_thresholds. "
        f"If the unlabelled images are so, set --config.pseudo.max_class_frac={_round_up(pseudo / kept)}."
    )


def _round_up(share: float) -> float:
    """Round up to four digits, so that a share is within the limit that is named for it."""
    return math.ceil(share * 1e4) / 1e4


def list_missing_classes(manifest: Manifest, human: Mapping[str, int]) -> list[str]:
    """Name the classes with human labels and without any pseudo label at the threshold."""
    kept = manifest.labels.kept_per_class
    return [name for name, count in human.items() if count and not kept.get(name, 0)]


def check_every_source(manifest: Manifest, names: Collection[str]) -> None:
    """See that each of several sources, `names`, has labels at its threshold.

    Raises:
        InputError: none of a source's labels reaches it, so that its images would teach background alone.
    """
    for source in manifest.sources:
        if source.name in names and source.num_images and not source.num_labels_at_threshold:
            raise InputError(
                f"unlabelled source {source.name!r}: none of the {source.num_labels} "
                f"{manifest.labels.unit} in its {source.num_images} images reaches the score threshold "
                f"{source.threshold:g}. Lower it, look whether its images show the classes, or leave the "
                f"source out by --config.unlabeled.also.{source.name}.kind=none."
            )


def _list(categories: set[Category]) -> str:
    names = [f"{id} {name!r}" for id, name in sorted(categories)]
    return f"{len(names)} ({shorten_list(names)})" if names else "none"
