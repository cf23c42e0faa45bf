"""How good the pseudo boxes are: scores, precision and recall, and their number and size beside human labels.

Precision and recall need `quality.json`, which exists where the truth of the images is known.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from selftrain_jax.geometry import box_areas
from selftrain_jax.html.blocks import Table
from selftrain_jax.html.plots import LINE_STYLES, ROLE_COLORS, Plot, finish, new_axes, styled
from selftrain_jax.report import labels
from selftrain_jax.report.labels import mark_threshold, quality_axes
from selftrain_jax.report.workdir import RunFiles, as_floats
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.run_files.quality import Quality
from selftrain_jax.tasks.detection.report.galleries import Labelled, boxes_of, is_kept
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.text import format_value, number


class BoxStatistics(NamedTuple):
    """Of a set of labelled images: the boxes in each image, and the size of each box."""

    boxes_per_image: Float[np.ndarray, " I"]
    sizes_px: Float[np.ndarray, " N"]  # square root of the area


def human_statistics(run: RunFiles) -> BoxStatistics | None:
    """Count and measure the human boxes of the test split."""
    if run.ground_truth is None:
        return None
    boxes = [record for record in run.ground_truth["annotations"] if not record.get("iscrowd")]
    counts = dict.fromkeys((str(image["id"]) for image in run.ground_truth["images"]), 0)
    for record in boxes:
        counts[str(record["image_id"])] += 1
    sizes = [max(record["bbox"][2] * record["bbox"][3], 0.0) ** 0.5 for record in boxes]
    return BoxStatistics(np.array(list(counts.values()), dtype=np.float64), np.array(sizes, dtype=np.float64))


def pseudo_statistics(labelled: list[Labelled], threshold: float | None) -> BoxStatistics | None:
    """Count and measure the pseudo boxes at the threshold, of the images that were read."""
    if not labelled or threshold is None:
        return None
    kept = [boxes_of(image.example)[is_kept(image.example, threshold)] for image in labelled]
    sizes = np.sqrt(box_areas(np.concatenate(kept).astype(np.float64)))
    return BoxStatistics(np.array([len(boxes) for boxes in kept], dtype=np.float64), sizes)


def label_table(manifest: Manifest[BoxTotals], quality: Quality | None) -> Table:
    """List the numbers of the pseudo labels, with their quality where it is known."""
    images, boxes = manifest.num_images, manifest.labels
    rows = [
        ["images labelled", number(images, 0)],
        ["images that could not be read", number(manifest.num_bad_images, 0)],
        ["views of an image, f: mirrored", boxes.settings.views],
        [f"boxes from the floor {boxes.settings.score_floor:g} on", number(boxes.num_boxes, 0)],
        [f"boxes from the threshold {manifest.threshold:g} on", number(boxes.num_kept, 0)],
        ["of them in an image, on average", number(boxes.num_kept / max(images, 1), 2)],
        ["images without any such box", number(boxes.images_without_boxes_at_threshold, 0)],
    ]
    if quality is not None:
        at, iou = quality.at_threshold, f"IoU {quality.iou:g}"
        rows += [[f"{name} at the threshold, {iou}", number(at[name], 3)] for name in ("precision", "recall")]
    return Table(["", ""], rows)


def label_class_table(boxes: BoxTotals) -> Table:
    """Count the pseudo boxes of every class, the most frequent first."""
    classes = sorted(boxes.per_class.items(), key=lambda entry: -entry[1].boxes_at_threshold)
    rows = [
        [name, number(counts.boxes_at_threshold, 0), number(counts.boxes_at_floor, 0)]
        for name, counts in classes
    ]
    return Table(["", "boxes at the threshold", "boxes at the floor"], rows)


@styled()
def score_histogram(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Draw how many boxes the teacher gave each score, from the floor on."""
    if run.manifest is None:
        return []
    histogram = run.manifest.labels.score_histogram
    axes = new_axes("score", "boxes")
    counts, edges = as_floats(histogram.counts), as_floats(histogram.edges)
    axes.stairs(counts, edges, fill=True, color=ROLE_COLORS["pseudo"], alpha=0.75)
    mark_threshold(axes, threshold)
    caption = "Boxes right of the line became labels. "
    caption += "Many just left of it: a slightly lower threshold adds a lot."
    kept, total = run.manifest.labels.num_kept, run.manifest.labels.num_boxes
    alt = f"Histogram of the scores of {total} boxes, of which {kept} lie at or above the threshold."
    return [finish(axes, "Scores of the teacher's boxes", caption, alt)]


