import numpy as np
import pytest

from selftrain_jax.html.galleries import spread
from selftrain_jax.tasks.detection.report.galleries import (
    Labelled,
    by_confidence,
    confidence,
    count_disagreements,
    is_kept,
    rarest_class,
)


def example(boxes, classes, scores=None):
    found = {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "classes": np.array(classes, np.int32)}
    return found if scores is None else {**found, "scores": np.array(scores, np.float32)}


def test_spread_covers_both_ends_without_repeats():
    assert spread(10, 3) == [0, 4, 9]
    assert spread(2, 6) == [0, 1]
    assert spread(0, 6) == []


def test_equal_labels_do_not_disagree():
    labels = example([[0, 0, 2, 2], [5, 5, 9, 9]], [1, 2])
    assert count_disagreements(labels, labels, 0.5) == 0
    assert count_disagreements({}, {}, 0.5) == 0


def test_wrong_class_counts_on_both_sides_and_low_scores_not_at_all():
    truth = example([[0, 0, 2, 2]], [1])
    assert count_disagreements(example([[0, 0, 2, 2]], [2], [0.9]), truth, 0.5) == 2
    assert count_disagreements(example([[0, 0, 2, 2]], [1], [0.4]), truth, 0.5) == 1


def test_a_box_has_one_partner_only():
    twice = example([[0, 0, 2, 2], [0, 0, 2, 2]], [1, 1], [0.9, 0.8])
    assert count_disagreements(twice, example([[0, 0, 2, 2]], [1]), 0.5) == 1


def test_ignored_and_crowd_boxes_are_no_labels():
    labels = {
        **example(np.zeros((3, 4)), [1, 1, 1], [0.9, 0.9, 0.5]),
        "is_ignore": np.array([True, False, False]),
        "is_crowd": np.array([False, True, False]),
    }
    np.testing.assert_array_equal(is_kept(labels, 0.5), [False, False, True])
    assert confidence(labels, 0.5) == pytest.approx(0.5)


def test_ranking_leaves_out_images_without_labels_and_finds_the_rarest_class():
    low, high = example([[0, 0, 1, 1]] * 2, [1, 2], [0.6, 0.7]), example([[0, 0, 1, 1]], [1], [0.9])
    labelled = [Labelled(0, low), Labelled(1, {"image_id": "empty"}), Labelled(2, high)]
    assert [image.position for image in by_confidence(labelled, 0.5)] == [2, 0]
    assert rarest_class(labelled, 0.5) == 2
    assert rarest_class([labelled[1]], 0.5) is None
