"""Measured numbers of a released checkpoint beside the published ones: `compare`, `format_comparison`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.paper.released import HARD, SOFT, DataSet, Released

NEARLY_NOTHING = 0.1  # share of the published number


class Compared(NamedTuple):
    """A number as measured and as published, in points; None where nothing is published."""

    title: str
    setting: str
    ours: float
    published: float | None
    difference: float | None
    within_tolerance: bool | None


def compare(released: Released, scores: Mapping[str, Mapping[str, float]]) -> list[Compared]:
    """Return a checkpoint's numbers; `scores` are an evaluation's, fractions of 1, by setting and key."""
    return [
        _compare(title, setting.folder, 100 * scores[setting.folder][key], published, released.data_set)
        for title, setting, key, published in released.numbers
    ]


def _compare(title: str, setting: str, ours: float, published: float | None, data_set: DataSet) -> Compared:
    if published is None:
        return Compared(title, setting, ours, None, None, None)
    difference = round(ours - published, 6)  # 0.2 is within 0.2
    return Compared(title, setting, ours, published, difference, abs(difference) <= data_set.tolerance)


def suspects(released: Released, compared: Sequence[Compared], num_images: int) -> list[str]:
    """Say what to suspect, the surest first; [] where the images are the right ones and no number is off.

    Of the two readings of Soft-NMS one has to agree.
    """
    found = []
    data_set = released.data_set
    if num_images != data_set.num_images:
        found.append(
            f"the wrong val set: {num_images:,} images were measured, {data_set.name} has "
            f"{data_set.num_images:,}. No number here says anything of the published one"
        )
    judged = {row.setting: row for row in compared if row.within_tolerance is not None}
    soft = [judged[setting.folder] for setting in SOFT if setting.folder in judged]
    others = [row for row in judged.values() if row not in soft]
    if not all(row.within_tolerance for row in others):
        found += _suspects_of_all(released, others)
    elif soft and not any(row.within_tolerance for row in soft):
        found.append("the NMS convention: hard NMS agrees and Soft-NMS does not, in either reading of sigma")
    return found


def _suspects_of_all(released: Released, rows: Sequence[Compared]) -> list[str]:
    """Say what moves a number whatever the NMS is."""
    found = []
    is_detector = any(row.setting == HARD.folder for row in rows)
    if any(row.published is not None and row.ours < NEARLY_NOTHING * row.published for row in rows):
        found += [
            "the class ids: "
            + (
                "the labels need COCO's own ids, 1 to 90 with gaps, not 1 to 80"
                if is_detector
                else "the masks need VOC's own ids, 0 to 20"
            ),
            "the input rule: the network expects RGB, (x / 255 - mean) / deviation of ImageNet",
        ]
    found += [
        "the weights: an archive may hold moving averages beside the values of the last step; "
        "--config.import_weights.ema=True takes them (delete the imported folder first)",
        "BatchNorm's epsilon: --config.model.bn_epsilon=1e-3 or 1e-4, the authors' files have both",
        "the activation: --config.model.activation=relu or swish" if is_detector else "",
        "the NMS convention: IoU 0.5, score 0.05, 100 boxes, config.postprocess" if is_detector else "",
        "the resizing: config.image.size_px, the longer side, with zeros at the bottom and the right",
    ]
    return [line for line in found if line]


def format_comparison(released: Released, compared: Sequence[Compared], causes: Sequence[str]) -> str:
    """Return the table for the terminal, and what to suspect."""
    width = max(len(row.title) for row in compared)
    tolerance = released.data_set.tolerance
    lines = [f"{released.weights} on {released.data_set.name}, in points of 100, tolerance {tolerance:g}"]
    lines.append(f"{'':{width}} {'ours':>7} {'published':>10} {'difference':>11}")
    for row in compared:
        if row.published is None or row.difference is None:
            lines.append(f"{row.title:{width}} {row.ours:7.2f} {'-':>10}")
            continue
        verdict = "within" if row.within_tolerance else "OFF"
        lines.append(
            f"{row.title:{width}} {row.ours:7.2f} {row.published:10.1f} {row.difference:+11.2f}  {verdict}"
        )
    if causes:
        lines += ["what to suspect:", *(f"  - {cause}" for cause in causes)]
    return "\n".join(lines)
