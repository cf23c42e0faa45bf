"""`--job=import_predictions`: other models' predictions become the labels of a run; `run_import_predictions`.

The default job does the same on its way where config.pseudo.labels asks for it.
"""

import pathlib

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.labels import label_stage
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.steering import open_prepared
from selftrain_jax.stages.choices import FOREIGN_LABELS, TEACHER_LABELS, label_source
from selftrain_jax.stages.graph import Stage


def run_import_predictions(config: ConfigDict, workdir: pathlib.Path, options: Options) -> None:
    """Make the labels of a round; config.pseudo.labels=teacher, the default, stands for foreign here.

    Raises:
        InputError: there are no predictions or they do not fit, or the folder holds other labels.
    """
    if config.unlabeled.kind == "none":
        raise InputError(
            "config.unlabeled.kind=none: there are no images that predictions could be for; name them "
            "(config.unlabeled)"
        )
    if label_source(config) == TEACHER_LABELS:
        config = config.copy_and_resolve_references()
        config.pseudo.labels = FOREIGN_LABELS
    run = open_prepared(config, workdir, options)
    label_stage(run, Stage("labels", options.round))
    hosts.log(
        f"to train on them, run the default job with the same --config.foreign keys and "
        f"--config.pseudo.labels={config.pseudo.labels}"
        + (f" --variant={options.variant}" if options.variant else "")
    )
