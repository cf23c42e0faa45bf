"""Segmentation as a `TaskSpec`: the class of every pixel, measured by mIoU."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.segmentation.task import make_segmentation_task
from selftrain_jax.selftrain.checks import check_every_source
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.config_values import LabelThresholds, source_thresholds, student_thresholds
from selftrain_jax.tasks.segmentation.class_weights import (
    balance_classes,
    check_class_weights,
    weights_by_id,
)
from selftrain_jax.tasks.segmentation.data import (
    KINDS,
    SCORE,
    SOFT,
    check_config,
    check_sources,
    open_split,
    pixel_counts,
)
from selftrain_jax.tasks.segmentation.doctor import examine, find_problems
from selftrain_jax.tasks.segmentation.export import export_network, read_exported
from selftrain_jax.tasks.segmentation.pseudo.calibration import count_right_pixels
from selftrain_jax.tasks.segmentation.pseudo.foreign import read_foreign
from selftrain_jax.tasks.segmentation.pseudo.network import network_sizes
from selftrain_jax.tasks.segmentation.pseudo.quality import write_mask_quality
from selftrain_jax.tasks.segmentation.pseudo.source import (
    MAX_CLASS_FRAC,
    check_pseudo_masks,
    read_pseudo_masks,
)
from selftrain_jax.tasks.segmentation.pseudo.view_choices import MASK_VIEWS
from selftrain_jax.tasks.segmentation.report.sections import gather_images, report_sections
from selftrain_jax.tasks.segmentation.run_files import MaskDetails, MaskTotals
from selftrain_jax.tasks.segmentation.selection import draw_labels, score_mask
from selftrain_jax.tasks.spec import HumanLabels, Metric, Predictor, SelfTraining, TaskSpec
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category, Example, MaskTargets, Task

if TYPE_CHECKING:
    from selftrain_jax.data.pipeline import TargetSpec


def _check_config(config: ConfigDict) -> None:
    check_config(config)
    check_class_weights(config)


def build_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return the segmenter's init, loss and predict for these classes.

    Raises:
        InputError: config.model names a network that does not exist, or values do not go together.
    """
    fields = config.model.to_dict()
    del fields["anchor_size"]
    num_classes = max(category.id for category in categories) + 1
    if config.pseudo.mask_top_k > num_classes:
        raise InputError(
            f"config.pseudo.mask_top_k={config.pseudo.mask_top_k}, but there are {num_classes} classes to "
            f"keep of a pixel; use at most {num_classes}"
        )
    try:
        model = make_segmenter(num_classes=num_classes, **fields)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return make_segmentation_task(
        model=model,
        image_size_px=config.image.size_px,
        loss_resolution=config.segmentation.loss_resolution,
        class_weights=weights_by_id(config, categories),
    )


def _open_predictor(config: ConfigDict, task: Task, mesh: Mesh) -> Predictor:
    from selftrain_jax.tasks.segmentation.predictor import open_predictor

    return open_predictor(config, task, mesh)


def _write_found(
    config: ConfigDict,
    source: Source,
    found: Iterable[Example],
    categories: tuple[Category, ...],
    output: Path,
) -> str:
    from selftrain_jax.tasks.segmentation.predictor import write_found

    return write_found(config, source, found, categories, output)


def _targets(config: ConfigDict, has_pseudo: bool) -> "TargetSpec":
    from selftrain_jax.tasks.segmentation.targets import mask_targets

    is_soft, is_weighed = (has_pseudo and is_asked for is_asked in _asked_of_pseudo(config))
    return mask_targets(is_soft=is_soft, is_weighed=is_weighed)


def _asked_of_pseudo(config: ConfigDict) -> tuple[bool, bool]:
    """Return whether pseudo masks are to be soft, and their pixels weighed."""
    return config.pseudo.mask_target == SOFT, config.pseudo.class_weight == SCORE


def _write_quality(
    config: ConfigDict, directory: Path, truth: Source, thresholds: LabelThresholds | None = None
) -> None:
    chosen = thresholds or student_thresholds(config)
    write_mask_quality(
        directory,
        truth,
        threshold=config.pseudo.threshold,
        per_class_thresholds=chosen.per_class,
        thresholds_by_source=source_thresholds(config, chosen),
        max_bad_images=config.data.max_bad_images,
    )


