"""Test results of masks beyond one number: IoU by class, what is taken for what, and the gain by image.

Numbers come from each stage's `evaluation.json`; IoU is in points of 100.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba

from selftrain_jax.html.blocks import Table
from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_axes, shorten, styled
from selftrain_jax.report.results import classes_by_size, gains_over, known_gains
from selftrain_jax.report.workdir import RunFiles, class_names, evaluations, points
from selftrain_jax.run_files.arms import CONTROLS
from selftrain_jax.tasks.segmentation.report.label_quality import human_shares
from selftrain_jax.text import number, percent

MAX_CLASSES = 30  # of a confusion matrix
MIN_SHARE = 0.01  # cells below stay empty
STRONGEST = 0.6  # opacity of a full cell, so that its number can be read
GAIN_BINS = 24
RESULT_COLUMNS = {"mIoU": "miou", "mIoU, resized": "miou_resized", "pixel accuracy": "pixel_accuracy"}
MAX_CONFUSIONS = 12


class Confusions(NamedTuple):
    """A stage's confusion matrix over the classes that occur, rows (truth) divided by their sum."""

    names: list[str]
    shares: Float[np.ndarray, "K K"]  # NaN in the rows of classes without a true pixel


def confusions(run: RunFiles, stage: str) -> Confusions | None:
    """Divide a stage's confusion matrix by rows; of many classes only those with most true pixels."""
    if stage not in evaluations(run):
        return None
    counts = np.array(evaluations(run)[stage].details.confusion, dtype=np.float64)
    names = {class_id: name for class_id, name in class_names(run).items() if class_id < len(counts)}
    occurs = [class_id for class_id in names if counts[class_id].sum() + counts[:, class_id].sum() > 0]
    most = sorted(sorted(occurs, key=lambda class_id: -counts[class_id].sum())[:MAX_CLASSES])
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(totals > 0, totals, np.nan)
    return Confusions([names[class_id] for class_id in most], shares[np.ix_(most, most)])


@styled()
def confusion_plot(run: RunFiles, stage: str) -> list[Plot]:
    """Draw where the true pixels of each class went, in percent; the diagonal is what was right."""
    matrix = confusions(run, stage)
    if matrix is None or not matrix.names:
        return []
    side = max(4.0, 1.4 + 0.31 * len(matrix.names))
    axes = new_axes("taken for", "true class", (side, side))
    _fill_cells(axes, matrix.shares)
    labels = [shorten(name, 18) for name in matrix.names]
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    caption = "Percent of the true pixels of a row. Off the diagonal: what the class is mistaken for. "
    caption += f"Cells below {100 * MIN_SHARE:g} % are empty."
    if len(class_names(run)) > len(labels) == MAX_CLASSES:
        caption += f" The {MAX_CLASSES} classes with most pixels."
    diagonal = zip(labels, np.diag(matrix.shares), strict=True)
    right = ", ".join(f"{name} {100 * share:.0f}" for name, share in diagonal)
    alt = f"Confusion matrix of the {stage}; percent right: {right}."
    return [finish(axes, f"Confusion matrix of the {stage}", caption, alt, legend=False)]


def worst_confusions(matrix: Confusions, count: int) -> list[tuple[int, int]]:
    """Pick the (row, column) pairs with the largest shares off the diagonal, largest first."""
    wrong = np.nan_to_num(np.where(np.eye(len(matrix.names), dtype=bool), 0.0, matrix.shares))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = [divmod(int(index), len(matrix.names)) for index in order]
    return [pair for pair in pairs if wrong[pair] >= MIN_SHARE]


def image_gains(run: RunFiles, over: str) -> dict[str, float]:
    """Subtract the mIoU of each image by stage `over` from the student's, in points."""
    return gains_over(run, over, lambda stage: stage.details.per_image)


