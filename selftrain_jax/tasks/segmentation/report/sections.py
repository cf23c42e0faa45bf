"""What each section of a segmentation run's report says, without its pictures.

Every function gives a whole `<section>`; `mask_page.mask_sections` puts them in order.
"""

from collections.abc import Mapping
from typing import Any

from selftrain_jax.html import markup
from selftrain_jax.report import class_results, curves
from selftrain_jax.report.class_results import evaluations
from selftrain_jax.report.workdir import Run
from selftrain_jax.tasks.detection.report import label_quality, tables
from selftrain_jax.tasks.detection.report.sections import (
    QUALITY_LEGEND,
    RESULTS_LEAD,
    small_multiples,
    unequal_steps,
)
from selftrain_jax.tasks.segmentation.report import label_quality as mask_quality
from selftrain_jax.tasks.segmentation.report import results as mask_results
from selftrain_jax.tasks.segmentation.report import tables as mask_tables

SMALL_INCHES = 6.0  # a confusion matrix up to this wide is shown as wide as other plots


def results_section(run: Run) -> str:
    """Show the table of mIoU in both ways, the gains, and the gains by class and by image."""
    found = evaluations(run)
    if not found:
        return markup.section("results", "Results", RESULTS_LEAD)
    drawn = [*class_results.class_gain_bars(run), *mask_results.image_gain_histogram(run)]
    return markup.section(
        "results",
        "Results",
        RESULTS_LEAD,
        tables.results_table(run, mask_tables.RESULT_COLUMNS, mask_tables.scale_rows(run)),
        markup.paragraph(_how_measured(next(iter(found.values()))), "hint"),
        unequal_steps(run),
        markup.plots(drawn, "gain"),
        markup.details("IoU of every class", mask_tables.class_table(run, "iou")),
        markup.details("IoU of every class, resized", mask_tables.class_table(run, "iou_resized")),
    )


def curves_section(run: Run) -> str:
    """Show mIoU and pixel accuracy over steps."""
    drawn = [*curves.learning_curve(run, "miou"), *curves.learning_curve(run, "pixel_accuracy")]
    lead = "A student that is still rising at its end would gain from more steps."
    return markup.section("curves", "Learning curves", lead, markup.plots(drawn, "curve"))


def confusion_section(run: Run) -> str:
    """Show what the student, or the stage that is there, takes for what."""
    lead = "What each class is taken for. A strong cell off the diagonal is where more labels would help."
    stage = next((name for name in ("student", "control", "teacher") if name in evaluations(run)), None)
    if stage is None:
        return markup.section("confusion", "Confusion", lead)
    listed, drawn = mask_tables.confusion_table(run), mask_results.confusion_plot(run, stage)
    is_small = all(plot.figure.get_figwidth() < SMALL_INCHES for plot in drawn)
    return markup.section(
        "confusion",
        "Confusion",
        lead,
        markup.plots(drawn, "confused", "plots single" if is_small else "plots wide"),
        markup.details("The student's most frequent confusions", listed) if listed else "",
    )


def labels_section(run: Run, threshold: float | None) -> str:
    """Show numbers and plots of the pseudo masks."""
    lead = "Good pseudo masks are precise at the threshold, and keep enough pixels of every class."
    if run.manifest is None:
        return markup.section("labels", "Pseudo labels", lead)
    drawn = [
        *mask_quality.confidence_histogram(run, threshold),
        *mask_quality.coverage_by_threshold(run, threshold),
        *mask_quality.quality_by_threshold(run, threshold),
        *mask_quality.precision_by_coverage(run),
        *label_quality.reliability(run),
        *mask_quality.class_shares(run),
    ]
    total = 0 if run.quality is None else len(run.quality["per_class"])
    by_class = mask_quality.quality_by_class(run, threshold)
    unknown = "The truth of these images is not known: no precision, recall or calibration."
    return markup.section(
        "labels",
        "Pseudo labels",
        lead,
        mask_tables.label_table(run.manifest, run.quality),
        "" if run.quality else markup.paragraph(unknown, "hint"),
        markup.details("Every class", mask_tables.label_class_table(run)),
        markup.plots(drawn, "label"),
        small_multiples(by_class, "plc", "By class", total, QUALITY_LEGEND, "pixels"),
    )


def _how_measured(evaluation: Mapping[str, Any]) -> str:
    size = evaluation.get("image_size_px")
    frame = "the network's input" if size is None else f"{size:,} x {size:,} px"
    split = f"{evaluation['num_images']:,} images of the split \u201c{evaluation['split']}\u201d"
    return (
        f"Measured on {split}. mIoU counts the pixels of the images at their own size; \u201cresized\u201d "
        f"does with images and masks fitted into {frame}, as the paper's code does. One run with one seed: "
        "run more seeds before you trust a small difference."
    )
