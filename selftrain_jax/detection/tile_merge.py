"""The boxes that the tiles of an image show, merged into those of the whole image; call `merge_tiles`.

An object at the border of a tile is seen cut there, and whole or cut by the tiles beside it. A box that
touches a border of its tile inside the image is `cut` on that side: the object may go on behind it.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from selftrain_jax.geometry import box_areas

SAME_IOU = 0.5  # from here on boxes of two tiles are one object, as in NMS
SAME_COVER = 0.5  # of what both tiles see of a box, the other box covers as much or more
# How near to its tile's border a box touches it: a network's boxes end a little before or behind an edge.
BORDER_FRAC = 0.015  # of the tile's longer side
MIN_BORDER_PX = 2.0
OUTWARD = np.array([-1, -1, 1, 1])  # the direction away from a box, of its four sides


class TileBoxes(NamedTuple):
    """Boxes, each with the tile that shows it, in the pixels of the whole image."""

    boxes: Float[np.ndarray, "N 4"]
    classes: Int[np.ndarray, " N"]
    scores: Float[np.ndarray, " N"]
    place_std: Float[np.ndarray, " N"]  # `box_fusion.fuse_boxes`; zeros where it is unknown
    tiles: Int[np.ndarray, " N"]


class _Seen(NamedTuple):
    """The boxes that one tile shows."""

    boxes: Float[np.ndarray, "N 4"]
    cut: Bool[np.ndarray, "N 4"]  # on which sides
    tile: Float[np.ndarray, "1 4"]


def merge_tiles(found: TileBoxes, grid: Int[np.ndarray, "T 4"], size_px: tuple[int, int]) -> TileBoxes:
    """Merge the boxes of an image of (height, width), best first; `grid` are its tiles, yxyx.

    1. A cut box that another tile sees whole is dropped where that tile has a box there, of any class, that
       is not cut: it has seen more.
    2. Of boxes of one class in different tiles that are one object (`_are_same`), at most one of each tile
       makes a group. The most alike are joined first.
    3. A group is its best box that is not cut; where all are cut, the bounds of all. Its score is the best of
       the group, its `place_std` that of the chosen box or the largest.

    Boxes of one tile are never merged: the network's NMS has judged them. So an image of one tile keeps its
    boxes as they are. `tiles` of the result is the tile of the best box.
    """
    border = np.maximum(MIN_BORDER_PX, BORDER_FRAC * (grid[:, 2:] - grid[:, :2]).max(axis=1))
    cut = _cut_sides(found, grid, border, size_px)
    kept = np.flatnonzero(~_seen_whole_elsewhere(found, cut, grid, border, size_px))
    found, cut = TileBoxes(*(values[kept] for values in found)), cut[kept]
    merged = _merge_groups(found, cut, _group(found, _same_pairs(found, cut, grid, border)))
    best = np.argsort(-merged.scores, kind="stable")
    return TileBoxes(*(values[best] for values in merged))


def inner_sides(grid: Int[np.ndarray, "T 4"], size_px: tuple[int, int]) -> Bool[np.ndarray, "T 4"]:
    """Say which sides of the tiles are inside the image, so that objects may go on behind them."""
    return grid != np.array([0, 0, *size_px])


def _cut_sides(
    found: TileBoxes, grid: Int[np.ndarray, "T 4"], border: Float[np.ndarray, " T"], size_px: tuple[int, int]
) -> Bool[np.ndarray, "N 4"]:
    """Say on which sides the tile cuts a box."""
    touches = np.abs(found.boxes - grid[found.tiles]) <= border[found.tiles, None]
    return touches & inner_sides(grid, size_px)[found.tiles]


def _seen_whole_elsewhere(
    found: TileBoxes,
    cut: Bool[np.ndarray, "N 4"],
    grid: Int[np.ndarray, "T 4"],
    border: Float[np.ndarray, " T"],
    size_px: tuple[int, int],
) -> Bool[np.ndarray, " N"]:
    """Mark cut boxes that are inside another tile, which has a box there that is not cut."""
    is_cut: Bool[np.ndarray, " N"] = np.any(cut, axis=1)
    is_inner = inner_sides(grid, size_px)
    dropped = np.zeros(len(found.tiles), np.bool_)
    for tile, (box, margin) in enumerate(zip(grid, border, strict=True)):
        shrunk = box - OUTWARD * np.where(is_inner[tile], margin, -np.inf)
        is_inside = (OUTWARD * found.boxes < OUTWARD * shrunk).all(axis=1)
        asked = np.flatnonzero(is_cut & is_inside & (found.tiles != tile))
        whole = np.flatnonzero(~is_cut & (found.tiles == tile))
        if len(asked) and len(whole):
            shared = _intersections(found.boxes[asked], found.boxes[whole]).max(axis=1)
            dropped[asked[shared >= SAME_COVER * box_areas(found.boxes[asked])]] = True
    return dropped


def _same_pairs(
    found: TileBoxes,
    cut: Bool[np.ndarray, "N 4"],
    grid: Int[np.ndarray, "T 4"],
    border: Float[np.ndarray, " T"],
) -> list[tuple[float, int, int]]:
    """Return the pairs of boxes that are one object, as (how alike, first, second), the most alike first."""
    pairs = []
    members = [np.flatnonzero(found.tiles == tile) for tile in range(len(grid))]
    shown = grid.astype(np.float64)
    seen = [_Seen(found.boxes[own], cut[own], tile[None]) for own, tile in zip(members, shown, strict=True)]
    for first, second in itertools.combinations(range(len(grid)), 2):
        near = float(border[[first, second]].max())
        ours, theirs = members[first], members[second]
        if not (len(ours) and len(theirs) and _touch(seen[first].tile, seen[second].tile, near).all()):
            continue
        alike = _are_same(seen[first], seen[second], near)
        alike[found.classes[ours][:, None] != found.classes[theirs]] = 0
        pairs += [(-float(alike[i, j]), int(ours[i]), int(theirs[j])) for i, j in np.argwhere(alike)]
    return sorted(pairs)


def _are_same(ours: _Seen, theirs: _Seen, near: float) -> Float[np.ndarray, "N M"]:
    """Return how alike the boxes of two tiles are, 0 where they are not one object.

    Boxes are compared as if each went on where it is cut, up to the other's edge: by their IoU, above
    SAME_IOU. They must touch, within `near` pixels, and of what both tiles see of either the other must cover
    SAME_COVER: an object that ends in the overlap is not the one that begins there.
    """
    boxes, other_boxes = ours.boxes[:, None], theirs.boxes[None]
    bounds = np.where(OUTWARD > 0, np.maximum(boxes, other_boxes), np.minimum(boxes, other_boxes))
    reach = np.where(ours.cut[:, None], bounds, boxes)
    alike = _iou(reach, np.where(theirs.cut[None], bounds, other_boxes))
    shared = _intersections(ours.boxes, theirs.boxes)
    in_theirs, in_ours = _intersections(ours.boxes, theirs.tile), _intersections(theirs.boxes, ours.tile)
    covers = (shared >= SAME_COVER * in_theirs) & (shared >= SAME_COVER * in_ours.T)
    return np.where((alike > SAME_IOU) & covers & _touch(ours.boxes, theirs.boxes, near), alike, 0.0)


def _group(found: TileBoxes, pairs: list[tuple[float, int, int]]) -> list[list[int]]:
    """Join pairs into groups of at most one box of each tile."""
    group_of = {index: [index] for index in range(len(found.tiles))}
    for _, first, second in pairs:
        ours, theirs = group_of[first], group_of[second]
        if ours is theirs or set(found.tiles[ours]) & set(found.tiles[theirs]):
            continue
        ours += theirs
        group_of |= dict.fromkeys(theirs, ours)
    return list({id(group): group for group in group_of.values()}.values())


def _merge_groups(found: TileBoxes, cut: Bool[np.ndarray, "N 4"], groups: list[list[int]]) -> TileBoxes:
    boxes, place_std = found.boxes.copy(), found.place_std.copy()
    best = np.array([max(group, key=found.scores.__getitem__) for group in groups], np.int64)
    for index, group in zip(best, groups, strict=True):
        whole = [member for member in group if not cut[member].any()]
        if whole:
            chosen = max(whole, key=found.scores.__getitem__)
            boxes[index], place_std[index] = found.boxes[chosen], found.place_std[chosen]
        else:
            boxes[index, :2] = found.boxes[group, :2].min(axis=0)
            boxes[index, 2:] = found.boxes[group, 2:].max(axis=0)
            place_std[index] = found.place_std[group].max()
    return TileBoxes(boxes[best], found.classes[best], found.scores[best], place_std[best], found.tiles[best])


def _intersections(
    first: Float[np.ndarray, "N 4"], second: Float[np.ndarray, "M 4"]
) -> Float[np.ndarray, "N M"]:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=-1)


def _iou(first: Float[np.ndarray, "N M 4"], second: Float[np.ndarray, "N M 4"]) -> Float[np.ndarray, "N M"]:
    """Return the IoU of each pair of an array of pairs."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = (np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1) for boxes in (first, second))
    union = sum(areas) - shared
    return shared / np.where(union > 0, union, 1)


def _touch(
    first: Float[np.ndarray, "N 4"], second: Float[np.ndarray, "M 4"], near: float
) -> Bool[np.ndarray, "N M"]:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (high - low >= -near).all(axis=-1)
