"""Detection as a `TaskSpec`: boxes found by RetinaNet, measured as COCO does."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.data.tiles import tile_grid
from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.checks import check_every_source
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.config_values import (
    LabelThresholds,
    class_thresholds_by_name,
    own_thresholds,
    source_thresholds,
    student_thresholds,
)
from selftrain_jax.tasks.detection.anchor_fit import check_anchor_size
from selftrain_jax.tasks.detection.coco_export import has_outdated_ids, write_coco_json
from selftrain_jax.tasks.detection.complete_config import complete_config
from selftrain_jax.tasks.detection.data import KINDS, check_sources, class_counts, open_split
from selftrain_jax.tasks.detection.doctor import examine, find_problems
from selftrain_jax.tasks.detection.export import export_network, read_exported
from selftrain_jax.tasks.detection.postprocess import build_postprocess, nms_score_threshold
from selftrain_jax.tasks.detection.pseudo.calibration import count_right_boxes
from selftrain_jax.tasks.detection.pseudo.foreign import read_foreign
from selftrain_jax.tasks.detection.pseudo.quality import write_quality
from selftrain_jax.tasks.detection.pseudo.source import (
    MAX_CLASS_FRAC,
    check_agnostic_iou,
    check_pseudo_boxes,
    check_slots,
    check_thresholds,
    read_pseudo_boxes,
)
from selftrain_jax.tasks.detection.pseudo.view_choices import BOX_VIEWS
from selftrain_jax.tasks.detection.pseudo.views import ONE_VIEW, count_pixels, read_views
from selftrain_jax.tasks.detection.pseudo.weights import check_places, read_weights
from selftrain_jax.tasks.detection.report.sections import gather_images, report_sections
from selftrain_jax.tasks.detection.review.apply import split_reviewed
from selftrain_jax.tasks.detection.review.export import export_review
from selftrain_jax.tasks.detection.review.read_back import read_corrections
from selftrain_jax.tasks.detection.run_files import BoxDetails, BoxTotals
from selftrain_jax.tasks.detection.selection import draw_labels, score_boxes
from selftrain_jax.tasks.spec import HumanLabels, HumanReview, Metric, Predictor, SelfTraining, TaskSpec
from selftrain_jax.tasks.tiles import cut_tiles, read_tiling
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import BoxTargets, Category, Example, Task
from selftrain_jax.unlabeled_sources import further_sources

if TYPE_CHECKING:
    from selftrain_jax.data.pipeline import TargetSpec


def check_config(config: ConfigDict) -> None:
    """Refuse more detections than a pseudo-labelled image has slots, and scores that no record will have.

    Raises:
        InputError: there may be more, a threshold of config.pseudo is below its score_floor, or its
            views, weights or overlap, or config.image's tiles, do not fit.
    """
    check_anchor_size(config)
    read_views(config.pseudo.views, config.image.size_px)
    read_tiling(config)
    if config.unlabeled.kind != "none":
        read_weights(config)
        check_agnostic_iou(config.pseudo.agnostic_iou)
        pseudo = config.pseudo
        thresholds = np.array([pseudo.threshold, *class_thresholds_by_name(config).values()], np.float32)
        least = np.full_like(thresholds, pseudo.ignore_below) if pseudo.ignore_below else thresholds
        check_thresholds(pseudo.score_floor, thresholds, least)
        _check_sources(config)
    most = config.postprocess.max_detections
    if most > config.image.max_boxes:
        raise InputError(
            f"config.postprocess.max_detections={most} boxes of the teacher may not fit into "
            f"config.image.max_boxes={config.image.max_boxes} slots; raise the latter, "
            f"--config.image.max_boxes={most}, or lower the former"
        )


def build_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return RetinaNet's init, loss and predict for these classes.

    Raises:
        InputError: config.model names a network that does not exist, or values do not go together.
    """
    check_config(config)
    fields = config.model.to_dict()
    anchor_size = fields.pop("anchor_size")
    if not anchor_size:
        raise InputError(
            "config.model.anchor_size=0 is found from human labels, which are not at hand here; name the "
            "size that the network was trained with (its stage.json has it)"
        )
    num_classes = max(category.id for category in categories) + 1
    try:
        model = make_retinanet(num_classes=num_classes, **fields)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return make_detection_task(
        model=model,
        image_size_px=config.image.size_px,
        anchor_size=anchor_size,
        postprocess=build_postprocess(config.postprocess, nms_score_threshold(config)),
        **config.loss.to_dict(),
    )


def _label_settings(config: ConfigDict) -> dict[str, Any]:
    """Return what pseudo boxes depend on beside the teacher: NMS as it was run."""
    return {"nms": {**config.postprocess.to_dict(), "score_threshold": nms_score_threshold(config)}}


def _open_predictor(config: ConfigDict, task: Task, mesh: Mesh) -> Predictor:
    from selftrain_jax.tasks.detection.predictor import open_predictor

    return open_predictor(config, task, mesh)


def _write_found(
    config: ConfigDict,
    source: Source,
    found: Iterable[Example],
    categories: tuple[Category, ...],
    output: Path,
) -> str:
    from selftrain_jax.tasks.detection.predictor import write_found

    return write_found(config, source, found, categories, output)


def _targets(config: ConfigDict, has_pseudo: bool) -> "TargetSpec":
    from selftrain_jax.tasks.detection.targets import box_targets

    return box_targets(config.image.max_boxes, read_weights(config))


def _write_truth(source: Source, workdir: Path) -> None:
    path = workdir / "ground_truth.json"
    if not path.exists() or has_outdated_ids(path, source):
        write_coco_json(source, path)


