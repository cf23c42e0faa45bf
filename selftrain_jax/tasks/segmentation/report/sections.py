"""The report of a segmentation run (paper section 3.1). Call `gather_images`, then `report_sections`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.html.blocks import Block, Details, Legend, LegendEntry, Section, plots
from selftrain_jax.html.galleries import Gallery
from selftrain_jax.html.plots import Plot
from selftrain_jax.report import labels as label_parts
from selftrain_jax.report import page as parts
from selftrain_jax.report.curves import share_by_source
from selftrain_jax.report.results import ClassScore, class_gain_bars
from selftrain_jax.report.sources import source_blocks
from selftrain_jax.report.thresholds import thresholds_section
from selftrain_jax.report.workdir import RunFiles, class_names, evaluations, threshold_used
from selftrain_jax.run_files.arms import CONTROLS
from selftrain_jax.run_files.evaluation import Evaluation
from selftrain_jax.run_files.rounds import read_rounds, stage_folders
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.tasks.config_values import class_thresholds_by_name, reads_calibration
from selftrain_jax.tasks.segmentation.draw import mask_path, read_mask_png
from selftrain_jax.tasks.segmentation.pseudo.source import confidence_levels, read_raw_masks
from selftrain_jax.tasks.segmentation.report import galleries, label_quality, results
from selftrain_jax.tasks.segmentation.report.galleries import MaskStyle, summarise_pseudo_masks
from selftrain_jax.tasks.segmentation.report.test_images import (
    BOTH_WRONG,
    GAINED,
    LOST,
    Predicted,
    test_galleries,
)
from selftrain_jax.tasks.segmentation.run_files import MaskTotals
from selftrain_jax.types import Example

CLASS_IOU = ClassScore("iou", "IoU", "pixels")
HATCH = "repeating-linear-gradient(135deg,#333 0 1.5px,#fff 1.5px 4px,#999 4px 7px)"
SMALL_INCHES = 6.0  # a confusion matrix up to this wide is shown as wide as other plots


class MaskImages(NamedTuple):
    """Where the pictures come from; what is None or empty is left out."""

    test_source: Source | None  # pixels and truth of the test split
    pseudo_raw: Source | None  # images with `mask`, the class of every pixel, and its `confidence`
    pseudo_truth: Callable[[str], Example] | None  # image id -> true labels; no `mask` key where unknown
    augmented: Mapping[str, list[tuple[Example, Example]]]  # "s1".."s4" -> (before, after), uint8 images
    threshold: float  # the confidence from which pseudo pixels are kept
    predicted: Predicted  # (stage, image id) -> class map of a test image; see `read_predicted`
    class_thresholds: Mapping[str, float] = {}  # by class name, where they differ from `threshold`


def gather_images(
    config: ConfigDict,
    workdir: Path,
    test_source: Source,
    pseudo_truth: Callable[[str], Example] | None,
    augmented: Mapping[str, list[tuple[Example, Example]]],
) -> MaskImages:
    """Open the pseudo masks and the predictions of a run, if there are any, beside what every task has.

    Raises: InputError when the pseudo masks are damaged.
    """
    folder = workdir / "pseudo_labels"
    has_labels = (folder / "manifest.json").exists()
    return MaskImages(
        test_source=test_source,
        pseudo_raw=read_raw_masks(folder) if has_labels else None,
        pseudo_truth=pseudo_truth,
        augmented=augmented,
        threshold=config.pseudo.threshold,
        predicted=read_predicted(workdir),
        class_thresholds=_thresholds_in_use(config, folder, has_labels),
    )


def _thresholds_in_use(config: ConfigDict, folder: Path, has_labels: bool) -> Mapping[str, float]:
    """Return the thresholds by class: those of the labels where the teacher's calibration decides."""
    by_name = class_thresholds_by_name(config)
    if not (reads_calibration(config) and has_labels):
        return by_name
    return read_manifest(folder, MaskTotals).per_class_thresholds


def read_predicted(workdir: Path) -> Predicted:
    """Make the look-up of the class maps that evaluation wrote to `<stage>/masks/`, of the kept round."""
    folders = stage_folders(workdir, read_rounds(workdir))

    def predicted(stage: str, image_id: str) -> UInt8[np.ndarray, "H W"] | None:
        path = mask_path(folders[stage] / "masks", image_id)
        return read_mask_png(path) if path.exists() else None

    return predicted


def report_sections(run: RunFiles, images: MaskImages | None) -> list[Section]:
    """Say what each section of the report holds, in their order."""
    threshold = threshold_used(run) if images is None else float(images.threshold)
    sources = () if images is None else (images.test_source, images.pseudo_raw)
    names = class_names(run, *sources)
    return [
        results_section(run),
        parts.curves_section(run, {"miou": "mIoU", "pixel_accuracy": "Pixel accuracy"}),
        *parts.comparison_sections(run, "miou", "mIoU"),
        parts.training_section(run, training_plots(run)),
        _confusion_section(run),
        *thresholds_section(run),
        _labels_section(run, threshold),
        _label_images_section(images, names),
        _augmentation_section(images, names),
        _test_images_section(run, images, names),
        parts.reproduce_section(run),
    ]


def results_section(run: RunFiles) -> Section:
    """Show the table of mIoU in both ways, the gains, and the gains by class and by image."""
    drawn = [*class_gain_bars(run, CLASS_IOU), *results.image_gain_histogram(run)]
    blocks: list[Block] = [
        *plots(drawn, "gain"),
        Details("IoU of every class", results.class_table(run, "iou")),
        Details("IoU of every class, resized", results.class_table(run, "iou_resized")),
    ]
    return parts.results_section(run, results.RESULT_COLUMNS, _how_measured, blocks, results.scale_rows(run))


