"""Matching of anchors with boxes; call `match_anchors` inside the loss."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from selftrain_jax.detection import boxes as box_ops
from selftrain_jax.types import BoxTargets

NEGATIVE_ANCHOR = -1
IGNORED_ANCHOR = -2
MATCH_IOU = 0.5
SLOTS_AT_ONCE = 4  # boxes of an image that are compared with the anchors in one pass over memory


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


def _overlaps(anchors: Float[Array, "A 4"], targets: BoxTargets) -> tuple[_Best, Int[Array, "B M2"]]:
    """Return the best box of each anchor and the best anchor of each box; ties go to the first.

    A loop visits `SLOTS_AT_ONCE` slots at a time, up to the last that holds a box in any image; what it keeps
    are a few arrays [B, A]. Slots that it does not visit have anchor 0.
    """
    num_images, num_slots = targets.valid.shape
    missing = -num_slots % SLOTS_AT_ONCE
    boxes = jnp.pad(targets.boxes, ((0, 0), (0, missing), (0, 0)))
    flags = (targets.valid & ~targets.ignore, targets.valid & targets.ignore)
    is_object, is_ignore = (jnp.pad(flag, ((0, 0), (0, missing))) for flag in flags)

    def visit(part: Array, carry: tuple[_Best, Array]) -> tuple[_Best, Array]:
        best, claimed = carry
        start = part * SLOTS_AT_ONCE
        part_of = partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=SLOTS_AT_ONCE, axis=1)
        iou = box_ops.iou(part_of(boxes)[:, :, None], anchors)  # [B, slots at once, A]
        best_anchor = jnp.argmax(iou, axis=2)
        objects, ignored = (part_of(flag)[:, :, None] for flag in (is_object, is_ignore))
        best = _better_of(best, jnp.where(objects, iou, 0), jnp.where(ignored, iou, 0), start)
        return best, lax.dynamic_update_slice_in_dim(claimed, best_anchor, start, axis=1)

    zeros = jnp.zeros((num_images, len(anchors)))
    start = (_Best(zeros, zeros.astype(int), zeros), jnp.zeros(is_object.shape, int))
    num_parts = -(-_num_filled(targets.valid) // SLOTS_AT_ONCE)
    return lax.fori_loop(0, num_parts, visit, start)


def _num_filled(valid: Bool[Array, "B M"]) -> Int[Array, ""]:
    """Return one more than the last slot that holds a box in any image."""
    return jnp.where(valid, jnp.arange(1, valid.shape[1] + 1), 0).max(initial=0)


def _better_of(
    best: _Best, iou: Float[Array, "B S A"], ignore_iou: Float[Array, "B S A"], start: Int[Array, ""]
) -> _Best:
    """Compare with S more slots, from `start`; one that is no better than an earlier one is not taken."""
    for index in range(iou.shape[1]):
        better = iou[:, index] > best.iou
        best = _Best(
            iou=jnp.where(better, iou[:, index], best.iou),
            slot=jnp.where(better, start + index, best.slot),
            ignore_iou=jnp.maximum(best.ignore_iou, ignore_iou[:, index]),
        )
    return best


def _assign_slots(best: _Best, claimed: Int[Array, "B M2"], targets: BoxTargets) -> Int[Array, "B A"]:
    """Return the slot of the box that is assigned to each anchor, or -1."""
    num_slots = targets.valid.shape[1]
    is_object = targets.valid & ~targets.ignore
    claim = jnp.where(is_object, jnp.arange(num_slots), num_slots)  # the last has no effect
    unclaimed = jnp.full(best.iou.shape, num_slots)
    claims = jax.vmap(lambda row, anchor, slot: row.at[anchor].min(slot))(
        unclaimed, claimed[:, :num_slots], claim
    )
    by_overlap = jnp.where(best.iou >= MATCH_IOU, best.slot, -1)
    return jnp.where(claims < num_slots, claims, by_overlap)
