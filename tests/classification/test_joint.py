"""Joint training: the sum of two losses, whose backbone is one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.classification.joint import (
    HEAD,
    attach,
    classifier_part,
    detector_part,
    make_joint_task,
)
from selftrain_jax.classification.task import make_classification_task
from selftrain_jax.errors import InputError
from selftrain_jax.models.classifier import Classifier
from selftrain_jax.models.convnext import ConvNeXt
from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer
from selftrain_jax.train.optimizer import momentum_sgd
from selftrain_jax.train.sharding import make_mesh, shard_batch, shard_state
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import jit_train_step, make_train_step
from tests.classification.toy_networks import (
    NUM_CLASSES,
    ToyBackbone,
    class_batch,
    detection_batch,
    make_toy_detection,
)

pytestmark = pytest.mark.compiles

DETECTION = make_toy_detection()
CLASSIFICATION = make_classification_task(
    model=Classifier(backbone=ToyBackbone(), num_classes=NUM_CLASSES, head_channels=5), image_size_px=6
)
JOINT = make_joint_task(DETECTION, CLASSIFICATION, weight=0.5)
BATCH = detection_batch()._replace(auxiliary=class_batch())
RNG = jax.random.key(3)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(JOINT.init)(jax.random.key(0))


def gradient(task, variables, batch):
    def loss(params):
        terms, _ = task.loss({**variables, "params": params}, batch, RNG)
        return terms.human + terms.auxiliary

    return jax.jit(jax.grad(loss))(variables["params"])


def assert_close(first, second, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


def test_variables_are_the_detectors_and_the_classifiers_own_under_one_name(variables) -> None:
    alone = DETECTION.init(jax.random.key(0))
    assert_close(detector_part(variables), alone)
    assert set(variables["params"]) - set(alone["params"]) == {HEAD}
    assert set(variables["params"][HEAD]) == {"head", "head_bn", "dense"}
    assert set(variables["batch_stats"][HEAD]) == {"head_bn"}
    shapes = jax.tree.map(jnp.shape, classifier_part(variables))
    assert shapes == jax.tree.map(jnp.shape, CLASSIFICATION.init(jax.random.key(0)))


def test_a_backbone_without_batch_norm_is_shared_too() -> None:
    """Here the detector's part is a classifier with a BatchNorm behind the backbone, the other has none."""
    backbone = ConvNeXt((1, 1), (4, 8))
    first, second = (
        make_classification_task(model=Classifier(backbone, NUM_CLASSES, **options), image_size_px=8)
        for options in ({"head_channels": 5}, {"normalizes_mean": True})
    )
    joint, rng = make_joint_task(first, second, weight=0.5), jax.random.key(0)
    batch = class_batch()._replace(auxiliary=class_batch(1))
    variables = jax.eval_shape(joint.init, rng)
    assert set(variables["batch_stats"]) == {"head_bn"}
    assert set(variables["params"][HEAD]) == {"head_norm", "dense"}
    _, changed = jax.eval_shape(joint.loss, variables, batch, rng)
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(variables["batch_stats"])


def test_auxiliary_is_the_weighted_classification_loss_and_detection_is_as_without_it(variables) -> None:
    terms, _ = JOINT.loss(variables, BATCH, RNG)
    alone, _ = DETECTION.loss(detector_part(variables), detection_batch(), RNG)
    second, _ = CLASSIFICATION.loss(classifier_part(variables), class_batch(), RNG)
    assert terms.human == alone.human
    np.testing.assert_allclose(terms.auxiliary, 0.5 * second.human, rtol=1e-6)
    np.testing.assert_allclose(terms.metrics["train/loss_classification"], second.human, rtol=1e-6)
    assert terms.metrics["toy/error"] == alone.metrics["toy/error"]


def test_gradient_of_the_backbone_is_the_weighted_sum_of_both_tasks(variables) -> None:
    joint = gradient(JOINT, variables, BATCH)
    first = gradient(DETECTION, detector_part(variables), detection_batch())
    second = gradient(CLASSIFICATION, classifier_part(variables), class_batch())
    expected = jax.tree.map(lambda a, b: a + 0.5 * b, first["backbone"], second["backbone"])
    assert_close(joint["backbone"], expected, rtol=1e-4, atol=1e-6)
    assert_close(joint["head"], first["head"], rtol=1e-5, atol=1e-7)
    assert_close(joint[HEAD]["dense"], jax.tree.map(lambda b: 0.5 * b, second["dense"]), rtol=1e-5, atol=1e-7)
    assert all(
        np.abs(leaf).max() > 1e-4
        for leaf in (first["backbone"]["stem"]["kernel"], second["backbone"]["stem"]["kernel"])
    )


