"""Whether anchors fit boxes: `judge_anchors` says so, `fit_anchors` chooses config.model.anchor_size."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.data.source import Source
from selftrain_jax.data.tile_source import read_size
from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.matching import MATCH_IOU
from selftrain_jax.errors import InputError
from selftrain_jax.geometry import box_areas, box_iou
from selftrain_jax.html.blocks import Finding
from selftrain_jax.models.input_padding import padded_size
from selftrain_jax.tasks.tiles import cut_tiles

FEWEST = 5  # boxes of a class of which a share says something
MIN_SHARE = 0.5  # of a class's boxes that an anchor is to overlap enough
ANCHOR_SIZES = (4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 6.0)  # the paper's first
MAX_LOSS = 0.05  # of a class's mean IoU with its best anchors, for the sake of others
MOST_BOXES = 500  # looked at of a class
KEY = "config.model.anchor_size"


class NetworkBoxes(NamedTuple):
    """The boxes of a class, as the network sees them."""

    name: str
    boxes: Float[np.ndarray, "N 4"]  # yxyx, pixels of the network's input


def check_anchor_size(config: ConfigDict) -> None:
    """Refuse a size that is no number from 0. Raises: InputError."""
    if not 0 <= config.model.anchor_size < np.inf:
        raise InputError(f"{KEY}={config.model.anchor_size}: expected cells a side, or 0: by the boxes")


def fit_anchors(config: ConfigDict, human: Source) -> ConfigDict:
    """Return the config with anchors that fit the human boxes in place of anchor_size=0."""
    if config.model.anchor_size:
        return config
    size = hosts.run_on_host0(lambda: choose_anchor_size(config, gather_boxes(config, human)))
    fitted = config.copy_and_resolve_references()
    fitted.model.anchor_size = size
    if size != ANCHOR_SIZES[0]:
        hosts.log(f"anchors by the human boxes: {KEY}={size:g}")
    return fitted


def choose_anchor_size(config: ConfigDict, classes: list[NetworkBoxes]) -> float:
    """Return the paper's size, unless it fits less than half of a class: then the one that fits best.

    That has the largest IoU of box and best anchor, on the mean of a class's boxes and of the classes, among
    the sizes with which no class loses more than `MAX_LOSS` of it to the paper's. Smaller anchors fit large
    objects worse: blood cells lost 5 to 10 AP where they lost 0.06 to 0.14 (docs/few_labels.md). Classes with
    few boxes do not count.
    """
    counted = [own for own in classes if len(own.boxes) >= FEWEST]
    paper = ANCHOR_SIZES[0]
    if min(fitting_shares(counted, config, paper), default=1.0) >= MIN_SHARE:
        return paper
    means = {size: np.array([own.mean() for own in overlaps(counted, config, size)]) for size in ANCHOR_SIZES}
    allowed = [size for size in ANCHOR_SIZES if (means[size] >= means[paper] - MAX_LOSS).all()]
    return max(allowed, key=lambda size: means[size].mean())


def judge_anchors(config: ConfigDict, name: str, source: Source) -> Iterator[Finding]:
    """Say of which classes most boxes overlap no anchor enough, and which anchors would fit.

    Every box is matched with its best anchor all the same, but with no other, so that such a class is hardly
    learned. Images, or tiles, are taken as large as inference shows them.

    Raises:
        InputError: config.image's values for tiles are out of their range.
    """
    classes = [own for own in gather_boxes(config, source) if len(own.boxes) >= FEWEST]
    best = choose_anchor_size(config, classes)
    given = config.model.anchor_size
    in_use = given if 0 < given < np.inf else best
    least_px = in_use * 2**config.model.min_level
    shares, best_shares = (fitting_shares(classes, config, size) for size in (in_use, best))
    for (class_name, boxes), share, best_share in zip(classes, shares, best_shares, strict=True):
        if share < MIN_SHARE:
            median = float(np.median(np.sqrt(box_areas(boxes))))
            yield Finding(
                "warning",
                f"{name}: {1 - share:.0%} of the boxes of {class_name} overlap no anchor with an IoU of "
                f"{MATCH_IOU}: half are under {median:.0f} px in the network's input of "
                f"{config.image.size_px} px, the smallest anchor is {least_px:.0f} px",
                _remedy(
                    config, "" if best == in_use else f"--{KEY}={best:g}, or 0: by the boxes", best_share
                ),
            )


def _remedy(config: ConfigDict, better: str, better_share: float) -> str:
    """Say what to do; `better` sets anchors that fit this share of the boxes, "" where there are none."""
    if better and better_share >= MIN_SHARE:
        return f"Set {better}."
    larger = f"Show the images larger (--config.image.size_px={2 * config.image.size_px})"
    also = f" A little helps {better}." if better else ""
    return f"{larger} or in tiles (config.image.tile_px).{also}"


def gather_boxes(config: ConfigDict, source: Source) -> list[NetworkBoxes]:
    """Return each class's first boxes that are no crowd, scaled into the network's input.

    Images whose labels or size cannot be read are left out: whether a run may have any is said elsewhere.
    """
    seen, size_px = cut_tiles(config, source), config.image.size_px
    found: dict[int, list[np.ndarray]] = {category.id: [] for category in source.categories}
    for index in range(len(seen)):
        try:
            labels = seen.read_labels(index)
        except InputError:
            continue
        longest_px = max(read_size(seen, index))
        if not longest_px:
            continue
        is_box = ~labels.get("is_crowd", np.zeros(len(labels["boxes"]), bool))
        scale = size_px / longest_px
        for class_id, box in zip(labels["classes"][is_box], labels["boxes"][is_box], strict=True):
            if len(found[int(class_id)]) < MOST_BOXES:
                found[int(class_id)].append(box * scale)
    return [NetworkBoxes(name, np.array(found[id], float).reshape(-1, 4)) for id, name in source.categories]


def fitting_shares(classes: list[NetworkBoxes], config: ConfigDict, anchor_size: float) -> list[float]:
    """Return of each class which share of its boxes overlaps an anchor with an IoU of `MATCH_IOU`."""
    return [float((own >= MATCH_IOU).mean()) for own in overlaps(classes, config, anchor_size)]


def overlaps(
    classes: list[NetworkBoxes], config: ConfigDict, anchor_size: float
) -> list[Float[np.ndarray, " _"]]:
    """Return of each class its boxes' largest IoU with an anchor."""
    levels = range(config.model.min_level, config.model.max_level + 1)
    return [best_overlap(own.boxes, config.image.size_px, levels, anchor_size) for own in classes]


def best_overlap(
    boxes: Float[np.ndarray, "N 4"], size_px: int, levels: range, anchor_size: float
) -> Float[np.ndarray, " N"]:
    """Return each box's largest IoU with an anchor.

    Of anchors of one shape the nearest overlaps most, so that the cell of each level that holds the box's
    centre is enough.
    """
    best = np.zeros(len(boxes))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    padded_px = padded_size(size_px, 2 ** levels[-1])
    for level in levels:
        stride = 2**level
        last = padded_px // stride - 1
        corner = stride * np.clip(np.floor(centres / stride), 0, last)
        inside = boxes - np.tile(corner, 2)  # as seen from the cell
        cell = make_anchors(image_size_px=stride, min_level=level, max_level=level, anchor_size=anchor_size)
        best = np.maximum(best, box_iou(inside, cell).max(axis=1))
    return best
