"""The report of a detection run (paper section 3.1). Call `gather_images`, then `report_sections`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source
from selftrain_jax.html.blocks import Block, Details, Legend, LegendEntry, Section, plots
from selftrain_jax.html.draw import class_color
from selftrain_jax.html.galleries import Gallery
from selftrain_jax.report import labels as label_parts
from selftrain_jax.report import page as parts
from selftrain_jax.report.results import ClassScore, class_gain_bars
from selftrain_jax.report.review import review_section
from selftrain_jax.report.sources import source_blocks
from selftrain_jax.report.thresholds import thresholds_section
from selftrain_jax.report.workdir import RunFiles, StageFiles, class_names, threshold_used
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.tasks.detection.coco_export import source_ids
from selftrain_jax.tasks.detection.pseudo.source import read_pseudo_boxes
from selftrain_jax.tasks.detection.report import galleries, label_quality
from selftrain_jax.tasks.detection.report.galleries import BoxStyle, Labelled, read_spread
from selftrain_jax.tasks.detection.report.precision_recall import class_table, precision_recall_section
from selftrain_jax.types import Example

CLASS_AP = ClassScore("ap", "AP", "boxes")
COLUMNS = {
    **{"AP": "ap", "AP50": "ap50", "AP75": "ap75"},
    **{"AP small": "ap_small", "AP medium": "ap_medium", "AP large": "ap_large", "AR 100": "ar_100"},
}


class BoxImages(NamedTuple):
    """Where the pictures come from; what is None or empty is left out."""

    test_source: Source | None  # pixels and truth of the test split
    pseudo_source: Source | None  # images with pseudo labels and scores, down to the floor
    pseudo_truth: Callable[[str], Example] | None  # image id -> true labels; no `boxes` key where unknown
    augmented: Mapping[str, list[tuple[Example, Example]]]  # "s1".."s4" -> (before, after), uint8 images
    threshold: float  # the score from which pseudo boxes and detections are shown as of_image


def gather_images(
    config: ConfigDict,
    workdir: Path,
    test_source: Source,
    pseudo_truth: Callable[[str], Example] | None,
    augmented: Mapping[str, list[tuple[Example, Example]]],
) -> BoxImages:
    """Open the pseudo labels of a run, if there are any, beside what every task has.

    Raises: InputError when the pseudo labels are damaged.
    """
    folder = workdir / "pseudo_labels"
    has_labels = (folder / "manifest.json").exists()
    pseudo = read_pseudo_boxes(folder, threshold=config.pseudo.score_floor) if has_labels else None
    return BoxImages(test_source, pseudo, pseudo_truth, augmented, config.pseudo.threshold)


def report_sections(run: RunFiles, images: BoxImages | None) -> list[Section]:
    """Say what each section of the report holds, in their order."""
    threshold = threshold_used(run) if images is None else float(images.threshold)
    sources = () if images is None else (images.test_source, images.pseudo_source)
    names = class_names(run, *sources)
    labelled = _read_pseudo(images)
    return [
        _results_section(run),
        parts.curves_section(run, {"ap": "AP", "ap50": "AP50"}),
        *parts.comparison_sections(run, "ap", "AP"),
        parts.training_section(run),
        precision_recall_section(run),
        *thresholds_section(run),
        _labels_section(run, threshold, labelled),
        *review_section(run, names, "ap", "AP"),
        _label_images_section(images, labelled, names),
        _augmentation_section(images, names),
        _test_images_section(run, images, names),
        parts.reproduce_section(run),
    ]


def detections_by_image(stage: StageFiles, ids: Mapping[str, str]) -> dict[str, Example]:
    """Turn COCO results (xywh) into examples (yxyx) by the source's image id.

    `ids` are the source's by those of the results, where they differ (`source_ids`).
    """
    records: dict[str, list[Mapping[str, Any]]] = {}
    for record in stage.detections or []:
        image_id = str(record["image_id"])
        records.setdefault(ids.get(image_id, image_id), []).append(record)
    return {image_id: _as_example(image_id, of_image) for image_id, of_image in records.items()}


def _as_example(image_id: str, records: list[Mapping[str, Any]]) -> Example:
    x, y, width, height = np.array([record["bbox"] for record in records], dtype=np.float32).T
    return {
        "image_id": image_id,
        "boxes": np.stack([y, x, y + height, x + width], axis=1),
        "classes": np.array([record["category_id"] for record in records], dtype=np.int32),
        "scores": np.array([record["score"] for record in records], dtype=np.float32),
    }


def _results_section(run: RunFiles) -> Section:
    bars = plots(class_gain_bars(run, CLASS_AP), "gain", "single")
    blocks: list[Block] = [*bars, Details("AP of every class", class_table(run))]
    return parts.results_section(run, COLUMNS, _how_measured, blocks)


def _how_measured(evaluation: Evaluation[Any]) -> str:
    return f"Measured on {evaluation.num_images:,} images of the split \u201c{evaluation.split}\u201d."


def _labels_section(run: RunFiles, threshold: float | None, labelled: list[Labelled]) -> Section:
    lead = "Good pseudo labels are precise at the threshold and resemble human labels in number and size."
    if run.manifest is None:
        return Section("labels", "Pseudo labels", lead, [])
    human = label_quality.human_statistics(run)
    pseudo = label_quality.pseudo_statistics(labelled, threshold)
    drawn = [
        *label_quality.score_histogram(run, threshold),
        *label_quality.quality_by_threshold(run, threshold),
        *label_parts.reliability(run, "boxes"),
        *label_quality.boxes_per_image(human, pseudo),
        *label_quality.box_sizes(human, pseudo),
    ]
    by_class = label_quality.quality_by_class(run, threshold)
    tables = (
        label_quality.label_table(run.manifest, run.quality),
        label_quality.label_class_table(run.manifest.labels),
    )
    by_source = source_blocks(run, "boxes", "ap", "AP")
    return label_parts.labels_section(run, lead, tables, drawn, by_class, "boxes", by_source)


def _label_images_section(
    images: BoxImages | None, labelled: list[Labelled], names: dict[int, str]
) -> Section:
    lead = "Solid boxes became labels; dashed ones scored less than the threshold (but above half of it) "
    lead += "or are ignored. Look for objects without a solid box."
    if images is None or images.pseudo_source is None or not labelled:
        return _pictures("label-images", lead, [], names)
    style = BoxStyle(names, float(images.threshold))
    shown = galleries.label_galleries(images.pseudo_source, labelled, images.pseudo_truth, style)
    return _pictures("label-images", lead, shown, names, f"Chosen among {len(labelled):,} images.")


def _augmentation_section(images: BoxImages | None, names: dict[int, str]) -> Section:
    shown = [] if images is None else galleries.augmentation_galleries(images.augmented, names)
    return _pictures("augmentation", parts.AUGMENTATION_LEAD, shown, names)


def _test_images_section(run: RunFiles, images: BoxImages | None, names: dict[int, str]) -> Section:
    lead = "Truth on the left. Look for what both stages miss, and for what only the student finds."
    if images is None or images.test_source is None:
        return _pictures("test-images", lead, [], names)
    ids = source_ids(run.ground_truth) if run.ground_truth else {}
    detections = {
        name: detections_by_image(stage, ids)
        for name, stage in run.stages.items()
        if stage.detections is not None
    }
    source, style = images.test_source, BoxStyle(names, float(images.threshold))
    shown = galleries.test_galleries(source, detections, style)
    shown += galleries.disagreement_galleries(source, detections, style)
    return _pictures("test-images", lead, shown, names)


def _pictures(key: str, lead: str, shown: list[Gallery], names: dict[int, str], note: str = "") -> Section:
    named = sorted((class_id, name) for class_id, name in names.items() if class_id)
    entries = [LegendEntry(name, f"rgb{class_color(class_id)}") for class_id, name in named]
    legend = [Legend(entries)] if len(entries) <= 7 else []
    return parts.pictures_section(key, lead, shown, legend, note)


def _read_pseudo(images: BoxImages | None) -> list[Labelled]:
    if images is None or images.pseudo_source is None:
        return []
    return read_spread(images.pseudo_source.read_labels, len(images.pseudo_source))
