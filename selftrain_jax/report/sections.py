"""What each section of the report says. A section whose stage has not run says so.

Every function gives a whole `<section>`; `page.write_report` puts them in order.
"""

import json
from collections.abc import Mapping
from typing import Any

from selftrain_jax.report import class_results, curves, label_quality, markup
from selftrain_jax.report.class_results import evaluations, points
from selftrain_jax.report.label_quality import BoxStatistics
from selftrain_jax.report.workdir import STAGES, Run

COLUMNS = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "AP small": "ap_small",
    "AP medium": "ap_medium",
    "AP large": "ap_large",
    "AR 100": "ar_100",
}
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


def headline(run: Run) -> str:
    """Say the result in one sentence, as far as the run has come."""
    ap = {name: points(evaluation["ap"]) for name, evaluation in evaluations(run).items()}
    if "student" in ap:
        gains = [
            f"{markup.number(ap['student'] - ap[name], signed=True)} over {name}"
            for name in ("control", "teacher")
            if name in ap
        ]
        return ", ".join([f"Student {markup.number(ap['student'])} AP", *gains])
    if "teacher" in ap:
        return f"Teacher {markup.number(ap['teacher'])} AP; the student is not evaluated yet"
    return "No stage is evaluated yet"


def progress(run: Run) -> list[tuple[str, str]]:
    """Say of teacher, pseudo labels, control and student how far they are."""
    states = {name: _stage_state(run, name) for name in STAGES}
    labels = "not there yet" if run.manifest is None else f"{run.manifest['num_images']:,} images"
    return [
        ("teacher", states["teacher"]),
        ("pseudo labels", labels),
        ("control", states["control"]),
        ("student", states["student"]),
    ]


def results_section(run: Run) -> str:
    """Show the table of COCO metrics, the gains, and the gains by class."""
    lead = "Compare the student with the control, not only with the teacher: the control had as many steps "
    lead += "but no pseudo labels, so the difference is what the pseudo labels gave."
    found = evaluations(run)
    if not found:
        return markup.section("results", "Results", lead)
    rows = [
        [name, *(markup.number(points(evaluation[key])) for key in COLUMNS.values()), *_cost(run, name)]
        for name, evaluation in found.items()
    ]
    num_stages = len(rows)
    rows += [
        [
            f"student over {other}",
            *(_gain(found["student"], found[other], key) for key in COLUMNS.values()),
            "",
            "",
        ]
        for other in ("control", "teacher")
        if {"student", other} <= set(found)
    ]
    table = markup.table(["", *COLUMNS, "steps", "time"], rows, strong_rows=range(num_stages, len(rows)))
    first = next(iter(found.values()))
    note = f"Measured on {first['num_images']:,} images of the split “{first['split']}”. "
    note += "One run with one seed: run more seeds before you trust a small difference."
    per_class = markup.details("AP of every class", _class_table(run))
    bars = markup.plots(class_results.class_gain_bars(run), "gain", "plots single")
    return markup.section("results", "Results", lead, table, markup.paragraph(note, "hint"), bars, per_class)


def curves_section(run: Run) -> str:
    """Show AP over steps."""
    drawn = [*curves.learning_curve(run, "ap"), *curves.learning_curve(run, "ap50")]
    lead = "A student that is still rising at its end would gain from more steps."
    return markup.section("curves", "Learning curves", lead, markup.plots(drawn, "curve"))


