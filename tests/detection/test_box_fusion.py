"""Weighted boxes fusion by hand and against a slow implementation that keeps lists."""

import numpy as np
import pytest

from selftrain_jax.detection.box_fusion import SEEN_ONCE, fuse_boxes


def fuse(rows, num_views, **settings):
    """Fuse rows of (box, class, score, view)."""
    boxes, classes, scores, views = zip(*rows, strict=True)
    return fuse_boxes(
        np.array(boxes, np.float32),
        np.array(classes, np.int32),
        np.array(scores, np.float32),
        np.array(views),
        num_views=num_views,
        **settings,
    )


FIRST = ([0, 0, 10, 20], 1, 0.8, 0)
MOVED = ([2, 0, 12, 20], 1, 0.4, 1)  # 2 px lower: IoU 160 / 240


def test_two_views_of_one_box_by_hand():
    found = fuse([MOVED, FIRST], num_views=2)
    np.testing.assert_allclose(found.boxes, [[2 / 3, 0, 32 / 3, 20]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.6], rtol=1e-6)
    assert found.classes.tolist() == [1]
    # Both horizontal edges are at 0 with weight 2/3 and at 2 with weight 1/3: variance 8/9. The vertical ones
    # do not move. Half of height + width is 15.
    np.testing.assert_allclose(found.place_std, [2 * np.sqrt(8 / 9) / 4 / 15], rtol=1e-6)


def test_what_few_views_show_counts_less_and_its_place_is_unknown():
    found = fuse([FIRST, MOVED, ([50, 50, 60, 60], 1, 0.9, 2)], num_views=3)
    np.testing.assert_allclose(found.scores, [0.6 * 2 / 3, 0.9 * 1 / 3], rtol=1e-6)
    assert found.place_std[0] < 0.1
    assert found.place_std[1] == SEEN_ONCE


def test_more_boxes_than_views_count_as_all_views():
    rows = [FIRST, MOVED, ([1, 0, 11, 20], 1, 0.6, 1)]
    np.testing.assert_allclose(fuse(rows, num_views=2).scores, [0.6], rtol=1e-6)


def test_boxes_of_one_view_say_nothing_of_the_place():
    found = fuse([FIRST, (MOVED[0], 1, 0.4, 0)], num_views=2)
    assert len(found.boxes) == 1
    assert found.place_std.tolist() == [SEEN_ONCE]


def test_classes_are_fused_by_themselves():
    found = fuse([FIRST, (FIRST[0], 2, 0.9, 1)], num_views=2)
    assert found.classes.tolist() == [2, 1]
    np.testing.assert_allclose(found.scores, [0.45, 0.4], rtol=1e-6)


def test_an_overlap_of_the_threshold_itself_is_too_little():
    rows = [FIRST, ([0, 0, 10, 10], 1, 0.5, 1)]  # IoU 0.5
    assert len(fuse(rows, num_views=2, iou_threshold=0.5).boxes) == 2
    assert len(fuse(rows, num_views=2, iou_threshold=0.499).boxes) == 1


def test_a_box_joins_what_the_cluster_has_become():
    # The third overlaps the first by 5/11 alone, the mean of the first two by 18/32.
    rows = [([0, 0, 8, 1], 1, 0.9, 0), ([2, 0, 10, 1], 1, 0.9, 1), ([3, 0, 11, 1], 1, 0.1, 2)]
    assert len(fuse(rows, num_views=3).boxes) == 1
    assert len(fuse([rows[0], rows[2]], num_views=3).boxes) == 2


def test_no_box_is_no_box():
    none = np.zeros(0)
    found = fuse_boxes(np.zeros((0, 4)), none.astype(int), none, none.astype(int), num_views=3)
    assert [len(column) for column in found] == [0, 0, 0, 0]
    assert found.boxes.shape == (0, 4)


def overlap(a, b):
    height, width = (min(a[side + 2], b[side + 2]) - max(a[side], b[side]) for side in (0, 1))
    if height <= 0 or width <= 0:
        return 0.0
    both = height * width
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def mean_box(members):
    total = sum(score for _, score, _ in members)
    return [sum(box[edge] * score for box, score, _ in members) / total for edge in range(4)]


def fuse_slowly(rows, num_views):
    """Follow the publication with lists of members, in Python's floats."""
    clusters = []  # (class, members)
    for box, class_id, score, view in sorted(rows, key=lambda row: -row[2]):
        own = [members for of_class, members in clusters if of_class == class_id]
        best = max(own, key=lambda members: overlap(mean_box(members), box), default=None)
        if best is None or overlap(mean_box(best), box) <= 0.55:
            clusters.append((class_id, best := []))
        best.append((box, score, view))
    found = []
    for class_id, members in clusters:
        box, scores = mean_box(members), [score for _, score, _ in members]
        spreads = [
            np.sqrt(np.average([(other[edge] - box[edge]) ** 2 for other, _, _ in members], weights=scores))
            for edge in range(4)
        ]
        spread = np.mean(spreads) / ((box[2] - box[0] + box[3] - box[1]) / 2)
        if len({view for _, _, view in members}) == 1:
            spread = 1.0
        score = np.mean(scores) * min(len(members), num_views) / num_views
        found.append((score, class_id, *box, spread))
    return np.array(sorted(found, reverse=True))


@pytest.mark.parametrize("seed", range(5))
def test_random_boxes_are_fused_as_by_the_slow_implementation(seed):
    random, num_views = np.random.default_rng(seed), 4
    centres = random.uniform(30, 70, (12, 2))
    rows = []
    for view in range(num_views):
        for index in random.permutation(12)[:9]:
            centre = centres[index] + random.normal(0, 2, 2)
            half = 10 + random.normal(0, 1.5, 2) + index
            box = [*(centre - half).tolist(), *(centre + half).tolist()]
            rows.append((box, 1 + int(index % 3), float(random.uniform(0.05, 1)), view))
    found = fuse(rows, num_views)
    # Scores are of float32 there: rows are rounded alike, so that ties and order are the same.
    rounded = [
        (np.float32(box).tolist(), kind, float(np.float32(score)), view) for box, kind, score, view in rows
    ]
    expected = fuse_slowly(rounded, num_views)
    assert 9 < len(expected) < len(rows)
    columns = np.column_stack([found.scores, found.classes, found.boxes, found.place_std])
    np.testing.assert_allclose(columns, expected, rtol=1e-5, atol=1e-6)
