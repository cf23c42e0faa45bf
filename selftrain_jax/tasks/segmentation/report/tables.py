"""The tables of a segmentation run's report, written from its files; IoU is in points of 100."""

from collections.abc import Mapping
from typing import Any

from selftrain_jax.html import markup
from selftrain_jax.report.class_results import class_gains, classes_by_size, evaluations, points
from selftrain_jax.report.workdir import Run
from selftrain_jax.tasks.segmentation.report.label_quality import human_shares, percent, pseudo_shares
from selftrain_jax.tasks.segmentation.report.results import confusions, worst_confusions

RESULT_COLUMNS = {"mIoU": "miou", "mIoU, resized": "miou_resized", "pixel accuracy": "pixel_accuracy"}
QUALITY_WORDS = {
    "precision": "precision, the share of kept pixels that is right",
    "recall": "recall, the share of pixels that is kept and right",
    "miou": "mIoU of the kept pixels",
}
MAX_CONFUSIONS = 12


def scale_rows(run: Run) -> list[list[str]]:
    """List the stages whose masks were also averaged over several scales, as rows of the results table."""
    found = {name: stage.evaluation_scales for name, stage in run.stages.items() if stage.evaluation_scales}
    return [
        [
            f"{name}, inputs of {', '.join(map(str, evaluation['sizes_px']))} px"
            + (", mirrored too" if evaluation["flip"] else ""),
            *(markup.number(points(evaluation[key])) for key in RESULT_COLUMNS.values()),
            markup.number(evaluation["checkpoint_step"], 0),
            "",
        ]
        for name, evaluation in found.items()
    ]


def class_table(run: Run, key: str) -> str:
    """List every class's share of the test pixels, IoU by stage and gains, largest classes first.

    `key` is "iou", at the images' own size, or "iou_resized".
    """
    found, shares = evaluations(run), human_shares(run)
    gains = {over: class_gains(run, over, key) for over in ("control", "teacher")}
    gains = {over: values for over, values in gains.items() if values}
    rows = []
    for name in classes_by_size(run):
        known = [evaluation["per_class"].get(name, {}) for evaluation in found.values()]
        rows.append(
            [
                name,
                percent(shares.get(name)),
                *(markup.number(points(row.get(key))) for row in known),
                *(markup.number(values.get(name), signed=True) for values in gains.values()),
            ]
        )
    header = ["", "pixels", *found, *(f"over {over}" for over in gains)]
    return markup.table(header, rows)


def confusion_table(run: Run) -> str:
    """List the student's most frequent confusions and how often other stages make them; "" without any."""
    student = confusions(run, "student")
    if student is None:
        return ""
    others = {stage: confusions(run, stage) for stage in ("control", "teacher")}
    known = {"student": student} | {stage: found for stage, found in others.items() if found is not None}
    rows = []
    for row, column in worst_confusions(student, MAX_CONFUSIONS):
        truth, taken = student.names[row], student.names[column]
        shares = [percent(share_of(found.names, found.shares, truth, taken)) for found in known.values()]
        rows.append([f"{truth} taken for {taken}", *shares])
    return markup.table(["", *known], rows) if rows else ""


def share_of(names: list[str], shares: Any, truth: str, taken: str) -> float | None:
    """Look a pair of classes up; None where a stage never saw one of them."""
    if truth not in names or taken not in names:
        return None
    return float(shares[names.index(truth), names.index(taken)])


def label_table(manifest: Mapping[str, Any], quality: Mapping[str, Any] | None) -> str:
    """List the numbers of the pseudo masks, with their quality where it is known."""
    threshold = f"{manifest['threshold']:g}"
    rows = [
        ["images labelled", markup.number(manifest["num_images"], 0)],
        ["images that could not be read", markup.number(manifest["num_bad_images"], 0)],
        ["pixels", markup.number(manifest["num_pixels"], 0)],
        [f"pixels from the threshold {threshold} on", markup.number(manifest["num_pixels_at_threshold"], 0)],
        ["coverage, the share of pixels kept", percent(manifest["coverage"], 1)],
        ["images without any pixel kept", markup.number(manifest["images_without_pixels_at_threshold"], 0)],
    ]
    at = {} if quality is None else quality["at_threshold"]
    rows += [[text, percent(at[key], 1)] for key, text in QUALITY_WORDS.items() if key in at]
    return markup.table(["", ""], rows)


def label_class_table(run: Run) -> str:
    """List the pseudo pixels of every class, the most frequent first, beside the human labels' shares."""
    assert run.manifest is not None
    human, pseudo = human_shares(run), pseudo_shares(run)
    ranked = sorted(run.manifest["per_class"].items(), key=lambda item: -item[1]["pixels_at_threshold"])
    rows = [
        [
            name,
            markup.number(row["pixels"], 0),
            markup.number(row["pixels_at_threshold"], 0),
            percent(row["pixels_at_threshold"] / row["pixels"] if row["pixels"] else None),
            percent(pseudo[name]),
            percent(human.get(name)),
        ]
        for name, row in ranked
    ]
    header = ["", "pixels", "kept", "share kept", "share of all kept", "share in human labels"]
    return markup.table(header, rows)
