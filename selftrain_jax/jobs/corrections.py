"""The corrections that a student uses (config.pseudo.corrections), by their digest and as images.

The stage's record has the digest of the highest layer as an input. `review.py` makes the layers.
"""

import pathlib

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.corrections import StoredLayer, layers_up_to
from selftrain_jax.tasks.spec import HumanReview, SelfTraining

CORRECTIONS = "corrections"  # among a student's inputs


def require_review(self_training: SelfTraining, task: str) -> HumanReview:
    """Return how labels of a task are reviewed. Raises: InputError: they are not."""
    if self_training.review is None:
        raise InputError(
            f"config.task={task}: the pseudo labels of this task do not go out for review; boxes do "
            "(config.task=detection)"
        )
    return self_training.review


def check_corrections(config: ConfigDict, self_training: SelfTraining) -> None:
    """Refuse corrections where there cannot be any. Raises: InputError."""
    if not config.pseudo.corrections:
        return
    require_review(self_training, config.task)
    if config.unlabeled.kind == "none":
        raise InputError(
            "config.pseudo.corrections: config.unlabeled.kind=none is a run without pseudo labels"
        )
    if config.selftrain.rounds > 1:
        raise InputError(
            f"config.pseudo.corrections is for one set of labels, but config.selftrain.rounds="
            f"{config.selftrain.rounds} makes one a round; set rounds to 1"
        )


def corrections_in_use(config: ConfigDict, labels: pathlib.Path, label_set: str) -> list[StoredLayer]:
    """Return the layers up to the one that config.pseudo.corrections names; none where none are there yet.

    Raises:
        InputError: there are some but not this one, it is of another set, or a layer is damaged.
    """
    which = config.pseudo.corrections
    return layers_up_to(labels, which, label_set) if which else []


def require_corrections(config: ConfigDict, labels: pathlib.Path, label_set: str) -> list[StoredLayer]:
    """Return the layers that a student is to use. Raises: InputError: nothing was imported yet."""
    layers = corrections_in_use(config, labels, label_set)
    if config.pseudo.corrections and not layers:
        raise InputError(
            f"config.pseudo.corrections={config.pseudo.corrections}, but {labels} has no corrections; "
            "export its labels by --job=export_labels, correct them, and import them by "
            "--job=import_corrections; or leave the key empty"
        )
    return layers
