"""Boxes of several views of one image, merged by weighted boxes fusion; call `fuse_boxes`.

Reference: Solovyev, Wang and Gabruseva, "Weighted boxes fusion", Image and Vision Computing 2021.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

FUSION_IOU = 0.55  # the reference's
SEEN_ONCE = 1.0  # `place_std` of a box that one view alone shows, and the largest value


class FusedBoxes(NamedTuple):
    """The boxes of one image over all views, best first."""

    boxes: Float[np.ndarray, "M 4"]
    classes: Int[np.ndarray, " M"]
    scores: Float[np.ndarray, " M"]
    place_std: Float[np.ndarray, " M"]  # see `fuse_boxes`


def fuse_boxes(
    boxes: Float[np.ndarray, "N 4"],
    classes: Int[np.ndarray, " N"],
    scores: Float[np.ndarray, " N"],
    views: Int[np.ndarray, " N"],
    *,
    num_views: int,
    iou_threshold: float = FUSION_IOU,
) -> FusedBoxes:
    """Merge the boxes that the views of an image show, of scores above 0 and all in one frame.

    A fused box is the mean of its cluster's boxes, weighted by their scores s. Its score is
    mean(s) · min(N, T) / T with N boxes in the cluster and T views, so that what few views show counts less.
    `place_std` is the weighted standard deviation of each of the four edges, averaged, over half of
    height + width of the fused box: by which share of its size the box moves from view to view. It is at most
    SEEN_ONCE, which is also that of a cluster whose boxes are all of one view: nothing is known of it.
    """
    boxes, scores = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    cluster, num = _assign_clusters(boxes, classes, scores, iou_threshold)
    weight = np.bincount(cluster, scores, num).astype(np.float64)  # of no box it would be of integers
    count = np.bincount(cluster, minlength=num)
    fused = _weighted_means(boxes, scores, cluster, weight)
    variance = _weighted_means((boxes - fused[cluster]) ** 2, scores, cluster, weight)
    half_perimeter = (fused[:, 2:] - fused[:, :2]).sum(axis=1)
    place_std = np.sqrt(variance).mean(axis=1) / (half_perimeter / 2)
    shown = np.unique(cluster * num_views + views) // num_views  # a box, once for each view that shows it
    is_known = np.bincount(shown, minlength=num) > 1
    fused_scores = weight / count * np.minimum(count, num_views) / num_views
    class_of = np.zeros(num, np.int32)
    class_of[cluster] = classes
    best = np.argsort(-fused_scores, kind="stable")
    return FusedBoxes(
        boxes=fused[best].astype(np.float32),
        classes=class_of[best],
        scores=fused_scores[best].astype(np.float32),
        place_std=np.where(is_known, np.minimum(place_std, SEEN_ONCE), SEEN_ONCE)[best].astype(np.float32),
    )


def _weighted_means(
    values: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    cluster: Int[np.ndarray, " N"],
    weight: Float[np.ndarray, " M"],
) -> Float[np.ndarray, "M 4"]:
    sums = [np.bincount(cluster, scores * column, len(weight)) for column in values.T]
    return np.stack(sums, axis=1) / weight[:, None]


def _assign_clusters(
    boxes: Float[np.ndarray, "N 4"],
    classes: Int[np.ndarray, " N"],
    scores: Float[np.ndarray, " N"],
    iou_threshold: float,
) -> tuple[Int[np.ndarray, " N"], int]:
    """Return the cluster of each box, and how many there are; the boxes of each class by themselves."""
    cluster, num = np.zeros(len(boxes), np.int64), 0
    order = np.argsort(-scores, kind="stable")
    for class_id in np.unique(classes):
        members = order[classes[order] == class_id]
        found = _cluster_one_class(boxes[members], scores[members], iou_threshold)
        cluster[members] = num + found
        num += int(found.max()) + 1
    return cluster, num


def _cluster_one_class(
    boxes: Float[np.ndarray, "N 4"], scores: Float[np.ndarray, " N"], iou_threshold: float
) -> Int[np.ndarray, " N"]:
    """Give each box, best first, the cluster whose running fused box it overlaps most, or a new one.

    The running boxes and their areas are kept as columns: this loop is most of the time of a fusion.
    """
    sums, weights = np.zeros((4, len(boxes))), np.zeros(len(boxes))
    fused, areas = np.zeros((4, len(boxes))), np.zeros(len(boxes))
    cluster, num = np.zeros(len(boxes), np.int64), 0
    for index, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        own = num
        if num:
            sides = np.minimum(fused[2:, :num], box[2:, None]) - np.maximum(fused[:2, :num], box[:2, None])
            np.maximum(sides, 0, out=sides)
            overlap = sides[0] * sides[1]
            iou = overlap / (areas[:num] + (box[2] - box[0]) * (box[3] - box[1]) - overlap)
            nearest = int(iou.argmax())
            own = nearest if iou[nearest] > iou_threshold else num
        cluster[index], num = own, max(num, own + 1)
        sums[:, own] += score * box
        weights[own] += score
        fused[:, own] = ymin, xmin, ymax, xmax = sums[:, own] / weights[own]
        areas[own] = (ymax - ymin) * (xmax - xmin)
    return cluster
