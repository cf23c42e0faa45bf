"""What a run's stages do differently for boxes and for masks; `open_task_jobs` chooses by config.task."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from selftrain_jax.build.experiment import Experiment
from selftrain_jax.data.source import Source
from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.manifest import LabelTotals, Manifest
from selftrain_jax.selftrain.label_job import Labeller
from selftrain_jax.selftrain.thresholds import parse_class_thresholds
from selftrain_jax.types import Variables

SCORES = {"detection": ("ap", "ap50", "ap75"), "segmentation": ("miou", "miou_resized", "pixel_accuracy")}
"""The numbers of an evaluation that curves and summaries show, the one that counts first."""


class TaskJobs(NamedTuple):
    """Inference, evaluation and pseudo labels of one task, with network and config closed over."""

    write_truth: Callable[[Source, Path], None]  # the test split's, into the run's folder
    measure: Callable[[Variables, Source], dict[str, Any]]  # the evaluation alone
    evaluate: Callable[[Variables, Source, Path], dict[str, Any]]  # and what was predicted, into a folder
    # The same over config.evaluate's scales; None where they are the usual one, or the task has no others.
    measure_scales: Callable[[Variables, Source], dict[str, Any]] | None
    labeller: Callable[[Variables, Source], Labeller]
    inference: Mapping[str, Any]  # settings that pseudo labels depend on, for the manifest
    write_quality: Callable[[Path, Source], Any]  # of finished pseudo labels, against the truth
    describe_labels: Callable[[Manifest], str]
    open_labels: Callable[[Path, Source], Source]  # pseudo labels for the student; the human ones to compare
    totals: type[LabelTotals]  # this task's part of manifest.json
    details: type[EvaluationDetails]  # and of evaluation.json


def open_task_jobs(config: ConfigDict, experiment: Experiment) -> TaskJobs:
    """Return the jobs of config.task."""
    if config.task == "segmentation":
        from selftrain_jax.tasks.segmentation.spec import mask_jobs

        return mask_jobs(config, experiment)
    from selftrain_jax.tasks.detection.spec import box_jobs

    return box_jobs(config, experiment)


def per_class_thresholds(config: ConfigDict) -> dict[str, float]:
    """Read config.pseudo.per_class_thresholds, "person=0.4,car=0.6".

    Raises:
      InputError: it does not have that form.
    """
    key = "config.pseudo.per_class_thresholds"
    return parse_class_thresholds(config.pseudo.per_class_thresholds, key)
