import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.detection.losses import (
    ImageLosses,
    box_loss,
    focal_loss,
    image_losses,
    repeat_for_channels,
    select_for_channels,
    source_losses,
)
from selftrain_jax.detection.matching import IGNORED_ANCHOR, NEGATIVE_ANCHOR, AnchorTargets
from tests.detection.detection_golden import GOLDEN, network_outputs


def golden_targets():
    golden = GOLDEN["matching"]
    classes = np.full(len(make_anchors(image_size_px=128)), NEGATIVE_ANCHOR, np.int32)
    boxes = np.zeros((len(classes), 4), np.float32)
    classes[golden["positive_index"]] = golden["positive_class"]
    boxes[golden["positive_index"]] = golden["positive_targets"]
    return classes, boxes


def as_maps(x, image_size_px=128):
    """Cut [A, C] where the pyramid's levels 3 to 7 meet, and put 9 anchors at each location of a map."""
    sides = {level: image_size_px // 2**level for level in range(3, 8)}
    ends = np.cumsum([9 * side**2 for side in sides.values()])
    parts = jnp.split(x, ends[:-1])
    return {
        level: part.reshape(1, side, side, -1)
        for (level, side), part in zip(sides.items(), parts, strict=True)
    }


def test_losses_equal_the_authors():
    logits, outputs = (as_maps(jnp.asarray(x)) for x in network_outputs())
    classes, boxes = (jnp.asarray(x)[None] for x in golden_targets())
    num_positives = jnp.array([52.0])
    losses = jax.jit(image_losses)(logits, outputs, AnchorTargets(classes, boxes, num_positives))
    found = source_losses(losses, num_positives, jnp.array([True]))
    golden = GOLDEN["retina_loss"]
    np.testing.assert_allclose(found.classes, golden["cls"], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, golden["box"], rtol=1e-5)
    np.testing.assert_allclose(found.classes + 50 * found.boxes, golden["total"], rtol=1e-5)


LOGITS = jnp.array([[0.3, -2.0, 5.0], [-1.0, 0.0, 1.0], [40.0, -40.0, 120.0]])
CLASSES = jnp.array([[2], [NEGATIVE_ANCHOR], [0]])
IS_TARGET = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]])


def test_focal_loss_with_gamma_0_is_weighted_cross_entropy():
    entropy = np.logaddexp(0, LOGITS) - IS_TARGET * LOGITS
    expected = np.where(IS_TARGET, 0.3, 0.7) * entropy
    np.testing.assert_allclose(focal_loss(LOGITS, CLASSES, alpha=0.3, gamma=0.0), expected.sum(-1), rtol=1e-6)


def test_focal_loss_is_its_formula_in_float64():
    logits = np.float64(LOGITS[:2])
    p = 1 / (1 + np.exp(-logits))
    p_t = np.where(IS_TARGET[:2], p, 1 - p)
    expected = np.where(IS_TARGET[:2], 0.25, 0.75) * (1 - p_t) ** 1.5 * -np.log(p_t)
    np.testing.assert_allclose(focal_loss(LOGITS[:2], CLASSES[:2]), expected.sum(-1), rtol=1e-5)


def test_focal_loss_and_its_gradient_are_finite_for_certain_answers():
    logits = jnp.array([[-1e4, 1e4], [1e4, -1e4]])
    classes = jnp.array([[1], [1]])
    loss, gradient = jax.jit(jax.value_and_grad(lambda x: focal_loss(x, classes).sum()))(logits)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_ignored_anchor_has_no_loss_and_no_gradient():
    classes = jnp.array([[IGNORED_ANCHOR], [NEGATIVE_ANCHOR], [IGNORED_ANCHOR]])
    loss, gradient = jax.jit(jax.value_and_grad(lambda x: focal_loss(x, classes).sum()))(LOGITS)
    gradient = np.asarray(gradient)
    np.testing.assert_array_equal(gradient[[0, 2]], 0)
    assert gradient[1].all()
    np.testing.assert_allclose(loss, focal_loss(LOGITS[1], classes[1]))


TARGETS = jnp.array([[0.7], [1.0], [0.2]])  # of the anchors of CLASSES; the second has no class


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.5, 2.0])
def test_soft_target_is_its_formula_in_float64(gamma):
    logits = np.float64(LOGITS.at[2].set(jnp.array([2.0, -3.0, 1.0])))
    expected = np.zeros(3)
    for anchor in range(3):
        for channel in range(3):
            p = 1 / (1 + np.exp(-logits[anchor, channel]))
            is_class = channel == int(CLASSES[anchor, 0])
            y = float(TARGETS[anchor, 0]) if is_class else 0.0
            entropy = -y * np.log(p) - (1 - y) * np.log(1 - p)
            expected[anchor] += (0.25 if is_class else 0.75) * abs(y - p) ** gamma * entropy
    found = focal_loss(jnp.float32(logits), CLASSES, None, TARGETS, gamma=gamma)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_weights_and_targets_of_1_change_no_bit():
    ones = jnp.ones(CLASSES.shape)
    usual = jax.jit(jax.value_and_grad(lambda x: focal_loss(x, CLASSES).sum()))(LOGITS)
    weighted = jax.jit(jax.value_and_grad(lambda x: focal_loss(x, CLASSES, ones, ones).sum()))(LOGITS)
    jax.tree.map(np.testing.assert_array_equal, weighted, usual)
    boxes = jnp.array([[0.0, 0.2, -0.1, 3.0]])
    usual = jax.value_and_grad(lambda x: box_loss(x, boxes).sum())(boxes + 0.03)
    weighted = jax.value_and_grad(lambda x: box_loss(x, boxes, ones[:1]).sum())(boxes + 0.03)
    jax.tree.map(np.testing.assert_array_equal, weighted, usual)


