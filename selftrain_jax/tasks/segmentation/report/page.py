"""The sections of a report on masks (paper section 3.1). `page.write_report` calls `mask_sections`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.html import markup
from selftrain_jax.html.galleries import Gallery
from selftrain_jax.html.plots import Plot
from selftrain_jax.report.class_results import evaluations
from selftrain_jax.report.workdir import Run, class_names, threshold_used
from selftrain_jax.tasks.detection.report import sections
from selftrain_jax.tasks.segmentation.draw import mask_path, read_mask_png
from selftrain_jax.tasks.segmentation.pseudo.confidence import confidence_levels
from selftrain_jax.tasks.segmentation.report import galleries as mask_galleries
from selftrain_jax.tasks.segmentation.report import sections as parts
from selftrain_jax.tasks.segmentation.report import training as mask_training
from selftrain_jax.tasks.segmentation.report.galleries import Brush
from selftrain_jax.tasks.segmentation.report.ranking import summarise_pseudo_masks
from selftrain_jax.tasks.segmentation.report.test_images import (
    BOTH_WRONG,
    GAINED,
    LOST,
    Predicted,
    test_galleries,
)
from selftrain_jax.types import Example

CONTENTS = {
    "results": "Results",
    "curves": "Learning curves",
    "training": "Training",
    "confusion": "Confusion",
    "labels": "Pseudo labels",
    "label-images": "Pseudo-labelled images",
    "augmentation": "Augmentation",
    "test-images": "Test images",
    "reproduce": "Reproduce",
}
HATCH = "repeating-linear-gradient(135deg,#333 0 1.5px,#fff 1.5px 4px,#999 4px 7px)"


class MaskReportImages(NamedTuple):
    """Where the pictures come from; what is None or empty is left out."""

    test_source: Source | None  # pixels and truth of the test split
    pseudo_raw: Source | None  # images with `mask`, the class of every pixel, and its `confidence`
    pseudo_truth: Callable[[str], Example] | None  # image id -> true labels; no `mask` key where unknown
    augmented: dict[str, list[tuple[Example, Example]]]  # "s1".."s4" -> (before, after): uint8 image and mask
    threshold: float  # the confidence from which pseudo pixels are kept
    predicted: Predicted  # (stage, image id) -> class map of a test image; see `read_predicted`
    class_thresholds: Mapping[str, float] = {}  # by class name, where they differ from `threshold`


def read_predicted(workdir: Path) -> Predicted:
    """Make the look-up of the class maps that evaluation wrote to `<stage>/masks/`."""

    def predicted(stage: str, image_id: str) -> UInt8[np.ndarray, "H W"] | None:
        path = mask_path(workdir / stage / "masks", image_id)
        return read_mask_png(path) if path.exists() else None

    return predicted


def mask_sections(run: Run, images: MaskReportImages | None) -> list[str]:
    """Write every section, in the order of CONTENTS."""
    threshold = threshold_used(run) if images is None else float(images.threshold)
    sources = () if images is None else (images.test_source, images.pseudo_raw)
    names = class_names(run, *sources)
    return [
        parts.results_section(run),
        parts.curves_section(run),
        sections.training_section(run, _training_plots(run)),
        parts.confusion_section(run),
        parts.labels_section(run, threshold),
        _label_images_section(images, names),
        _augmentation_section(images, names),
        _test_images_section(run, images, names),
        sections.reproduce_section(run),
    ]


def _training_plots(run: Run) -> list[Plot]:
    """Draw what only the training of masks logs."""
    return [*mask_training.pixel_accuracy_curve(run), *mask_training.valid_pixels_curve(run)]


def _label_images_section(images: MaskReportImages | None, names: dict[int, str]) -> str:
    lead = "Hatched pixels are below the threshold: the student learns nothing from them. "
    lead += "Look for objects that are hatched away, and for areas in the wrong colour."
    if images is None or images.pseudo_raw is None:
        return _pictures("label-images", lead, [], names)
    brush = _brush(images, names)
    summaries = summarise_pseudo_masks(images.pseudo_raw, images.pseudo_truth, brush.levels)
    shown = mask_galleries.pseudo_galleries(images.pseudo_raw, summaries, images.pseudo_truth, brush)
    chosen = markup.paragraph(f"Chosen among {len(summaries):,} images.", "hint")
    return _pictures("label-images", lead, shown, names, chosen)


def _augmentation_section(images: MaskReportImages | None, names: dict[int, str]) -> str:
    shown = [] if images is None else mask_galleries.augmentation_galleries(images.augmented, names)
    return _pictures("augmentation", sections.AUGMENTATION_LEAD, shown, names)


def _test_images_section(run: Run, images: MaskReportImages | None, names: dict[int, str]) -> str:
    lead = "Look for what both stages miss, and for what only the student finds."
    if images is None or images.test_source is None:
        return _pictures("test-images", lead, [], names)
    shown = test_galleries(run, images.test_source, images.predicted, _brush(images, names))
    has_changes = len(evaluations(run)) > 1 and "student" in evaluations(run)
    lead += (
        " The last picture of a row shows what changed with the student: start there." if has_changes else ""
    )
    changes = [("became right", GAINED), ("became wrong", LOST), ("wrong in both", BOTH_WRONG)]
    note = markup.swatches((name, _css(color)) for name, color in changes) if has_changes else ""
    return _pictures("test-images", lead, shown, names, note)


def _pictures(key: str, lead: str, shown: list[Gallery], names: dict[int, str], note_html: str = "") -> str:
    entries = [(name, _css(voc_palette()[class_id])) for class_id, name in sorted(names.items())]
    head = [markup.swatches([*entries, ("ignored", HATCH)]), note_html] if shown else []
    return markup.section(key, CONTENTS[key], lead, *head, *map(markup.gallery_html, shown))


def _css(color: Sequence[int] | np.ndarray) -> str:
    return f"rgb({color[0]},{color[1]},{color[2]})"


def _brush(images: MaskReportImages, names: dict[int, str]) -> Brush:
    ids = {name: class_id for class_id, name in names.items()}
    thresholds = np.full(256, images.threshold, np.float32)
    for name, value in images.class_thresholds.items():
        if name in ids:
            thresholds[ids[name]] = value
    return Brush(names, confidence_levels(thresholds))
