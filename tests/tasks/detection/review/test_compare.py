"""What became of boxes: by hand, one to one, by the tool's id or by place."""

import numpy as np
import pytest

from selftrain_jax.tasks.detection.review.compare import ReturnedBox, compare_image, match_boxes
from tests.tasks.detection.review.sent import box

SENT = (
    box(0, 1, (0, 0, 10, 10)),
    box(2, 1, (20, 20, 40, 40)),
    box(3, 2, (50, 50, 60, 60)),
    box(4, 2, (70, 70, 90, 90)),
)


def back(sides, class_id=1, index=None):
    return ReturnedBox(np.array(sides, np.float64), class_id, index)


def outcomes(sent, returned):
    return [found.outcome for found in compare_image(sent, returned)]


def test_each_outcome_once():
    returned = [
        back((0.3, -0.2, 10.5, 9.6)),  # by at most half a pixel: kept
        back((22, 20, 42, 40)),  # IoU 18 / 22
        back((50, 50, 60, 60), class_id=1),
        back((0, 70, 10, 90), class_id=2),
    ]
    found = compare_image(SENT, returned)
    assert [entry.outcome for entry in found] == ["kept", "moved", "relabelled", "removed", "added"]
    assert [entry.index for entry in found] == [0, 2, 3, 4, None]
    assert [entry.teacher_class for entry in found] == [1, 1, 2, 2, None]
    assert [entry.class_id for entry in found] == [1, 1, 1, 2, 2]
    assert found[0].box == SENT[0].box
    assert found[1].box == (22, 20, 42, 40)
    assert found[4].score is None


def test_half_a_pixel_keeps_the_records_values_and_a_little_more_does_not():
    sent = (box(0, 1, (1.1, 2.2, 30.3, 40.4)),)
    (kept,) = compare_image(sent, [back(np.array(sent[0].box) + 0.5)])
    assert (kept.outcome, kept.box) == ("kept", sent[0].box)
    (moved,) = compare_image(sent, [back(np.array(sent[0].box) + 0.51)])
    assert moved.outcome == "moved"
    assert moved.box == tuple(np.float32(np.array(sent[0].box) + 0.51).tolist())


def test_a_relabelled_box_may_have_moved_too():
    (found,) = compare_image(SENT[1:2], [back((22, 20, 42, 40), class_id=2)])
    assert (found.outcome, found.class_id, found.box) == ("relabelled", 2, (22, 20, 42, 40))


def test_without_an_id_a_box_far_away_is_another_one_and_with_it_the_same():
    assert outcomes(SENT[:1], [back((0, 6, 10, 16))]) == ["removed", "added"]  # IoU 0.25
    assert outcomes(SENT[:1], [back((0, 6, 10, 16), index=0)]) == ["moved"]
    assert outcomes(SENT[:1], [back((50, 60, 70, 80), index=0)]) == ["moved"]


def test_an_id_goes_before_a_better_place():
    returned = [back((20, 20, 40, 40), index=0), back((0, 0, 10, 10), index=2)]
    assert match_boxes(SENT[:2], returned) == {0: 0, 1: 1}


def test_of_a_copied_box_the_copy_that_did_not_move_keeps_the_id():
    returned = [back((100, 100, 110, 110), index=0), back((0, 0, 10, 10), index=0)]
    assert outcomes(SENT[:1], returned) == ["kept", "added"]


def test_an_id_that_never_went_out_is_ignored():
    assert outcomes(SENT[:1], [back((0, 0, 10, 10), index=77)]) == ["kept"]


def test_boxes_of_two_classes_at_one_place_keep_their_classes():
    sent = (box(0, 1, (0, 0, 10, 10)), box(1, 2, (0, 0, 10, 10)))
    returned = [back((0, 0, 10, 10), 2), back((0, 0, 10, 10), 1)]
    assert match_boxes(sent, returned) == {0: 1, 1: 0}
    assert outcomes(sent, returned) == ["kept", "kept"]


def test_the_best_overlap_is_paired_first():
    sent = (box(0, 1, (0, 0, 10, 10)), box(1, 1, (0, 3, 10, 13)))
    returned = [back((0, 2.5, 10, 12.5))]  # 0.6 of the first, 0.9 of the second
    assert outcomes(sent, returned) == ["removed", "kept"]


@pytest.mark.parametrize("seed", range(5))
def test_every_box_has_one_outcome(seed):
    """Counts add up: sent boxes each once, returned ones each in one of the others."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 50, (12, 2))
    sides = np.concatenate([corners, corners + random.uniform(5, 30, (12, 2))], axis=1)
    sent = tuple(box(n, int(random.integers(1, 3)), sides[n]) for n in range(8))
    returned = [back(sides[n] + random.normal(0, 2, 4), int(random.integers(1, 3))) for n in range(3, 12)]
    found = compare_image(sent, returned)
    assert [entry.index for entry in found if entry.index is not None] == list(range(8))
    listed = [entry.outcome for entry in found]
    assert len(listed) - listed.count("removed") == len(returned)
    pairs = match_boxes(sent, returned)
    assert len(set(pairs.values())) == len(pairs)


def test_nothing_sent_and_nothing_returned():
    assert compare_image((), []) == ()
    assert outcomes((), [back((0, 0, 1, 1))]) == ["added"]
    assert outcomes(SENT[:1], []) == ["removed"]
