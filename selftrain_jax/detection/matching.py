"""Matching of anchors with boxes; call `match_anchors` inside the loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.types import BoxTargets

NEGATIVE_ANCHOR = -1
IGNORED_ANCHOR = -2
MATCH_IOU = 0.5


class AnchorTargets(NamedTuple):
    """The training target of each anchor."""

    classes: Int[Array, "B A"]  # class of a positive anchor, NEGATIVE_ANCHOR or IGNORED_ANCHOR
    boxes: Float[Array, "B A 4"]  # encoded; 0 if not positive
    num_positives: Float[Array, " B"]
    # As in `BoxTargets`, of the box that an anchor matches; 1 if not positive. None is 1 everywhere.
    box_weight: Float[Array, "B A"] | None = None
    class_weight: Float[Array, "B A"] | None = None
    class_target: Float[Array, "B A"] | None = None


class _Best(NamedTuple):
    """The best box so far for each anchor."""

    iou: Float[Array, "B A"]
    slot: Int[Array, "B A"]
    ignore_iou: Float[Array, "B A"]


def match_anchors(anchors: Float[Array, "A 4"], targets: BoxTargets) -> AnchorTargets:
    """Assign to each anchor its best box if their IoU is at least 0.5; each box also goes to its best anchor.

    If several boxes have the same best anchor, it gets the box of the first slot; a box that overlaps no
    anchor gets anchor 0. An anchor without a box is an IGNORED_ANCHOR if an ignore region overlaps it by 0.5.
    A scan over the boxes keeps a few arrays [B, A] in memory, never [B, A, M].

    Differs: ignore regions are ours, for pseudo boxes of medium score; the paper drops those.
    """
    best, claimed = _overlaps(anchors, targets)
    slot = _assign_slots(best, claimed, targets)
    positive = slot >= 0
    matched = jnp.take_along_axis(targets.boxes, jnp.maximum(slot, 0)[..., None], axis=1)  # [B, A, 4]
    classes = jnp.take_along_axis(targets.classes, jnp.maximum(slot, 0), axis=1)
    unmatched = jnp.where(best.ignore_iou >= MATCH_IOU, IGNORED_ANCHOR, NEGATIVE_ANCHOR)

    def of_matched_box(values: Float[Array, "B M"] | None) -> Float[Array, "B A"] | None:
        if values is None:
            return None
        return jnp.where(positive, jnp.take_along_axis(values, jnp.maximum(slot, 0), axis=1), 1)

    return AnchorTargets(
        classes=jnp.where(positive, classes, unmatched),
        boxes=jnp.where(positive[..., None], box_ops.encode(matched, anchors), 0),
        num_positives=positive.sum(axis=1).astype(jnp.float32),
        box_weight=of_matched_box(targets.box_weight),
        class_weight=of_matched_box(targets.class_weight),
        class_target=of_matched_box(targets.class_target),
    )


def _overlaps(anchors: Float[Array, "A 4"], targets: BoxTargets) -> tuple[_Best, Int[Array, "M B"]]:
    """Return the best box of each anchor and the best anchor of each box; ties go to the first."""

    def visit(best: _Best, slot: tuple[Array, ...]) -> tuple[_Best, Int[Array, " B"]]:
        index, box, is_object, is_ignore = slot
        iou = box_ops.iou(box[:, None], anchors)  # [B, A]
        object_iou = jnp.where(is_object[:, None], iou, 0)
        better = object_iou > best.iou
        best = _Best(
            iou=jnp.where(better, object_iou, best.iou),
            slot=jnp.where(better, index, best.slot),
            ignore_iou=jnp.where(is_ignore[:, None], jnp.maximum(iou, best.ignore_iou), best.ignore_iou),
        )
        return best, jnp.argmax(iou, axis=1)

    num_images, num_slots = targets.valid.shape
    zeros = jnp.zeros((num_images, len(anchors)))
    slots = (
        jnp.arange(num_slots),
        targets.boxes.swapaxes(0, 1),
        (targets.valid & ~targets.ignore).T,
        (targets.valid & targets.ignore).T,
    )
    return lax.scan(visit, _Best(zeros, zeros.astype(int), zeros), slots)


def _assign_slots(best: _Best, claimed: Int[Array, "M B"], targets: BoxTargets) -> Int[Array, "B A"]:
    """Return the slot of the box that is assigned to each anchor, or -1."""
    num_slots = targets.valid.shape[1]
    is_object = targets.valid & ~targets.ignore
    claim = jnp.where(is_object, jnp.arange(num_slots), num_slots)  # the last has no effect
    unclaimed = jnp.full(best.iou.shape, num_slots)
    claims = jax.vmap(lambda row, anchor, slot: row.at[anchor].min(slot))(unclaimed, claimed.T, claim)
    by_overlap = jnp.where(best.iou >= MATCH_IOU, best.slot, -1)
    return jnp.where(claims < num_slots, claims, by_overlap)