def training_section(run: Run) -> str:
    """Show losses, the loss normaliser and the speed."""
    drawn = [plot for name in STAGES for plot in curves.loss_curve(run, name)]
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
    body = markup.plots(drawn, "pr") + _small_multiples(
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
    multiples = _small_multiples(
        label_quality.quality_by_class(run, threshold), "plc", "By class", total, QUALITY_LEGEND
    )
    unknown = (
        ""
        if run.quality
        else markup.paragraph(
            "The truth of these images is not known: no precision, recall or calibration.", "hint"
        )
    )
    tables = _label_table(run.manifest, run.quality) + markup.details(
        "Every class", _label_class_table(run.manifest)
    )
    return markup.section(
        "labels", "Pseudo labels", lead, tables, unknown, markup.plots(drawn, "label"), multiples
    )


def reproduce_section(run: Run) -> str:
    """Show the command line, the versions and the whole configuration."""
    lead = "The same command on the same workdir resumes; on a new one it runs everything again."
    summary = run.summary or {}
    command = summary.get("command")
    lines = command if isinstance(command, list) else [command]
    told = (
        markup.code("\n".join(map(str, lines)))
        if command
        else markup.paragraph(
            "The command line is not written down yet; it comes with summary.json.", "missing"
        )
    )
    facts = [
        ("workdir", str(run.workdir)),
        ("device", summary.get("device")),
        ("seed", summary.get("seed")),
        ("total time", markup.duration(summary.get("seconds_total")) if summary else None),
    ]
    facts += [
        (stage, _weights(summary[stage])) for stage in STAGES if isinstance(summary.get(stage), Mapping)
    ]
    facts += sorted((f"{name} version", version) for name, version in (summary.get("versions") or {}).items())
    rows = [
        [name, value if isinstance(value, str) else json.dumps(value)]
        for name, value in facts
        if value is not None
    ]
    blocks = markup.details("Versions and weights", markup.table(["", ""], rows))
    if run.config is not None:
        blocks += markup.details(
            "Configuration", markup.code(json.dumps(run.config, indent=2, sort_keys=True))
        )
    return markup.section("reproduce", "Reproduce", lead, told, blocks)


def _stage_state(run: Run, name: str) -> str:
    stage = run.stages[name]
    if stage.evaluation is not None:
        return f"{markup.number(points(stage.evaluation['ap']))} AP"
    return f"at step {stage.metrics[-1]['step']:,}" if stage.metrics else "not there yet"


def _gain(better: Mapping[str, Any], other: Mapping[str, Any], key: str) -> str:
    return markup.number(points(better[key]) - points(other[key]), signed=True)


def _cost(run: Run, name: str) -> list[str]:
    entry = (run.summary or {}).get(name) or {}
    steps = entry.get("steps", run.stages[name].evaluation["checkpoint_step"])  # type: ignore[index]
    return [markup.number(steps, 0), markup.duration(entry.get("seconds"))]


def _class_table(run: Run) -> str:
    found = evaluations(run)
    rows = []
    for name in class_results.classes_by_size(run):
        known = {stage: evaluation["per_class"].get(name, {}) for stage, evaluation in found.items()}
        boxes = max(row.get("num_boxes", 0) for row in known.values())
        rows.append(
            [
                name,
                markup.number(boxes, 0),
                *(markup.number(points(row.get("ap"))) for row in known.values()),
                *(markup.number(points(row.get("ap50"))) for row in known.values()),
            ]
        )
    header = ["", "boxes", *(f"{stage} AP" for stage in found), *(f"{stage} AP50" for stage in found)]
    return markup.table(header, rows)


def _label_table(manifest: Mapping[str, Any], quality: Mapping[str, Any] | None) -> str:
    images = manifest["num_images"]
    rows = [
        ["images labelled", markup.number(images, 0)],
        ["images that could not be read", markup.number(manifest["num_bad_images"], 0)],
        [f"boxes from the floor {manifest['score_floor']:g} on", markup.number(manifest["num_boxes"], 0)],
        [
            f"boxes from the threshold {manifest['threshold']:g} on",
            markup.number(manifest["num_boxes_at_threshold"], 0),
        ],
        [
            "of them in an image, on average",
            markup.number(manifest["num_boxes_at_threshold"] / max(images, 1), 2),
        ],
        ["images without any such box", markup.number(manifest["images_without_boxes_at_threshold"], 0)],
    ]
    at = {} if quality is None else quality["at_threshold"]
    rows += [
        [f"{name} at the threshold, IoU {quality['iou']:g}", markup.number(at[name], 3)]
        for name in ("precision", "recall")
        if quality is not None
    ]
    return markup.table(["", ""], rows)


def _label_class_table(manifest: Mapping[str, Any]) -> str:
    rows = sorted(manifest["per_class"].items(), key=lambda row: -row[1]["boxes_at_threshold"])
    return markup.table(
        ["", "boxes at the threshold", "boxes at the floor"],
        [
            [name, markup.number(row["boxes_at_threshold"], 0), markup.number(row["boxes_at_floor"], 0)]
            for name, row in rows
        ],
    )


def _small_multiples(
    drawn: list[Any], key: str, title: str, total: int, entries: list[tuple[str, str, str]]
) -> str:
    if not drawn:
        return ""
    rest = f"The {len(drawn)} classes with most boxes, of {total}." if total > len(drawn) else ""
    hint = markup.paragraph(rest, "hint") if rest else ""
    return f"<h3>{title}</h3>{hint}{markup.legend(entries)}{markup.plots(drawn, key, 'plots small')}"


def _weights(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('checkpoint', 'no checkpoint')}, step {entry.get('steps', '?')}"
