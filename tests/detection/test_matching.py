import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.matching import (
    IGNORED_ANCHOR,
    NEGATIVE_ANCHOR,
    SLOTS_AT_ONCE,
    match_anchors,
)
from selftrain_jax.types import BoxTargets
from tests.detection.detection_golden import GOLDEN

ANCHORS = make_anchors(image_size_px=128)
SLOTS = 6
match = jax.jit(match_anchors)


def targets_of(*images):
    """Pad lists of (box, class, ignore) to SLOTS an image, with loud values where nothing is valid."""
    boxes = np.tile(np.float32([0, 0, 128, 128]), (len(images), SLOTS, 1))
    classes = np.full((len(images), SLOTS), 77, np.int32)
    valid, ignore = np.zeros((2, len(images), SLOTS), bool)
    for i, image in enumerate(images):
        for j, (box, label, is_ignore) in enumerate(image):
            boxes[i, j], classes[i, j], valid[i, j], ignore[i, j] = box, label, True, is_ignore
    return BoxTargets(*(jnp.asarray(x) for x in (boxes, classes, valid, ignore)))


def golden_image():
    boxes = GOLDEN["matching"]["gt"]
    return [
        (box, int(label[0]), False) for box, label in zip(boxes, GOLDEN["matching"]["labels"], strict=True)
    ]


@pytest.fixture(scope="module")
def golden_match():
    return match(ANCHORS, targets_of(golden_image(), []))


def test_positives_equal_the_authors(golden_match):
    golden = GOLDEN["matching"]
    positive = np.flatnonzero(golden_match.classes[0] > 0)
    np.testing.assert_array_equal(positive, golden["positive_index"])
    np.testing.assert_array_equal(golden_match.classes[0, positive], golden["positive_class"])
    np.testing.assert_allclose(golden_match.boxes[0, positive], golden["positive_targets"], atol=1e-6)
    assert golden_match.num_positives[0] == golden["num_positives"] == 52


def test_other_anchors_are_negative_with_zero_box_targets(golden_match):
    negative = golden_match.classes[0] == NEGATIVE_ANCHOR
    assert negative.sum() == len(ANCHORS) - 52
    assert not golden_match.boxes[0][negative].any()


def test_image_without_boxes_is_all_negative(golden_match):
    assert (golden_match.classes[1] == NEGATIVE_ANCHOR).all()
    assert golden_match.num_positives[1] == 0


def oracle(anchors, boxes):
    """Return the box of each anchor, or -1, in loops."""

    def iou(a, b):
        height = min(a[2], b[2]) - max(a[0], b[0])
        width = min(a[3], b[3]) - max(a[1], b[1])
        shared = max(height, 0) * max(width, 0)
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    overlaps = np.array([[iou(a, b) for b in boxes] for a in anchors.astype(float)])
    slot = np.where(overlaps.max(axis=1) >= 0.5, overlaps.argmax(axis=1), -1)
    for j in reversed(range(len(boxes))):
        slot[overlaps[:, j].argmax()] = j
    return slot


def test_random_boxes_match_as_in_loops():
    random = np.random.default_rng(0)
    corner = random.uniform(0, 90, (SLOTS, 2))
    boxes = np.concatenate([corner, corner + random.uniform(3, 70, (SLOTS, 2))], axis=1).astype(np.float32)
    found = match(ANCHORS, targets_of([(box, j + 1, False) for j, box in enumerate(boxes)], []))
    np.testing.assert_array_equal(np.maximum(found.classes[0], 0) - 1, oracle(ANCHORS, boxes))


def test_earlier_box_wins_an_anchor_that_two_claim():
    tiny = [30.0, 30, 31, 31]
    found = match(
        ANCHORS, targets_of([(tiny, 5, False), (tiny, 9, False)], [(tiny, 9, False), (tiny, 5, False)])
    )
    np.testing.assert_array_equal(found.num_positives, [1, 1])
    np.testing.assert_array_equal(found.classes.max(axis=1), [5, 9])