@pytest.mark.parametrize("gamma", [0.5, 1.5])
def test_soft_target_has_no_gradient_where_the_score_is_the_target(gamma):
    logit = jnp.log(0.7 / 0.3)  # of the score 0.7

    @jax.jit
    @jax.grad
    def slope(x):
        logits = jnp.stack([x, jnp.float32(-20.0)])[None]
        return focal_loss(logits, jnp.array([[0]]), None, jnp.array([[0.7]]), gamma=gamma)[0]

    assert abs(slope(logit)) < 1e-3
    assert slope(logit - 1) < -1e-2
    assert slope(logit + 1) > 1e-2
    assert np.isfinite(slope(jnp.float32(1e4)))


def test_weight_multiplies_an_anchors_class_and_box_loss_of_several_at_a_location():
    logits, classes = LOGITS[:2].reshape(1, 6), CLASSES[:2].reshape(1, 2)
    one_by_one = focal_loss(LOGITS[:2], CLASSES[:2])
    found = focal_loss(logits, classes, jnp.array([[0.5, 3.0]]))
    np.testing.assert_allclose(found, [0.5 * one_by_one[0] + 3 * one_by_one[1]], rtol=1e-6)
    outputs = jnp.arange(1.0, 9.0)[None]
    targets = jnp.full((1, 8), 0.5)
    first, second = (box_loss(outputs[:, half], targets[:, half]) for half in (slice(4), slice(4, 8)))
    found = box_loss(outputs, targets, jnp.array([[0.5, 3.0]]))
    np.testing.assert_allclose(found, 0.5 * first + 3 * second, rtol=1e-6)


def test_anchor_of_weight_0_has_no_gradient():
    weights = jnp.array([[0.0], [1.0], [0.0]])
    gradient = jax.jit(jax.grad(lambda x: focal_loss(x, CLASSES, weights, TARGETS).sum()))(LOGITS)
    np.testing.assert_array_equal(np.asarray(gradient)[[0, 2]], 0)
    assert np.asarray(gradient)[1].all()
    gradient = jax.grad(lambda x: box_loss(x, jnp.ones((1, 4)), jnp.zeros((1, 1))).sum())(jnp.zeros((1, 4)))
    np.testing.assert_array_equal(gradient, 0)


def test_huber_is_quadratic_then_linear_and_smooth_between():
    target = jnp.full((1, 4), 1.0)

    @jax.jit
    def of_error(error):
        return box_loss(target.at[0, 0].add(error), target, delta=0.1)[0]

    np.testing.assert_allclose(of_error(0.04), 0.5 * 0.04**2, rtol=1e-3)
    np.testing.assert_allclose(of_error(-0.1), 0.5 * 0.1**2, rtol=1e-3)
    np.testing.assert_allclose(of_error(2.0), 0.1 * 2.0 - 0.5 * 0.1**2, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(of_error)(0.04), 0.04, rtol=1e-3)
    np.testing.assert_allclose(jax.grad(of_error)(-3.0), -0.1, rtol=1e-5)


def test_huber_with_large_delta_is_half_squared_error():
    outputs, targets = jnp.array([[0.5, -2.0, 3.0, 1.0]]), jnp.array([[1.0, 1.0, 1.0, 4.0]])
    np.testing.assert_allclose(box_loss(outputs, targets, delta=1e3), ((outputs - targets) ** 2).sum() / 2)


def test_coordinate_whose_target_is_0_has_no_gradient():
    targets = jnp.array([[0.0, 0.2, -0.1, 0.0], [0.0, 0.0, 0.0, 0.0]])
    gradient = jax.jit(jax.grad(lambda x: box_loss(x, targets).sum()))(jnp.ones((2, 4)))
    np.testing.assert_array_equal(gradient != 0, targets != 0)


def pyramid_of_two(num_classes=5):
    """Outputs and targets of two images: maps of 2 x 2 and 1 x 1, 3 anchors at a location."""
    keys = jax.random.split(jax.random.key(0), 4)
    logits = jax.random.normal(keys[0], (2, 15, num_classes)) * 3
    outputs = jax.random.normal(keys[1], (2, 15, 4)) * 0.2
    classes = jax.random.randint(keys[2], (2, 15), IGNORED_ANCHOR, num_classes)
    boxes = jnp.where((classes >= 0)[..., None], jax.random.normal(keys[3], (2, 15, 4)) * 0.2, 0)
    return (logits, outputs), AnchorTargets(classes, boxes, jnp.zeros(2))