def _describe_labels(config: ConfigDict, manifest: Manifest[MaskTotals]) -> str:
    coverage, threshold, images = manifest.labels.coverage, config.pseudo.threshold, manifest.num_images
    return f"{coverage or 0.0:.1%} of the pixels of {images} images have a confidence of {threshold} or more"


def _open_labels(
    config: ConfigDict, directory: Path, human: HumanLabels, thresholds: LabelThresholds | None = None
) -> Source:
    """Open the pseudo masks for the student, after checking that they can teach anything."""
    settings, thresholds = config.pseudo, thresholds or student_thresholds(config)
    by_source, manifest = source_thresholds(config, thresholds), read_manifest(directory, MaskTotals)
    is_soft, is_weighed = _asked_of_pseudo(config)
    check_every_source(manifest, [FIRST_SOURCE, *by_source])
    for warning in check_pseudo_masks(
        manifest,
        human_categories=human.categories,
        human_pixels_per_class=human.counts,
        min_coverage=settings.min_coverage,
        max_class_frac=settings.max_class_frac or MAX_CLASS_FRAC,
    ):
        hosts.log(f"warning: {warning}")
    return read_pseudo_masks(
        directory,
        threshold=settings.threshold,
        per_class_thresholds=thresholds.per_class,
        thresholds_by_source=by_source,
        ignored_classes=thresholds.ignored,
        is_soft=is_soft,
        is_weighed=is_weighed,
        max_damaged=config.data.max_bad_images,
    )


def _target_shapes(config: ConfigDict, batch_size: int) -> MaskTargets:
    side, array = config.image.size_px, cast(Any, jax.ShapeDtypeStruct)
    is_soft, is_weighed = _asked_of_pseudo(config)
    return MaskTargets(
        array((batch_size, side, side), np.uint8),
        array((batch_size, side, side, 4), np.uint8) if is_soft else None,
        array((batch_size, side, side, 1), np.uint8) if is_weighed else None,
    )


def _label_bytes(config: ConfigDict, size_px: tuple[int, int]) -> float:
    """Take 0.42 bytes for each class and confidence of a pixel, as the quickstart's PNGs have."""
    side_px = min(max(size_px), config.image.tile_px or max(size_px))
    scale = min(1.0, config.segmentation.max_side_px / side_px)
    return 400.0 + 0.42 * config.pseudo.mask_top_k * scale**2 * size_px[0] * size_px[1]


def _label_pixels(settings: Mapping[str, Any]) -> int:
    sizes_px = network_sizes(settings["image.size_px"], settings["pseudo.scales"])
    return (2 if settings["pseudo.flip"] else 1) * sum(side_px**2 for side_px in sizes_px)


SEGMENTATION = TaskSpec(
    name="segmentation",
    metrics=(
        Metric("miou", "mIoU", "mIoU"),
        Metric("miou_resized", "mIoU of the resized masks", "resized"),
        Metric("pixel_accuracy", "pixel accuracy", "pixels"),
    ),
    evaluation_details=MaskDetails,
    data_kinds=KINDS,
    check_config=_check_config,
    complete_config=balance_classes,
    open_split=open_split,
    check_sources=check_sources,
    build_task=build_task,
    targets=_targets,
    idle_keys=(
        "loss",
        "postprocess",
        "pseudo.score_floor",
        "pseudo.ignore_below",
        "pseudo.views",
        "pseudo.box_weight",
        "pseudo.max_place_std",
        "pseudo.agnostic_iou",
        "pseudo.class_target",
        "model.anchor_size",
        "augment.box_fit",
        "image.tile_min_visible",
    ),
    self_training=SelfTraining(
        label_totals=MaskTotals,
        open_predictor=_open_predictor,
        write_truth=lambda source, workdir: None,  # the report reads masks from the data set
        label_settings=lambda config: {"scales": list(config.pseudo.scales)},
        target_shapes=_target_shapes,
        label_bytes=_label_bytes,
        label_pixels=_label_pixels,
        view_choices=MASK_VIEWS,
        write_quality=_write_quality,
        count_right=count_right_pixels,
        describe_labels=_describe_labels,
        read_foreign=read_foreign,
        open_labels=_open_labels,
        gather_images=gather_images,
        report_sections=report_sections,
        score_labels=score_mask,
        count_labels=lambda config, human: pixel_counts(human, max_bad_images=config.data.max_bad_images),
        draw_labels=draw_labels,
        write_found=_write_found,
        read_exported=read_exported,
        export_network=export_network,
        find_problems=find_problems,
        examine=examine,
    ),
)