@styled()
def image_gain_histogram(run: RunFiles) -> list[Plot]:
    """Draw how many test images the student improves and worsens, and by how much."""
    gains = {over: np.array(list(image_gains(run, over).values())) for over in (*CONTROLS, "teacher")}
    gains = {over: values for over, values in gains.items() if len(values)}
    if not gains:
        return []
    axes = new_axes("points of mIoU of the image gained by the student", "test images")
    reach = max(1.0, *(float(np.abs(values).max()) for values in gains.values()))
    for over, values in gains.items():
        counts, edges = np.histogram(values, np.linspace(-reach, reach, GAIN_BINS + 1))
        color, style = ROLE_COLORS[over], LINE_STYLES[over]
        axes.stairs(counts, edges, color=color, linestyle=style, linewidth=1.6, label=f"over {over}")
    axes.axvline(0, color=ROLE_COLORS["muted"], linewidth=0.8)
    summary = "; ".join(
        f"over {over} on {100 * (values > 0).mean():.0f} % of the images, median {np.median(values):+.1f}"
        for over, values in gains.items()
    )
    caption = f"Right of the line the student is better: {summary}. "
    caption += "An image's mIoU is over the classes in it."
    return [finish(axes, "Gain by image", caption, f"Gain in mIoU by image: {summary}.")]


def _fill_cells(axes: Axes, shares: Float[np.ndarray, "K K"]) -> None:
    cells = [(row, column) for row, column in np.argwhere(shares >= MIN_SHARE)]
    square = np.array([(-0.47, -0.47), (0.47, -0.47), (0.47, 0.47), (-0.47, 0.47)])
    corners = [np.array([x, y]) + square for y, x in cells]
    roles = ["student" if y == x else "pseudo" for y, x in cells]
    opacities = [STRONGEST * np.sqrt(shares[cell]) for cell in cells]
    colors = [to_rgba(ROLE_COLORS[role], opacity) for role, opacity in zip(roles, opacities, strict=True)]
    axes.add_collection(PolyCollection(corners, facecolors=colors, edgecolors="none", clip_on=False))
    for y, x in cells:
        axes.text(x, y, f"{100 * shares[y, x]:.0f}", ha="center", va="center_baseline", fontsize=7)


def scale_rows(run: RunFiles) -> list[list[str]]:
    """List the stages whose masks were also averaged over several scales, as rows of the results table."""
    rows = []
    for name, stage in run.stages.items():
        if (evaluation := stage.evaluation_scales) is not None:
            sizes = ", ".join(map(str, evaluation.details.sizes_px or ()))
            mirrored = ", mirrored too" if evaluation.details.flip else ""
            scores = [number(points(evaluation.scores[key])) for key in RESULT_COLUMNS.values()]
            steps = number(evaluation.checkpoint_step, 0)
            rows.append([f"{name}, inputs of {sizes} px{mirrored}", *scores, steps, ""])
    return rows


def class_table(run: RunFiles, key: str) -> Table:
    """List every class's share of the test pixels, IoU by stage and gains, largest classes first.

    `key` is "iou", at the images' own size, or "iou_resized".
    """
    stages, shares = evaluations(run), human_shares(run)
    gains = known_gains(run, key)
    rows = []
    for name in classes_by_size(run, "pixels"):
        known = [evaluation.per_class.get(name, {}) for evaluation in stages.values()]
        scores = [number(points(entry.get(key))) for entry in known]
        gained = [number(values.get(name), signed=True) for values in gains.values()]
        rows.append([name, percent(shares.get(name)), *scores, *gained])
    return Table(["", "pixels", *stages, *(f"over {over}" for over in gains)], rows)


def confusion_table(run: RunFiles) -> Table | None:
    """List the student's most frequent confusions and how often other stages make them; None without any."""
    student = confusions(run, "student")
    if student is None:
        return None
    others = {stage: confusions(run, stage) for stage in (*CONTROLS, "teacher")}
    known = {"student": student} | {stage: matrix for stage, matrix in others.items() if matrix is not None}
    rows = []
    for row, column in worst_confusions(student, MAX_CONFUSIONS):
        truth, taken = student.names[row], student.names[column]
        shares = [percent(share_of(matrix.names, matrix.shares, truth, taken)) for matrix in known.values()]
        rows.append([f"{truth} taken for {taken}", *shares])
    return Table(["", *known], rows) if rows else None


def share_of(names: list[str], shares: Float[np.ndarray, "K K"], truth: str, taken: str) -> float | None:
    """Look a pair of classes up; None where a stage never saw one of them."""
    if truth not in names or taken not in names:
        return None
    return float(shares[names.index(truth), names.index(taken)])