def test_box_that_overlaps_nothing_claims_anchor_0():
    found = match(ANCHORS, targets_of([([900.0, 900, 901, 901], 4, False)], []))
    np.testing.assert_array_equal(np.flatnonzero(found.classes[0] > 0), [0])
    assert found.classes[0, 0] == 4


def test_ignore_region_masks_anchors_without_a_box_and_makes_no_positives():
    region = ANCHORS[1500].tolist()
    found = match(ANCHORS, targets_of([(region, 3, True)], [(region, 3, False)]))
    assert found.num_positives[0] == 0
    assert found.classes[0, 1500] == IGNORED_ANCHOR
    np.testing.assert_array_equal(found.classes[0] == IGNORED_ANCHOR, found.classes[1] == 3)


def test_positive_anchor_is_never_ignored():
    image = golden_image()
    alone = match(ANCHORS, targets_of(image, []))
    regions = [(image[0][0], 1, True), (image[2][0], 1, True)]
    found = match(ANCHORS, targets_of(regions + image, []))
    np.testing.assert_array_equal(found.classes[0] > 0, alone.classes[0] > 0)
    np.testing.assert_array_equal(found.boxes[0], alone.boxes[0])


def test_match_keeps_no_anchors_by_boxes_matrix():
    num_anchors = 2**16

    def temporaries(num_slots):
        shapes = BoxTargets(
            boxes=jax.ShapeDtypeStruct((1, num_slots, 4), jnp.float32),
            classes=jax.ShapeDtypeStruct((1, num_slots), jnp.int32),
            valid=jax.ShapeDtypeStruct((1, num_slots), bool),
            ignore=jax.ShapeDtypeStruct((1, num_slots), bool),
        )
        compiled = match.lower(jax.ShapeDtypeStruct((num_anchors, 4), jnp.float32), shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(512) < 1.1 * temporaries(128)


@pytest.mark.parametrize("num_slots", [1, SLOTS_AT_ONCE, SLOTS_AT_ONCE + 1])
@pytest.mark.parametrize("num_boxes", [0, 1, 5])
def test_slots_of_any_number_match_as_with_empty_ones_behind(num_slots, num_boxes):
    num_boxes = min(num_boxes, num_slots)
    image = [([10 * i, 10, 40 + 10 * i, 50], 1 + i, i == 3) for i in range(num_boxes)]
    targets = targets_of(image, image[:1])
    short = jax.tree.map(lambda leaf: leaf[:, :num_slots], targets)
    long = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.zeros_like(leaf)], axis=1), targets)
    found, expected = match(ANCHORS, short), match(ANCHORS, long)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert (found.num_positives > 0).all() == (num_boxes > 0)


def test_weights_are_those_of_the_matched_box_and_1_elsewhere():
    image = [([10, 10, 40, 40], 3, False), ([60, 60, 120, 120], 5, False), ([0, 90, 30, 120], 2, True)]
    targets = targets_of(image, image[1:2])
    weights = jnp.arange(1, 2 * SLOTS + 1, dtype=jnp.float32).reshape(2, SLOTS) / 100
    found = match(
        ANCHORS, targets._replace(box_weight=weights, class_weight=10 * weights, class_target=weights**2)
    )
    for row, by_class in enumerate([{3: 0.01, 5: 0.02}, {5: 0.07}]):
        classes = np.asarray(found.classes[row])
        expected = np.select([classes == id for id in by_class], list(by_class.values()), 1.0)
        positive = classes > 0
        assert positive.sum() >= len(by_class)
        np.testing.assert_allclose(found.box_weight[row], expected, rtol=1e-6)
        np.testing.assert_allclose(found.class_weight[row], np.where(positive, 10 * expected, 1), rtol=1e-6)
        np.testing.assert_allclose(found.class_target[row], expected**2, rtol=1e-6)
    plain = match(ANCHORS, targets)
    assert (plain.box_weight, plain.class_weight, plain.class_target) == (None, None, None)
    np.testing.assert_array_equal(plain.classes, found.classes)
