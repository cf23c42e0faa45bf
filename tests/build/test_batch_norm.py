"""config.student.batch_norm: which stage gets which statistics, and a training step with each."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from selftrain_jax.build.batch_norm import check_batch_norm, check_start, with_statistics
from selftrain_jax.errors import InputError
from selftrain_jax.models.batch_norm import BatchNorm
from selftrain_jax.pretrain.init_modes import InitReport
from selftrain_jax.selftrain.loss_norm import ema_loss_normalizer
from selftrain_jax.stages.choices import batch_norm_of
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.train.optimizer import momentum_sgd
from selftrain_jax.train.sharding import make_mesh, shard_batch, shard_state
from selftrain_jax.train.state import create_state
from selftrain_jax.train.step import jit_train_step, make_train_step
from selftrain_jax.types import Batch, ClassTargets, LossTerms, Task
from tests import tiny

TX = momentum_sgd(weight_decay=0.0)


class Network(nn.Module):
    """A convolution, a normalisation and a mean of squares."""

    @nn.compact
    def __call__(self, images, *, train):
        x = nn.Conv(3, (1, 1), name="conv")(images)
        x = BatchNorm(momentum=0.5, epsilon=1e-3, dtype="float32", name="bn")(x, train=train)
        return jnp.square(x - 0.3).mean((1, 2, 3))


def make_task(statistics: str) -> Task:
    network = Network()

    def init(rng):
        return dict(network.init(rng, jnp.zeros((1, 2, 2, 3)), train=False))

    def loss(variables, batch, rng):
        losses, changed = network.apply(variables, batch.images, train=True, mutable=["batch_stats"])
        human, pseudo = (jnp.where(mask, losses, 0).sum() for mask in (~batch.is_pseudo, batch.is_pseudo))
        counts = (jnp.sum(mask, dtype=jnp.float32) for mask in (~batch.is_pseudo, batch.is_pseudo))
        return LossTerms(human, pseudo, *counts, {}), dict(changed)

    return with_statistics(Task(init, loss, predict=lambda *_: None), statistics)


def make_batch(pseudo_factor: float = 1.0, *, is_mixed: bool = True) -> Batch:
    images = np.random.default_rng(0).normal(size=(8, 2, 2, 3)).astype(np.float32) + 1
    is_pseudo = (np.arange(8) % 2 == 1) & is_mixed
    images[is_pseudo] *= pseudo_factor
    return Batch(images, ClassTargets(np.zeros(8, np.int32)), is_pseudo)


def one_step(statistics: str, batch: Batch, num_devices: int = 1, **options):
    """Return the state before and after a step."""
    task, normalizer = make_task(statistics), ema_loss_normalizer(1.0)
    mesh = make_mesh(devices=jax.devices()[:num_devices])
    step = jit_train_step(make_train_step(task, TX, normalizer, **options), mesh)
    before = create_state(task, TX, normalizer, jax.random.key(0))
    after, _ = step(shard_state(mesh, before), shard_batch(mesh, batch), np.float32(0.1))
    return jax.device_get((before.variables, after.variables))


def assert_close(found, expected, rtol: float = 1e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), found, expected)


@pytest.mark.compiles
@pytest.mark.parametrize("options", [{}, {"remat": "convolutions"}, {"num_devices": 2}])
def test_running_averages_follow_the_human_images_alone(options: dict) -> None:
    (before, after), (_, other) = (one_step("human", make_batch(factor), **options) for factor in (1.0, 9.0))
    jax.tree.map(np.testing.assert_array_equal, after["batch_stats"], other["batch_stats"])
    assert np.any(after["params"]["bn"]["scale"] != other["params"]["bn"]["scale"])  # they are learnt from
    human = make_batch().images[0::2].reshape(-1, 3).astype(np.float64)
    conv = before["params"]["conv"]
    outputs = human @ np.asarray(conv["kernel"][0, 0], np.float64) + conv["bias"]
    expected = {"mean": 0.5 * outputs.mean(0), "var": 0.5 + 0.5 * outputs.var(0)}
    assert_close(after["batch_stats"]["bn"], expected)
    _, plain = one_step("batch", make_batch(9.0), **options)
    assert np.abs(plain["batch_stats"]["bn"]["mean"] - expected["mean"]).max() > 0.1


@pytest.mark.compiles
def test_with_accumulation_every_slice_has_its_human_images() -> None:
    (_, after), (_, other) = (
        one_step("human", make_batch(factor), accumulation=2, remat="convolutions") for factor in (1.0, 9.0)
    )
    jax.tree.map(np.testing.assert_array_equal, after["batch_stats"], other["batch_stats"])


@pytest.mark.compiles
def test_without_pseudo_images_human_is_the_batch() -> None:
    batch = make_batch(is_mixed=False)
    assert_close(one_step("human", batch)[1], one_step("batch", batch)[1])


@pytest.mark.compiles
@pytest.mark.parametrize("options", [{}, {"remat": "convolutions"}, {"accumulation": 2}])
def test_frozen_statistics_stay_bit_for_bit_while_the_parameters_move(options: dict) -> None:
    before, after = one_step("frozen", make_batch(), **options)
    jax.tree.map(np.testing.assert_array_equal, after["batch_stats"], before["batch_stats"])
    for name in ("scale", "bias"):
        assert np.any(after["params"]["bn"][name] != before["params"]["bn"][name])


def configured(batch_norm: str, init: str = "teacher") -> ConfigDict:
    config = tiny.get_config()
    config.student.update(batch_norm=batch_norm, init=init)
    return config


@pytest.mark.parametrize(
    ("batch_norm", "control", "student"),
    [("batch", "batch", "batch"), ("human", "batch", "human"), ("frozen", "frozen", "frozen")],
)
def test_stages_have_the_statistics_that_make_sense_for_them(
    batch_norm: str, control: str, student: str
) -> None:
    config = configured(batch_norm)
    assert batch_norm_of(config, "teacher") == "batch"
    for stage, expected in (("control", control), ("student", student)):
        assert batch_norm_of(config, stage) == expected
        assert deciding_settings(config, stage)["student.batch_norm"] == expected


def test_statistics_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="batch_norm='group' is not one of batch, human, frozen"):
        check_batch_norm(configured("group"))


@pytest.mark.parametrize("init", ["rand", "imagenet", "simclr"])
def test_statistics_of_a_random_start_are_not_frozen_and_the_ways_out_work(init: str) -> None:
    with pytest.raises(InputError, match=rf"config\.student\.init={init} .*random weights") as error:
        check_batch_norm(configured("frozen", init))
    assert "--config.student.init=teacher" in str(error.value)
    assert "--config.student.batch_norm=human" in str(error.value)
    check_batch_norm(configured("frozen", "teacher"))
    check_batch_norm(configured("human", init))
    check_batch_norm(configured("frozen", "some/folder"))
    supervised = configured("frozen", init)
    supervised.unlabeled.kind = "none"  # the control continues from the teacher
    check_batch_norm(supervised)


def test_a_start_that_leaves_a_module_with_statistics_random_is_not_frozen() -> None:
    variables = {"params": {}, "batch_stats": {"backbone": {}, "class_net": {}}}
    report = InitReport("some/folder", {"backbone": 9}, {"class_net": 4, "box_net": 2})
    with pytest.raises(InputError, match=r"some/folder leaves class_net random"):
        check_start(configured("frozen", "some/folder"), "student", report, variables)
    check_start(configured("human", "some/folder"), "student", report, variables)
    check_start(
        configured("frozen", "f"), "student", InitReport("f", {"backbone": 9}, {"box_net": 2}), variables
    )
