"""Segmentation's part of a run's stages: mIoU, masks as pseudo labels; call `mask_jobs`."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.experiment import Experiment
from selftrain_jax.data.source import Source
from selftrain_jax.selftrain.inference import InferredChunk
from selftrain_jax.selftrain.labeller import Labeller, mask_labeller
from selftrain_jax.selftrain.manifest import MASKS, Manifest, read_manifest
from selftrain_jax.tasks.segmentation.inference import (
    Segmenter,
    bind_variables,
    build_segmenter,
    evaluate_masks,
)
from selftrain_jax.tasks.segmentation.pixels import pixel_counts
from selftrain_jax.tasks.segmentation.pseudo.checks import check_pseudo_masks
from selftrain_jax.tasks.segmentation.pseudo.network import MaskNetwork, check_max_side, network_sizes
from selftrain_jax.tasks.segmentation.pseudo.quality import write_mask_quality
from selftrain_jax.tasks.segmentation.pseudo.source import read_pseudo_masks
from selftrain_jax.tasks.spec import TaskJobs, per_class_thresholds
from selftrain_jax.types import Variables


def mask_jobs(config: ConfigDict, experiment: Experiment) -> TaskJobs:
    """Close segmentation's jobs over a run's network and config."""
    segmenter, settings = build_segmenter(config, experiment), config.pseudo
    check_max_side(config.segmentation.max_side_px)
    for scales in (settings.scales, config.evaluate.scales):
        network_sizes(config.image.size_px, scales)  # wrong ones are refused before anything is trained
    thresholds = {
        "threshold": settings.threshold,
        "per_class_thresholds": per_class_thresholds(config),
    }

    def measure_scales(variables: Variables, source: Source) -> dict[str, Any]:
        several = {"scales": config.evaluate.scales, "flip": config.evaluate.flip}
        return evaluate_masks(segmenter, bind_variables(segmenter, variables, **several), source)

    def labeller(variables: Variables, source: Source) -> Labeller:
        network = bind_variables(segmenter, variables, scales=settings.scales, flip=settings.flip)
        return _say_shapes(mask_labeller(source, network), network)

    return TaskJobs(
        write_truth=lambda source, workdir: None,  # masks are read where they lie
        measure=partial(_evaluate, segmenter),
        evaluate=partial(_evaluate, segmenter),
        measure_scales=measure_scales
        if tuple(config.evaluate.scales) != (1.0,) or config.evaluate.flip
        else None,
        labeller=labeller,
        inference={"scales": list(settings.scales)},
        write_quality=partial(write_mask_quality, **thresholds, max_bad_images=config.data.max_bad_images),
        describe_labels=partial(_describe_labels, settings.threshold),
        open_labels=partial(_open_labels, config),
    )


def _say_shapes(labeller: Labeller, network: MaskNetwork) -> Labeller:
    """Print at the end how many shapes were compiled."""

    def infer(chunks: Iterable[tuple[int, Sequence[int]]]) -> Iterator[InferredChunk]:
        yield from labeller.infer(chunks)
        hosts.log(f"pseudo labels: compiled for {network.shapes_used}")

    return labeller._replace(infer=infer)


def _evaluate(
    segmenter: Segmenter, variables: Variables, source: Source, directory: Path | None = None
) -> dict[str, Any]:
    return evaluate_masks(segmenter, bind_variables(segmenter, variables), source, directory)


def _describe_labels(threshold: float, manifest: Manifest) -> str:
    coverage = 0.0 if manifest["coverage"] is None else manifest["coverage"]
    return f"{coverage:.1%} of the pixels of {manifest['num_images']} images are sure to {threshold} or more"


def _open_labels(config: ConfigDict, directory: Path, human: Source) -> Source:
    """Open the pseudo masks for the student, after a look at whether they can teach anything."""
    settings = config.pseudo
    for warning in check_pseudo_masks(
        read_manifest(directory, MASKS),
        human_categories=human.categories,
        human_pixels_per_class=pixel_counts(human, max_bad_images=config.data.max_bad_images),
        min_coverage=settings.min_coverage,
        max_class_frac=settings.max_class_frac,
    ):
        hosts.log(f"warning: {warning}")
    return read_pseudo_masks(
        directory,
        threshold=settings.threshold,
        per_class_thresholds=per_class_thresholds(config),
        max_damaged=config.data.max_bad_images,
    )
