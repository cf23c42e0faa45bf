import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection.nms import HardNMS, SoftNMS, suppress
from selftrain_jax.errors import InputError

NUM_BOXES, NUM_KEPT = 40, 15


def random_problems(count):
    random = np.random.default_rng(7)
    corner = random.uniform(0, 60, (count, NUM_BOXES, 2))
    boxes = np.concatenate([corner, corner + random.uniform(10, 40, (count, NUM_BOXES, 2))], axis=-1)
    return boxes.astype(np.float32), random.uniform(0, 1, (count, NUM_BOXES)).astype(np.float32)


def iou(a, b):
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(height, 0) * max(width, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def hard_oracle(boxes, scores, iou_threshold, score_threshold):
    """Go through the boxes from the best down; keep those that no kept one overlaps."""
    kept = []
    for i in np.argsort(-scores):
        if scores[i] > score_threshold and all(iou(boxes[i], boxes[j]) <= iou_threshold for j in kept):
            kept.append(i)
    return kept[:NUM_KEPT]


def soft_oracle(boxes, scores, width, score_threshold):
    """Take the best of a shrinking list; multiply what is left."""
    left, kept = dict(enumerate(scores.astype(float))), []
    while left and len(kept) < NUM_KEPT:
        best = max(left, key=left.get)
        if left[best] <= score_threshold:
            break
        kept.append((best, left.pop(best)))
        left = {i: s * np.exp(-(iou(boxes[i], boxes[best]) ** 2) / width) for i, s in left.items()}
    return kept


def test_hard_nms_keeps_what_the_loop_keeps():
    boxes, scores = random_problems(6)
    index, score = suppress(
        jnp.asarray(boxes), jnp.asarray(scores), method=HardNMS(0.1), score_threshold=0.2, num_kept=NUM_KEPT
    )
    for b in range(6):
        expected = hard_oracle(boxes[b], scores[b], 0.1, 0.2)
        assert index[b][: len(expected)].tolist() == expected
        np.testing.assert_array_equal(score[b][: len(expected)], scores[b][expected])
        assert not score[b][len(expected) :].any()
    assert 1 < (score > 0).sum(axis=1).min() < NUM_KEPT  # some slots stay empty


@pytest.mark.parametrize(("convention", "width"), [("bodla", 0.3), ("tensorflow", 0.6)])
def test_soft_nms_scores_are_the_loops(convention, width):
    boxes, scores = random_problems(3)
    method = SoftNMS(sigma=0.3, convention=convention)
    index, score = suppress(
        jnp.asarray(boxes), jnp.asarray(scores), method=method, score_threshold=0.05, num_kept=NUM_KEPT
    )
    for b in range(3):
        expected_index, expected_score = zip(*soft_oracle(boxes[b], scores[b], width, 0.05), strict=True)
        assert tuple(index[b][: len(expected_index)].tolist()) == expected_index
        np.testing.assert_allclose(score[b][: len(expected_score)], expected_score, rtol=1e-5)


def test_soft_nms_of_small_sigma_keeps_scores_of_boxes_apart_and_no_others():
    boxes = jnp.array([[0.0, 0, 10, 10], [0, 2, 10, 12], [50, 50, 60, 60]])
    _, score = suppress(
        boxes, jnp.array([0.9, 0.8, 0.7]), method=SoftNMS(1e-6), score_threshold=0.05, num_kept=3
    )
    np.testing.assert_allclose(score, [0.9, 0.7, 0])


def test_one_soft_step_by_hand():
    boxes = jnp.array([[0.0, 0, 2, 2], [0, 1, 2, 3]])  # IoU 1/3
    kept = {
        convention: suppress(
            boxes, jnp.array([0.9, 0.6]), method=SoftNMS(0.5, convention), score_threshold=0.0, num_kept=2
        )[1][1]
        for convention in ("bodla", "tensorflow")
    }
    np.testing.assert_allclose(kept["bodla"], 0.6 * np.exp(-1 / 9 / 0.5), rtol=1e-6)
    np.testing.assert_allclose(kept["tensorflow"], 0.6 * np.exp(-1 / 9 / 1.0), rtol=1e-6)


def test_box_at_the_iou_threshold_stays():
    boxes = jnp.array([[0.0, 0, 2, 2], [0, 0, 1, 2]])  # IoU 1/2
    _, score = suppress(boxes, jnp.array([0.9, 0.6]), method=HardNMS(0.5), score_threshold=0.0, num_kept=2)
    np.testing.assert_allclose(score, [0.9, 0.6])


def test_first_of_equal_scores_wins():
    boxes = jnp.array([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    index, score = suppress(boxes, jnp.array([0.5, 0.5]), method=HardNMS(), score_threshold=0.0, num_kept=2)
    assert index[0] == 0
    np.testing.assert_array_equal(score, [0.5, 0.0])


def test_leading_axes_are_independent():
    boxes, scores = map(jnp.asarray, random_problems(6))

    def run(boxes, scores):
        return suppress(boxes, scores, method=SoftNMS(), score_threshold=0.05, num_kept=5)

    together = run(boxes.reshape(2, 3, NUM_BOXES, 4), scores.reshape(2, 3, NUM_BOXES))
    apart = jax.vmap(run)(boxes, scores)
    np.testing.assert_array_equal(together[0].reshape(6, 5), apart[0])
    np.testing.assert_allclose(together[1].reshape(6, 5), apart[1], rtol=1e-6)


@pytest.mark.parametrize("arguments", [{"convention": "sigma"}, {"sigma": 0.0}])
def test_soft_nms_without_meaning_is_refused(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        SoftNMS(**arguments)
