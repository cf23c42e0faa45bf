"""Detection's part of a run's stages: COCO evaluation, boxes as pseudo labels; call `box_jobs`."""

import functools
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.experiment import Experiment
from selftrain_jax.data.source import Source
from selftrain_jax.io import write_json
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.label_job import Labeller
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.detection.coco_export import write_coco_json
from selftrain_jax.tasks.detection.inference import Detector, bind_variables, build_detector, evaluate_source
from selftrain_jax.tasks.detection.pseudo.checks import check_pseudo_boxes
from selftrain_jax.tasks.detection.pseudo.labeller import box_labeller
from selftrain_jax.tasks.detection.pseudo.quality import write_quality
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.detection.run_files import BoxDetails, BoxTotals
from selftrain_jax.tasks.spec import TaskJobs, per_class_thresholds
from selftrain_jax.types import Variables


def box_jobs(config: ConfigDict, experiment: Experiment) -> TaskJobs:
    """Close detection's jobs over a run's network and config."""
    detector = build_detector(config, experiment)
    thresholds = {
        "threshold": config.pseudo.threshold,
        "per_class_thresholds": per_class_thresholds(config),
    }

    def labeller(variables: Variables, source: Source) -> Labeller:
        return box_labeller(source, bind_variables(detector, variables, config.pseudo.score_floor))

    return TaskJobs(
        write_truth=_write_truth,
        measure=lambda variables, source: evaluate_source(detector, variables, source)[0],
        evaluate=functools.partial(_evaluate, detector),
        measure_scales=None,
        labeller=labeller,
        inference={"nms": config.postprocess.to_dict()},
        write_quality=functools.partial(write_quality, **thresholds),
        describe_labels=functools.partial(_describe_labels, config.pseudo.threshold),
        open_labels=functools.partial(_open_labels, config),
        totals=BoxTotals,
        details=BoxDetails,
    )


def _write_truth(source: Source, workdir: Path) -> None:
    if not (workdir / "ground_truth.json").exists():
        write_coco_json(source, workdir / "ground_truth.json")


def _evaluate(detector: Detector, variables: Variables, source: Source, directory: Path) -> dict[str, Any]:
    result, detections = evaluate_source(detector, variables, source)
    hosts.run_on_host0(lambda: write_json(directory / "detections.json", detections))
    return result


def _describe_labels(threshold: float, manifest: Manifest[BoxTotals]) -> str:
    boxes, images = manifest.labels.num_kept, manifest.num_images
    return f"{boxes} boxes of score {threshold} or more on {images} images"


def _open_labels(config: ConfigDict, directory: Path, human: Source) -> Source:
    """Open the pseudo labels for the student, after a look at whether they can teach anything."""
    settings = config.pseudo
    for warning in check_pseudo_boxes(
        read_manifest(directory, BoxTotals),
        human_categories=human.categories,
        human_boxes_per_class=class_counts(human),
        min_boxes_per_image=settings.min_boxes_per_image,
        max_empty_frac=settings.max_empty_frac,
        max_boxes_per_image=config.image.max_boxes,
    ):
        hosts.log(f"warning: {warning}")
    return read_pseudo_boxes(
        directory,
        threshold=settings.threshold,
        per_class_thresholds=per_class_thresholds(config),
        ignore_below=settings.ignore_below or None,
        max_damaged=config.data.max_bad_images,
    )


def class_counts(source: Source) -> dict[str, int]:
    """Count a labelled source's boxes by class name."""
    counts = dict.fromkeys((category.name for category in source.categories), 0)
    names = {category.id: category.name for category in source.categories}
    for index in range(len(source)):
        for class_id in source.read_labels(index)["classes"]:
            counts[names[int(class_id)]] += 1
    return counts
