"""What each section of the report says. A section whose stage has not run says so.

Every function gives a whole `<section>`; `page.write_report` puts them in order.
"""

import json
from collections.abc import Sequence

from selftrain_jax.html import markup
from selftrain_jax.html.plots import Plot
from selftrain_jax.report import class_results, curves
from selftrain_jax.report.class_results import evaluations
from selftrain_jax.report.workdir import STAGES, Run
from selftrain_jax.tasks.detection.report import label_quality, tables
from selftrain_jax.tasks.detection.report.label_quality import BoxStatistics

STAGE_LEGEND = [
    ("teacher", "var(--teacher)", "solid"),
    ("control", "var(--control)", "dashed"),
    ("student", "var(--student)", "solid"),
]
QUALITY_LEGEND = [
    ("precision", "var(--ink)", "solid"),
    ("recall", "var(--pseudo)", "dashed"),
    ("threshold in use", "var(--muted)", "dotted"),
]

RESULTS_LEAD = (
    "Compare the student with the control, which saw no pseudo labels, and not only with the teacher: "
    "with equal steps the difference is what the pseudo labels gave."
)
AUGMENTATION_LEAD = (
    "The four policies from flip and crop (S1) to the strongest (S4), as the network sees them."
)


def results_section(run: Run) -> str:
    """Show the table of COCO metrics, the gains, and the gains by class."""
    found = evaluations(run)
    if not found:
        return markup.section("results", "Results", RESULTS_LEAD)
    first = next(iter(found.values()))
    note = f"Measured on {first['num_images']:,} images of the split \u201c{first['split']}\u201d. "
    note += "One run with one seed: run more seeds before you trust a small difference."
    return markup.section(
        "results",
        "Results",
        RESULTS_LEAD,
        tables.results_table(run),
        markup.paragraph(note, "hint"),
        unequal_steps(run),
        markup.plots(class_results.class_gain_bars(run), "gain", "plots single"),
        markup.details("AP of every class", tables.class_table(run)),
    )


def curves_section(run: Run) -> str:
    """Show AP over steps."""
    drawn = [*curves.learning_curve(run, "ap"), *curves.learning_curve(run, "ap50")]
    lead = "A student that is still rising at its end would gain from more steps."
    return markup.section("curves", "Learning curves", lead, markup.plots(drawn, "curve"))


def training_section(run: Run, of_task: Sequence[Plot] = ()) -> str:
    """Show losses, what the task adds, the loss normaliser and the speed."""
    drawn = [plot for name in STAGES for plot in curves.loss_curve(run, name)] + [*of_task]
    drawn += [*curves.loss_norm_averages(run), *curves.loss_norm_ratio(run)]
    drawn += [*curves.speed_curve(run), *curves.data_wait_curve(run)]
    lead = "Look for curves that jump, rise or stop, and for an accelerator that waits for its data."
    return markup.section("training", "Training", lead, markup.plots(drawn, "loss"))


def precision_recall_section(run: Run) -> str:
    """Show precision-recall curves of all classes and of each."""
    lead = "Where a line ends early, objects are never found; where it starts low, confident boxes are wrong."
    drawn = [
        *class_results.precision_recall(run, "precision_iou50", "0.5"),
        *class_results.precision_recall(run, "precision_iou75", "0.75"),
    ]
    if not drawn:
        return markup.section("precision-recall", "Precision and recall", lead)
    body = markup.plots(drawn, "pr") + small_multiples(
        class_results.precision_recall_by_class(run),
        "prc",
        "By class, at IoU 0.5",
        len(class_results.classes_by_size(run)),
        [row for row in STAGE_LEGEND if row[0] in evaluations(run)],
    )
    return markup.section("precision-recall", "Precision and recall", lead, body)


def labels_section(
    run: Run, threshold: float | None, human: BoxStatistics | None, pseudo: BoxStatistics | None
) -> str:
    """Show numbers and plots of the pseudo labels."""
    lead = "Good pseudo labels are precise at the threshold and resemble human labels in number and size."
    if run.manifest is None:
        return markup.section("labels", "Pseudo labels", lead)
    drawn = [
        *label_quality.score_histogram(run, threshold),
        *label_quality.quality_by_threshold(run, threshold),
        *label_quality.reliability(run),
        *label_quality.boxes_per_image(human, pseudo),
        *label_quality.box_sizes(human, pseudo),
    ]
    total = 0 if run.quality is None else len(run.quality["per_class"])
    multiples = small_multiples(
        label_quality.quality_by_class(run, threshold), "plc", "By class", total, QUALITY_LEGEND
    )
    unknown = "The truth of these images is not known: no precision, recall or calibration."
    return markup.section(
        "labels",
        "Pseudo labels",
        lead,
        tables.label_table(run.manifest, run.quality),
        "" if run.quality else markup.paragraph(unknown, "hint"),
        markup.details("Every class", tables.label_class_table(run.manifest)),
        markup.plots(drawn, "label"),
        multiples,
    )


def reproduce_section(run: Run) -> str:
    """Show the command line, the versions and the whole configuration."""
    lead = "The same command on the same workdir resumes; on a new one it runs everything again."
    blocks = [_command(run), markup.details("Versions and weights", tables.facts_table(run))]
    if run.config is not None:
        config = json.dumps(run.config, indent=2, sort_keys=True)
        blocks.append(markup.details("Configuration", markup.code(config)))
    return markup.section("reproduce", "Reproduce", lead, *blocks)


def _command(run: Run) -> str:
    command = (run.summary or {}).get("command")
    if not command:
        return markup.paragraph("No command line is written down in summary.json.", "missing")
    return markup.code("\n".join(command) if isinstance(command, list) else str(command))


def unequal_steps(run: Run) -> str:
    """Warn where student and control were not trained alike."""
    steps = {name: evaluation["checkpoint_step"] for name, evaluation in evaluations(run).items()}
    if not {"student", "control"} <= set(steps) or steps["student"] == steps["control"]:
        return ""
    text = (
        f"The student was trained for {steps['student']:,} steps and the control for {steps['control']:,}: "
    )
    return markup.paragraph(text + "part of the gain may come from that.", "warning")


def small_multiples(
    drawn: list[Plot],
    key: str,
    title: str,
    total: int,
    entries: list[tuple[str, str, str]],
    unit: str = "boxes",
) -> str:
    """Lay out one small plot a class under one legend."""
    if not drawn:
        return ""
    rest = f"The {len(drawn)} classes with most {unit}, of {total}." if total > len(drawn) else ""
    hint = markup.paragraph(rest, "hint") if rest else ""
    return f"<h3>{title}</h3>{hint}{markup.legend(entries)}{markup.plots(drawn, key, 'plots small')}"