@styled()
def quality_by_threshold(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Plot precision and recall of the pseudo labels against the threshold, the one in use marked."""
    if run.quality is None:
        return []
    axes = quality_axes(run.quality.thresholds, run.quality.overall, threshold, (5.2, 3.1))
    caption = "Precision should be high at the threshold; what recall lacks, the student is not told."
    at = run.quality.at_threshold
    values = f"precision {format_value(at['precision'])}, recall {format_value(at['recall'])}"
    alt = f"At the threshold {at['threshold']:g}: {values}."
    return [finish(axes, "Precision and recall of the pseudo labels", caption, alt)]


def quality_by_class(run: RunFiles, threshold: float | None) -> list[Plot]:
    """Plot the same for the classes with most pseudo boxes."""
    return labels.quality_by_class(
        run, threshold, "labels", lambda count, total: f"{count:,} boxes at the threshold"
    )


@styled()
def boxes_per_image(human: BoxStatistics | None, pseudo: BoxStatistics | None) -> list[Plot]:
    """Draw the share of images by their number of boxes, human beside pseudo."""
    sets = {name: stats.boxes_per_image for name, stats in _given(human, pseudo).items()}
    if not sets:
        return []
    top = int(max(np.percentile(counts, 99.5) for counts in sets.values())) + 2
    edges = np.unique(np.linspace(0, top, min(top, 40) + 1).round()) - 0.5
    caption = "Alike is good. Pseudo labels with far fewer boxes mean that the threshold hides objects."
    return [_histograms(sets, edges, "boxes in the image", "share of images", "Boxes per image", caption)]


@styled()
def box_sizes(human: BoxStatistics | None, pseudo: BoxStatistics | None) -> list[Plot]:
    """Draw the share of boxes by size on a logarithmic axis, human beside pseudo."""
    sets = {name: stats.sizes_px for name, stats in _given(human, pseudo).items() if len(stats.sizes_px)}
    if not sets:
        return []
    low = max(1.0, min(float(sizes.min()) for sizes in sets.values()))
    high = max(low + 1.0, max(float(sizes.max()) for sizes in sets.values()))
    edges = np.geomspace(low, high * 1.001, 31)
    caption = "Human labels are those of the test split. "
    caption += "Missing small sizes: the teacher overlooks small objects."
    plot = _histograms(sets, edges, "square root of the box area, px", "share of boxes", "Box sizes", caption)
    axes = plot.figure.axes[0]
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return [plot]


def _histograms(
    sets: dict[str, np.ndarray], edges: np.ndarray, x_label: str, y_label: str, title: str, caption: str
) -> Plot:
    axes = new_axes(x_label, y_label)
    for name, values in sets.items():
        shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        color, style = ROLE_COLORS[name], LINE_STYLES[name]
        axes.stairs(shares, edges, color=color, linestyle=style, linewidth=1.6, label=f"{name} labels")
    medians = ", ".join(f"{name} median {np.median(values):.3g}" for name, values in sets.items())
    return finish(axes, title, caption, f"{title}: {medians}.")


def _given(human: BoxStatistics | None, pseudo: BoxStatistics | None) -> dict[str, BoxStatistics]:
    sets = {"human": human, "pseudo": pseudo}
    return {name: stats for name, stats in sets.items() if stats is not None and len(stats.boxes_per_image)}