def maps_of_two(x):
    return {3: x[:, :12].reshape(2, 2, 2, -1), 4: x[:, 12:].reshape(2, 1, 1, -1)}


@pytest.mark.parametrize("is_weighted", [False, True])
def test_losses_of_maps_are_those_of_all_anchors_one_by_one_with_their_gradients(is_weighted):
    whole, targets = pyramid_of_two()
    if is_weighted:
        draws = jax.random.uniform(jax.random.key(1), (3, 2, 15))
        targets = targets._replace(box_weight=draws[0], class_weight=draws[1], class_target=draws[2])
    weights = ImageLosses(jnp.array([1.0, -2.0]), jnp.array([3.0, 0.5]))  # tells images and losses apart

    def weigh(losses):
        return (weights.classes * losses.classes + weights.boxes * losses.boxes).sum()

    def one_by_one(logits, outputs):
        box_weight, *of_classes = jax.tree.map(
            lambda x: x[..., None], (targets.box_weight, targets.class_weight, targets.class_target)
        )
        classes = focal_loss(logits, targets.classes[..., None], *of_classes, alpha=0.3, gamma=2.0)
        boxes = box_loss(outputs, targets.boxes, box_weight, delta=0.2)
        return weigh(ImageLosses(classes.sum(axis=1), boxes.sum(axis=1)))

    def of_maps(logits, outputs):
        maps = maps_of_two(logits), maps_of_two(outputs)
        return weigh(image_losses(*maps, targets, alpha=0.3, gamma=2.0, delta=0.2))

    expected, gradients = jax.jit(jax.value_and_grad(one_by_one, argnums=(0, 1)))(*whole)
    found, found_gradients = jax.jit(jax.value_and_grad(of_maps, argnums=(0, 1)))(*whole)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if is_weighted else 1e-6)
    for gradient, found_gradient in zip(gradients, found_gradients, strict=True):
        np.testing.assert_allclose(found_gradient, gradient, rtol=1e-5, atol=1e-7)


def test_the_backward_pass_finds_the_networks_outputs_and_the_targets_alone():
    whole, targets = pyramid_of_two(num_classes=500)
    maps = [{level: x.astype(jnp.bfloat16) for level, x in maps_of_two(each).items()} for each in whole]
    _, backward = jax.vjp(lambda maps: image_losses(*maps, targets), maps)
    kept_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(backward) if leaf.ndim > 1)  # no constants
    assert kept_bytes <= sum(leaf.nbytes for leaf in jax.tree.leaves((maps, targets)))


CLASS_LOSSES = jnp.array([3.0, 4.0, 16.0])
BOX_LOSSES = jnp.array([0.4, 1.2, 2.0])
NUM_POSITIVES = jnp.array([1.0, 2.0, 7.0])
IS_PSEUDO = jnp.array([False, True, False])


LOSSES = ImageLosses(CLASS_LOSSES, BOX_LOSSES)


def test_source_losses_by_hand():
    human = source_losses(LOSSES, NUM_POSITIVES, ~IS_PSEUDO)
    np.testing.assert_allclose(human.classes, (3 + 16) / (1 + 7 + 1))
    np.testing.assert_allclose(human.boxes, (0.4 + 2.0) / (4 * 9))
    np.testing.assert_allclose(human.num_positives, 4)
    assert human.num_images == 2


def test_mixed_batch_gives_each_source_what_it_has_alone():
    for mask in (IS_PSEUDO, ~IS_PSEUDO):
        mixed = source_losses(LOSSES, NUM_POSITIVES, mask)
        keep = np.flatnonzero(mask)
        everyone = jnp.ones(len(keep), bool)
        kept = ImageLosses(CLASS_LOSSES[keep], BOX_LOSSES[keep])
        alone = source_losses(kept, NUM_POSITIVES[keep], everyone)
        np.testing.assert_allclose(mixed, alone, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_absent_source_is_0_with_zero_gradient_whatever_the_other_holds(bad):
    nobody = jnp.zeros(3, bool)

    def total(losses):
        found = source_losses(ImageLosses(losses, BOX_LOSSES), NUM_POSITIVES, nobody)
        return found.classes + found.boxes

    value, gradient = jax.value_and_grad(total)(CLASS_LOSSES.at[0].set(bad))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_channels_of_an_anchor_have_its_value_on_each_platform(dtype):
    values = jnp.asarray(np.random.default_rng(0).integers(-2, 90, (2, 3, 4)), dtype)
    expected = np.repeat(values, 5, axis=2)
    for function in (repeat_for_channels, select_for_channels):
        np.testing.assert_array_equal(function(values, 5), expected)
