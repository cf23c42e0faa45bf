"""The sections of a detection run's report (paper section 3.1). `page.write_report` calls `box_sections`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.html import galleries, markup
from selftrain_jax.html.draw import class_color
from selftrain_jax.html.galleries import Gallery, Pen
from selftrain_jax.report.ranking import Labelled, boxes_of, is_kept, read_spread
from selftrain_jax.report.workdir import Run, Stage, class_names, threshold_used
from selftrain_jax.tasks.detection.report import sections
from selftrain_jax.tasks.detection.report.label_galleries import label_galleries
from selftrain_jax.tasks.detection.report.label_quality import BoxStatistics
from selftrain_jax.types import Example

CONTENTS = {
    "results": "Results",
    "curves": "Learning curves",
    "training": "Training",
    "precision-recall": "Precision and recall",
    "labels": "Pseudo labels",
    "label-images": "Pseudo-labelled images",
    "augmentation": "Augmentation",
    "test-images": "Test images",
    "reproduce": "Reproduce",
}


class ReportImages(NamedTuple):
    """Where the pictures come from; what is None or empty is left out."""

    test_source: Source | None  # pixels and truth of the test split
    pseudo_source: Source | None  # images with pseudo labels and scores, down to the floor
    pseudo_truth: Callable[[str], Example] | None  # image id -> true labels; no `boxes` key where unknown
    augmented: dict[
        str, list[tuple[Example, Example]]
    ]  # "s1".."s4" -> (before, after), uint8 images with boxes
    threshold: float  # the score from which pseudo boxes and detections are shown as found


def box_sections(run: Run, images: ReportImages | None) -> list[str]:
    """Write every section, in the order of CONTENTS."""
    threshold = threshold_used(run) if images is None else float(images.threshold)
    sources = () if images is None else (images.test_source, images.pseudo_source)
    names = class_names(run, *sources)
    labelled = _read_pseudo(images)
    human, pseudo = human_statistics(run), pseudo_statistics(labelled, threshold)
    return [
        sections.results_section(run),
        sections.curves_section(run),
        sections.training_section(run),
        sections.precision_recall_section(run),
        sections.labels_section(run, threshold, human, pseudo),
        _label_images_section(images, labelled, names),
        _augmentation_section(images, names),
        _test_images_section(run, images, names),
        sections.reproduce_section(run),
    ]


def human_statistics(run: Run) -> BoxStatistics | None:
    """Count and measure the human boxes of the test split."""
    if run.ground_truth is None:
        return None
    boxes = [row for row in run.ground_truth["annotations"] if not row.get("iscrowd")]
    counts = dict.fromkeys((str(image["id"]) for image in run.ground_truth["images"]), 0)
    for row in boxes:
        counts[str(row["image_id"])] += 1
    sizes = [max(row["bbox"][2] * row["bbox"][3], 0.0) ** 0.5 for row in boxes]
    return BoxStatistics(np.array(list(counts.values()), dtype=np.float64), np.array(sizes, dtype=np.float64))


def pseudo_statistics(labelled: list[Labelled], threshold: float | None) -> BoxStatistics | None:
    """Count and measure the pseudo boxes at the threshold, of the images that were read."""
    if not labelled or threshold is None:
        return None
    kept = [boxes_of(image.example)[is_kept(image.example, threshold)] for image in labelled]
    sides = np.concatenate([boxes[:, 2:] - boxes[:, :2] for boxes in kept])
    sizes = np.sqrt(np.prod(np.maximum(sides, 0), axis=1, dtype=np.float64))
    return BoxStatistics(np.array([len(boxes) for boxes in kept], dtype=np.float64), sizes)


def detections_by_image(stage: Stage) -> dict[str, Example]:
    """Turn COCO results (xywh) into examples (yxyx) by image id."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in stage.detections or []:
        rows.setdefault(str(row["image_id"]), []).append(row)
    return {image_id: _as_example(image_id, found) for image_id, found in rows.items()}


def _as_example(image_id: str, rows: list[Mapping[str, Any]]) -> Example:
    x, y, width, height = np.array([row["bbox"] for row in rows], dtype=np.float32).T
    return {
        "image_id": image_id,
        "boxes": np.stack([y, x, y + height, x + width], axis=1),
        "classes": np.array([row["category_id"] for row in rows], dtype=np.int32),
        "scores": np.array([row["score"] for row in rows], dtype=np.float32),
    }


def _label_images_section(
    images: ReportImages | None, labelled: list[Labelled], names: dict[int, str]
) -> str:
    lead = "Solid boxes became labels; dashed ones scored less than the threshold (but above half of it) "
    lead += "or are ignored. Look for objects without a solid box."
    if images is None or images.pseudo_source is None or not labelled:
        return _pictures("label-images", lead, [], names)
    shown = label_galleries(
        images.pseudo_source, labelled, images.pseudo_truth, Pen(names, float(images.threshold))
    )
    chosen = markup.paragraph(f"Chosen among {len(labelled):,} images.", "hint")
    return _pictures("label-images", lead, shown, names, chosen)


def _augmentation_section(images: ReportImages | None, names: dict[int, str]) -> str:
    shown = [] if images is None else galleries.augmentation_galleries(images.augmented, names)
    return _pictures("augmentation", sections.AUGMENTATION_LEAD, shown, names)


def _test_images_section(run: Run, images: ReportImages | None, names: dict[int, str]) -> str:
    lead = "Truth on the left. Look for what both stages miss, and for what only the student finds."
    if images is None or images.test_source is None:
        return _pictures("test-images", lead, [], names)
    found = {
        name: detections_by_image(stage) for name, stage in run.stages.items() if stage.detections is not None
    }
    source, pen = images.test_source, Pen(names, float(images.threshold))
    shown = galleries.test_galleries(source, found, pen) + galleries.disagreement_galleries(
        source, found, pen
    )
    return _pictures("test-images", lead, shown, names)


def _pictures(key: str, lead: str, shown: list[Gallery], names: dict[int, str], note_html: str = "") -> str:
    entries = [
        (name, f"rgb{class_color(class_id)}", "solid") for class_id, name in sorted(names.items()) if class_id
    ]
    head = markup.legend(entries) if shown and len(entries) <= 7 else ""
    return markup.section(
        key, CONTENTS[key], lead, *([note_html, head] if shown else []), *map(markup.gallery_html, shown)
    )


def _read_pseudo(images: ReportImages | None) -> list[Labelled]:
    if images is None or images.pseudo_source is None:
        return []
    return read_spread(images.pseudo_source.read_labels, len(images.pseudo_source))