def test_running_averages_move_by_the_detector_and_then_by_the_classifier(variables) -> None:
    _, changed = JOINT.loss(variables, BATCH, RNG)
    _, after_first = DETECTION.loss(detector_part(variables), detection_batch(), RNG)
    between = classifier_part(
        {**variables, "batch_stats": {**variables["batch_stats"], **after_first["batch_stats"]}}
    )
    _, after_second = CLASSIFICATION.loss(between, class_batch(), RNG)
    stats = changed["batch_stats"]
    assert_close(stats["backbone"], after_second["batch_stats"]["backbone"], rtol=1e-6)
    assert_close(stats[HEAD], {"head_bn": after_second["batch_stats"]["head_bn"]}, rtol=1e-6)
    assert_close(stats["head_bn"], after_first["batch_stats"]["head_bn"], rtol=1e-6)


@pytest.mark.parametrize(("weight", "second"), [(0.0, class_batch()), (0.5, None)])
def test_weight_0_or_no_second_batch_is_detection_alone(variables, weight, second) -> None:
    task = make_joint_task(DETECTION, CLASSIFICATION, weight=weight)
    terms, changed = task.loss(variables, detection_batch()._replace(auxiliary=second), RNG)
    alone, after = DETECTION.loss(detector_part(variables), detection_batch(), RNG)
    assert terms == alone
    assert_close(detector_part(changed), after)
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(variables["batch_stats"])


def test_detections_are_the_detectors(variables) -> None:
    images = detection_batch().images
    found = JOINT.predict(variables, images)
    np.testing.assert_array_equal(found, DETECTION.predict(detector_part(variables), images))


def test_whole_step_learns_both_on_two_devices_and_leaves_the_loss_averages_alone() -> None:
    tx, normalizer, mesh = momentum_sgd(weight_decay=1e-4), ema_loss_normalizer(1.0, 0.9), make_mesh()
    step = jit_train_step(make_train_step(JOINT, tx, normalizer), mesh)
    state = shard_state(mesh, create_state(JOINT, tx, normalizer, jax.random.key(0)))
    rows = []
    for number in range(60):
        batch = detection_batch()._replace(auxiliary=class_batch(number))
        state, metrics = step(state, shard_batch(mesh, jax.device_get(batch)), np.float32(0.05))
        rows.append({key: float(value) for key, value in metrics.items()})
    first, last = rows[0], rows[-1]
    total = first["train/loss_human"] + 0.5 * first["train/loss_classification"]
    assert first["train/loss"] == pytest.approx(total, rel=1e-6)
    assert first["loss_norm/human_average"] == pytest.approx(first["train/loss_human"], rel=1e-5)
    assert last["train/loss_human"] < 0.5 * first["train/loss_human"]
    assert last["train/loss_classification"] < 0.8 * first["train/loss_classification"]


def stream_of(make, name):
    def stream(start_step):
        for step in itertools.count(start_step):
            batch = jax.device_get(make(step))
            yield batch, [f"{name}-{step}-{index}" for index in range(len(batch.images))]

    return stream


def test_attached_batches_are_those_of_the_same_step() -> None:
    batch, ids = next(attach(stream_of(detection_batch, "human"), stream_of(class_batch, "class"))(7))
    np.testing.assert_array_equal(batch.images, detection_batch(7).images)
    np.testing.assert_array_equal(batch.auxiliary.images, class_batch(7).images)
    np.testing.assert_array_equal(batch.auxiliary.targets.classes, class_batch(7).targets.classes)
    assert len(ids) == 4 + 6
    assert ids[:2] + ids[-1:] == ["human-7-0", "human-7-1", "class-7-5"]


def test_both_streams_are_closed_with_the_one_they_are_joined_in() -> None:
    opened = []

    def keep(batches):
        def stream(start_step):
            opened.append(batches(start_step))
            return opened[-1]

        return stream

    joined = attach(keep(stream_of(detection_batch, "human")), keep(stream_of(class_batch, "class")))(0)
    next(joined)
    joined.close()
    assert [stream.gi_frame for stream in opened] == [None, None]


def test_negative_weight_and_other_backbone_are_refused() -> None:
    with pytest.raises(InputError, match="weight is -1"):
        make_joint_task(DETECTION, CLASSIFICATION, weight=-1.0)

    def other_init(rng):
        return jax.tree.map(lambda leaf: leaf[None], CLASSIFICATION.init(rng))

    with pytest.raises(InputError, match="both from the same settings"):
        make_joint_task(DETECTION, CLASSIFICATION._replace(init=other_init), weight=0.5).init(RNG)