def training_plots(run: RunFiles) -> list[Plot]:
    """Draw what only the training of masks logs: pixels that are right, and pixels that count."""
    accuracy = "Agreement with the labels in training. Pseudo labels are the easier to agree with: what the "
    accuracy += "teacher was unsure of is left out."
    valid = "Padding and ignored pixels do not count. "
    valid += "Pseudo far below human: the threshold leaves little to learn."
    unit = "share of pixels"
    return [
        *share_by_source(run, "train/pixel_accuracy", unit, "Pixel accuracy in training", accuracy),
        *share_by_source(run, "train/valid_pixels", unit, "Pixels that count", valid),
    ]


def _how_measured(evaluation: Evaluation[Any]) -> str:
    size = evaluation.details.image_size_px
    frame = "the network's input" if size is None else f"{size:,} x {size:,} px"
    split = f"{evaluation.num_images:,} images of the split \u201c{evaluation.split}\u201d"
    return (
        f"Measured on {split}. mIoU counts the pixels of the images at their own size; \u201cresized\u201d "
        f"does with images and masks fitted into {frame}, as the paper's code does."
    )


def _confusion_section(run: RunFiles) -> Section:
    """Show what the student, or the stage that is there, takes for what."""
    lead = "What each class is taken for. A strong cell off the diagonal is where more labels would help."
    stage = next((name for name in ("student", *CONTROLS, "teacher") if name in evaluations(run)), None)
    if stage is None:
        return Section("confusion", "Confusion", lead, [])
    table, drawn = results.confusion_table(run), results.confusion_plot(run, stage)
    is_small = all(plot.figure.get_figwidth() < SMALL_INCHES for plot in drawn)
    listed = [] if table is None else [Details("The student's most frequent confusions", table)]
    layout = plots(drawn, "confused", "single" if is_small else "wide")
    return Section("confusion", "Confusion", lead, [*layout, *listed])


def _labels_section(run: RunFiles, threshold: float | None) -> Section:
    lead = "Good pseudo masks are precise at the threshold, and keep enough pixels of every class."
    if run.manifest is None:
        return Section("labels", "Pseudo labels", lead, [])
    drawn = [
        *label_quality.confidence_histogram(run, threshold),
        *label_quality.coverage_by_threshold(run, threshold),
        *label_quality.quality_by_threshold(run, threshold),
        *label_quality.precision_by_coverage(run),
        *label_parts.reliability(run, "pixels"),
        *label_quality.class_shares(run),
    ]
    by_class = label_quality.quality_by_class(run, threshold)
    tables = (
        label_quality.label_table(run.manifest, run.quality),
        label_quality.label_class_table(run, run.manifest.labels),
    )
    by_source = source_blocks(run, "pixels", "miou", "mIoU")
    return label_parts.labels_section(run, lead, tables, drawn, by_class, "pixels", by_source)


def _label_images_section(images: MaskImages | None, names: dict[int, str]) -> Section:
    lead = "Hatched pixels are below the threshold: the student learns nothing from them. "
    lead += "Look for objects that are hatched away, and for areas in the wrong colour."
    if images is None or images.pseudo_raw is None:
        return _pictures("label-images", lead, [], names)
    style = _style(images, names)
    summaries = summarise_pseudo_masks(images.pseudo_raw, images.pseudo_truth, style.levels)
    shown = galleries.pseudo_galleries(images.pseudo_raw, summaries, images.pseudo_truth, style)
    return _pictures("label-images", lead, shown, names, note=f"Chosen among {len(summaries):,} images.")


def _augmentation_section(images: MaskImages | None, names: dict[int, str]) -> Section:
    shown = [] if images is None else galleries.augmentation_galleries(images.augmented, names)
    return _pictures("augmentation", parts.AUGMENTATION_LEAD, shown, names)


def _test_images_section(run: RunFiles, images: MaskImages | None, names: dict[int, str]) -> Section:
    lead = "Look for what both stages miss, and for what only the student finds."
    if images is None or images.test_source is None:
        return _pictures("test-images", lead, [], names)
    shown = test_galleries(run, images.test_source, images.predicted, _style(images, names))
    if len(evaluations(run)) < 2 or "student" not in evaluations(run):
        return _pictures("test-images", lead, shown, names)
    lead += " The last picture of a row shows what changed with the student: start there."
    changes = {"became right": GAINED, "became wrong": LOST, "wrong in both": BOTH_WRONG}
    legend = Legend([LegendEntry(name, _css(color), "area") for name, color in changes.items()])
    return _pictures("test-images", lead, shown, names, [legend])


def _pictures(
    key: str,
    lead: str,
    shown: list[Gallery],
    names: dict[int, str],
    more_legends: Sequence[Legend] = (),
    note: str = "",
) -> Section:
    classes = {name: _css(voc_palette()[class_id]) for class_id, name in sorted(names.items())}
    entries = [LegendEntry(name, color, "area") for name, color in {**classes, "ignored": HATCH}.items()]
    return parts.pictures_section(key, lead, shown, [Legend(entries), *more_legends], note)


def _css(color: Sequence[int] | np.ndarray) -> str:
    return f"rgb({color[0]},{color[1]},{color[2]})"


def _style(images: MaskImages, names: dict[int, str]) -> MaskStyle:
    ids = {name: class_id for class_id, name in names.items()}
    thresholds = np.full(256, images.threshold, np.float32)
    for name, value in images.class_thresholds.items():
        if name in ids:
            thresholds[ids[name]] = value
    return MaskStyle(names, confidence_levels(thresholds))
