"""The tables of the report, written from a run's files; AP and AR are in points of 100."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from selftrain_jax.html import markup
from selftrain_jax.report.class_results import classes_by_size, evaluations, points
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


def results_table(
    run: Run, columns: Mapping[str, str] = COLUMNS, more_rows: Sequence[Sequence[str]] = ()
) -> str:
    """List the metrics of every stage, COCO's for boxes, and what the student gained over the others.

    `more_rows` of as many cells come last.
    """
    found = evaluations(run)
    rows = [
        [name, *(markup.number(points(evaluation[key])) for key in columns.values()), *_cost(run, name)]
        for name, evaluation in found.items()
    ]
    gains = [
        [
            f"student over {other}",
            *(_gain(found["student"], found[other], key) for key in columns.values()),
            "",
            "",
        ]
        for other in ("control", "teacher")
        if {"student", other} <= set(found)
    ]
    strong_rows = range(len(rows), len(rows) + len(gains))
    return markup.table(["", *columns, "steps", "time"], [*rows, *gains, *more_rows], strong_rows)


def class_table(run: Run) -> str:
    """List AP and AP50 of every class and stage, classes with most test boxes first."""
    found = evaluations(run)
    rows = []
    for name in classes_by_size(run):
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


def label_table(manifest: Mapping[str, Any], quality: Mapping[str, Any] | None) -> str:
    """List the numbers of the pseudo labels, with their quality where it is known."""
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


def label_class_table(manifest: Mapping[str, Any]) -> str:
    """Count the pseudo boxes of every class, the most frequent first."""
    rows = sorted(manifest["per_class"].items(), key=lambda row: -row[1]["boxes_at_threshold"])
    return markup.table(
        ["", "boxes at the threshold", "boxes at the floor"],
        [
            [name, markup.number(row["boxes_at_threshold"], 0), markup.number(row["boxes_at_floor"], 0)]
            for name, row in rows
        ],
    )


def facts_table(run: Run) -> str:
    """List where, on what, with what and for how long the run ran, as far as it has written that down."""
    summary = run.summary or {}
    facts: list[tuple[str, Any]] = [
        ("workdir", str(run.workdir)),
        ("device", summary.get("device")),
        ("seed", summary.get("seed")),
        ("total time", markup.duration(summary["seconds_total"]) if "seconds_total" in summary else None),
    ]
    for stage in STAGES:
        if summary.get(stage):
            facts += [(f"{stage} checkpoint", summary[stage].get("checkpoint"))]
    facts += [
        (f"{name} version", version) for name, version in sorted((summary.get("versions") or {}).items())
    ]
    known = [(name, value) for name, value in facts if value is not None]
    return markup.table(
        ["", ""], [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in known]
    )


def _gain(better: Mapping[str, Any], other: Mapping[str, Any], key: str) -> str:
    return markup.number(points(better[key]) - points(other[key]), signed=True)


def _cost(run: Run, name: str) -> list[str]:
    entry = (run.summary or {}).get(name) or {}
    steps = entry.get("steps", run.stages[name].evaluation["checkpoint_step"])  # type: ignore[index]
    return [markup.number(steps, 0), markup.duration(entry.get("seconds"))]
