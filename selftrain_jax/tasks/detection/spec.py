"""Detection as a `TaskSpec`: boxes found by RetinaNet, measured as COCO does."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.detection.nms import HardNMS, SoftNMS
from selftrain_jax.detection.postprocess import Postprocess
from selftrain_jax.detection.task import make_detection_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.retinanet import make_retinanet
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.config_values import class_thresholds_by_name
from selftrain_jax.tasks.detection.coco_export import write_coco_json
from selftrain_jax.tasks.detection.data import KINDS, class_counts, open_split
from selftrain_jax.tasks.detection.doctor import examine, find_problems
from selftrain_jax.tasks.detection.pseudo.quality import write_quality
from selftrain_jax.tasks.detection.pseudo.source import check_pseudo_boxes, read_pseudo_boxes
from selftrain_jax.tasks.detection.report.sections import gather_images, report_sections
from selftrain_jax.tasks.detection.run_files import BoxDetails, BoxTotals
from selftrain_jax.tasks.spec import Metric, Predictor, SelfTraining, TaskSpec, accept
from selftrain_jax.types import BoxTargets, Category, Task

if TYPE_CHECKING:
    from selftrain_jax.data.pipeline import TargetSpec


def build_task(config: ConfigDict, categories: tuple[Category, ...]) -> Task:
    """Return RetinaNet's init, loss and predict for these classes.

    Raises:
        InputError: config.model names a network that does not exist, or values do not go together.
    """
    if config.postprocess.max_detections > config.image.max_boxes:
        raise InputError(
            f"config.postprocess.max_detections={config.postprocess.max_detections} boxes of the teacher may "
            f"not fit into config.image.max_boxes={config.image.max_boxes} slots; raise the latter"
        )
    fields = config.model.to_dict()
    anchor_size = fields.pop("anchor_size")
    num_classes = max(category.id for category in categories) + 1
    try:
        model = make_retinanet(num_classes=num_classes, **fields)
    except InputError as error:
        raise InputError(f"config.model: {error}") from None
    return make_detection_task(
        model=model,
        image_size_px=config.image.size_px,
        anchor_size=anchor_size,
        postprocess=build_postprocess(config.postprocess),
        **config.loss.to_dict(),
    )


def build_postprocess(settings: ConfigDict) -> Postprocess:
    """Return how config.postprocess selects boxes."""
    nms: HardNMS | SoftNMS = HardNMS(settings.iou_threshold)
    if settings.soft_nms_sigma > 0:
        nms = SoftNMS(settings.soft_nms_sigma, settings.soft_nms_convention)
    return Postprocess(
        score_threshold=settings.score_threshold,
        pre_nms_top_k=settings.pre_nms_top_k,
        max_detections=settings.max_detections,
        nms=nms,
    )


def _open_predictor(config: ConfigDict, task: Task, mesh: Mesh) -> Predictor:
    from selftrain_jax.tasks.detection.predictor import open_predictor

    return open_predictor(config, task, mesh)


def _targets(config: ConfigDict) -> "TargetSpec":
    from selftrain_jax.tasks.detection.targets import box_targets

    return box_targets(config.image.max_boxes)


def _write_truth(source: Source, workdir: Path) -> None:
    if not (workdir / "ground_truth.json").exists():
        write_coco_json(source, workdir / "ground_truth.json")


def _target_shapes(config: ConfigDict, batch_size: int) -> BoxTargets:
    slots, array = (batch_size, config.image.max_boxes), cast(Any, jax.ShapeDtypeStruct)
    flags = array(slots, np.bool_)
    return BoxTargets(array((*slots, 4), np.float32), array(slots, np.int32), flags, flags)


def _label_bytes(config: ConfigDict, _: tuple[int, int]) -> float:
    """Count as many boxes as the teacher may find: seven numbers each, in 26 bytes, and the keys."""
    return 400.0 + 26.0 * config.postprocess.max_detections


def _write_quality(config: ConfigDict, directory: Path, truth: Source) -> None:
    by_name = class_thresholds_by_name(config)
    write_quality(directory, truth, threshold=config.pseudo.threshold, per_class_thresholds=by_name)


def _describe_labels(config: ConfigDict, manifest: Manifest[BoxTotals]) -> str:
    boxes, images = manifest.labels.num_kept, manifest.num_images
    return f"{boxes} boxes of score {config.pseudo.threshold} or more on {images} images"


def _open_labels(config: ConfigDict, directory: Path, human: Source) -> Source:
    """Open the pseudo labels for the student, after checking that they can teach anything."""
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
        per_class_thresholds=class_thresholds_by_name(config),
        ignore_below=settings.ignore_below or None,
        max_damaged=config.data.max_bad_images,
    )


DETECTION = TaskSpec(
    name="detection",
    metrics=(Metric("ap", "AP", "AP"), Metric("ap50", "AP50", "AP50"), Metric("ap75", "AP75", "AP75")),
    evaluation_details=BoxDetails,
    data_kinds=KINDS,
    check_config=accept,
    open_split=open_split,
    check_sources=accept,
    build_task=build_task,
    targets=_targets,
    idle_keys=("segmentation", "pseudo.scales", "pseudo.flip"),
    self_training=SelfTraining(
        label_totals=BoxTotals,
        open_predictor=_open_predictor,
        write_truth=_write_truth,
        label_settings=lambda config: {"nms": config.postprocess.to_dict()},
        target_shapes=_target_shapes,
        label_bytes=_label_bytes,
        write_quality=_write_quality,
        describe_labels=_describe_labels,
        open_labels=_open_labels,
        gather_images=gather_images,
        report_sections=report_sections,
        find_problems=find_problems,
        examine=examine,
    ),
)