def _target_shapes(config: ConfigDict, batch_size: int) -> BoxTargets:
    slots, array = (batch_size, config.image.max_boxes), cast(Any, jax.ShapeDtypeStruct)
    flags = array(slots, np.bool_)
    weights = dict.fromkeys(read_weights(config).names, array(slots, np.float32))
    return BoxTargets(array((*slots, 4), np.float32), array(slots, np.int32), flags, flags, **weights)


def _label_bytes(config: ConfigDict, size_px: tuple[int, int]) -> float:
    """Count as many boxes as the teacher may find: seven numbers each, in 26 bytes, and the keys.

    Over several views `place_std` is one more, of 4 bytes.
    """
    views = read_views(config.pseudo.views, config.image.size_px)
    tiling = read_tiling(config)
    num_boxes = config.postprocess.max_detections * (len(tile_grid(size_px, tiling)) if tiling else 1)
    return 400.0 + (26.0 if len(views) == 1 else 30.0) * num_boxes


def _label_pixels(settings: Mapping[str, Any]) -> int:
    views = read_views(settings.get("pseudo.views", ONE_VIEW), settings["image.size_px"])
    return count_pixels(views, 2 ** settings["model.max_level"])


def _write_quality(
    config: ConfigDict, directory: Path, truth: Source, thresholds: LabelThresholds | None = None
) -> None:
    chosen = thresholds or student_thresholds(config)
    write_quality(
        directory,
        truth,
        threshold=config.pseudo.threshold,
        per_class_thresholds=chosen.per_class,
        thresholds_by_source=source_thresholds(config, chosen),
    )


def _check_sources(config: ConfigDict) -> None:
    """Compare the thresholds of further sources with the floor. Raises: InputError, with the group."""
    pseudo = config.pseudo
    for name in further_sources(config):
        threshold, per_class = own_thresholds(config, name)
        thresholds = np.array([threshold, *per_class.values()], np.float32)
        least = np.full_like(thresholds, pseudo.ignore_below) if pseudo.ignore_below else thresholds
        try:
            check_thresholds(pseudo.score_floor, thresholds, least)
        except InputError as error:
            raise InputError(f"config.unlabeled.also.{name}: {error}") from None


def _describe_labels(config: ConfigDict, manifest: Manifest[BoxTotals]) -> str:
    boxes, images = manifest.labels.num_kept, manifest.num_images
    return f"{boxes} boxes of score {config.pseudo.threshold} or more on {images} images"


def _open_labels(
    config: ConfigDict, directory: Path, human: HumanLabels, thresholds: LabelThresholds | None = None
) -> Source:
    """Open the pseudo labels for the student, after checking that they can teach anything."""
    settings, manifest = config.pseudo, read_manifest(directory, BoxTotals)
    thresholds = thresholds or student_thresholds(config)
    check_places(manifest, read_weights(config))
    by_source = source_thresholds(config, thresholds)
    check_every_source(manifest, [FIRST_SOURCE, *by_source])
    tiling = read_tiling(config)
    # Of an image that is cut into tiles the slots of a tile say nothing.
    most = np.inf if tiling else float(config.image.max_boxes)
    for warning in check_pseudo_boxes(
        manifest,
        human_categories=human.categories,
        human_boxes_per_class=human.counts,
        min_boxes_per_image=settings.min_boxes_per_image,
        max_empty_frac=settings.max_empty_frac,
        max_class_frac=settings.max_class_frac or MAX_CLASS_FRAC,
        max_boxes_per_image=most,
    ):
        hosts.log(f"warning: {warning}")
    source = read_pseudo_boxes(
        directory,
        threshold=settings.threshold,
        per_class_thresholds=thresholds.per_class,
        thresholds_by_source=by_source,
        ignore_below=thresholds.ignore_below or None,
        ignored_classes=thresholds.ignored,
        agnostic_iou=settings.agnostic_iou,
        max_damaged=config.data.max_bad_images,
    )
    check_slots(cut_tiles(config, source), manifest, config.image.max_boxes, is_tiled=tiling is not None)
    return source


DETECTION = TaskSpec(
    name="detection",
    metrics=(Metric("ap", "AP", "AP"), Metric("ap50", "AP50", "AP50"), Metric("ap75", "AP75", "AP75")),
    evaluation_details=BoxDetails,
    data_kinds=KINDS,
    check_config=check_config,
    complete_config=complete_config,
    open_split=open_split,
    check_sources=check_sources,
    build_task=build_task,
    targets=_targets,
    idle_keys=(
        "segmentation",
        "pseudo.scales",
        "pseudo.flip",
        "pseudo.mask_top_k",
        "pseudo.mask_target",
    ),
    self_training=SelfTraining(
        label_totals=BoxTotals,
        open_predictor=_open_predictor,
        write_truth=_write_truth,
        label_settings=_label_settings,
        target_shapes=_target_shapes,
        label_bytes=_label_bytes,
        label_pixels=_label_pixels,
        view_choices=BOX_VIEWS,
        write_quality=_write_quality,
        count_right=count_right_boxes,
        describe_labels=_describe_labels,
        read_foreign=read_foreign,
        open_labels=_open_labels,
        gather_images=gather_images,
        report_sections=report_sections,
        score_labels=score_boxes,
        count_labels=lambda config, human: class_counts(human),
        draw_labels=draw_labels,
        write_found=_write_found,
        read_exported=read_exported,
        export_network=export_network,
        find_problems=find_problems,
        examine=examine,
        review=HumanReview(export_review, read_corrections, split_reviewed),
    ),
)
