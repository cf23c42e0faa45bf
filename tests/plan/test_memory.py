"""The memory of a step from shapes: by hand for two convolutions, beside XLA for the tiny detector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.plan.memory import COMPILED, count_activations, count_parameters, estimate_memory
from selftrain_jax.tasks.detection.spec import DETECTION
from selftrain_jax.train.sharding import shard_shapes
from selftrain_jax.types import Batch, Category
from tests import tiny

CATEGORIES = tuple(Category(number, f"digit {number}") for number in range(1, 11))


def two_convolutions(kernels: list[jax.Array], images: jax.Array) -> jax.Array:
    """Two 1 x 1 convolutions with element-wise operations between them, in a jitted function."""

    @jax.jit
    def layer(kernel: jax.Array, x: jax.Array) -> jax.Array:
        x = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.tanh(2.0 * x) + 1.0

    return jnp.sum(layer(kernels[1], layer(kernels[0], images)))


SHAPES = (
    [jax.ShapeDtypeStruct((1, 1, 3, 8), np.float32), jax.ShapeDtypeStruct((1, 1, 8, 4), np.float32)],
    jax.ShapeDtypeStruct((2, 16, 16, 3), np.float32),
)
PIXELS = 2 * 16 * 16


def test_products_and_what_goes_into_them_are_kept_and_elementwise_results_are_not() -> None:
    first, second, total = 4 * 8 * PIXELS, 4 * 4 * PIXELS, 4
    kept = first + first + second + total  # output, input of the next, output, the sum
    found = count_activations(two_convolutions, *SHAPES, is_remat=False)
    assert found == round(COMPILED * (kept + 2 * first))


def test_remat_keeps_the_outputs_of_convolutions_alone() -> None:
    first, second = 4 * 8 * PIXELS, 4 * 4 * PIXELS
    found = count_activations(two_convolutions, *SHAPES, is_remat=True)
    assert found == round(COMPILED * (first + second + 2 * first))


def test_choice_by_platform_counts_one_branch() -> None:
    def loss(kernel: jax.Array, x: jax.Array) -> jax.Array:
        return jax.lax.platform_dependent(x, cpu=lambda x: x @ kernel, default=lambda x: x @ kernel)

    shapes = jax.ShapeDtypeStruct((8, 8), np.float32), jax.ShapeDtypeStruct((2, 8), np.float32)
    assert count_activations(loss, *shapes, is_remat=True) == round(COMPILED * 3 * 4 * 2 * 8)


def tiny_batch(config: object, size: int) -> Batch:
    targets = DETECTION.self_training.target_shapes(config, size)
    shape = jax.ShapeDtypeStruct
    images, covered_px = shape((size, 64, 64, 3), np.uint8), shape((size, 2), np.int32)
    return Batch(images, targets, shape((size,), np.bool_), covered_px=covered_px)


def test_state_is_counted_exactly_and_a_model_axis_shares_it() -> None:
    config = tiny.get_config()
    config.optimizer.ema_decay = 0.9
    experiment = build_experiment(config, CATEGORIES)
    state = jax.eval_shape(experiment.new_state)
    memory = estimate_memory(experiment.mesh, experiment.task.loss, state, tiny_batch(config, 4))
    num = count_parameters(state)
    assert memory.momentum == memory.average == memory.gradients == 4 * num
    statistics = sum(leaf.size for leaf in jax.tree.leaves(state.variables["batch_stats"]))
    assert memory.parameters == 4 * (num + statistics)
    assert memory.batch == 2 * (64 * 64 * 3 + 2 * 4 + 16 * (4 * 4 + 4 + 1 + 1) + 1)  # of 2 devices one


def test_accumulation_needs_less_and_a_larger_batch_more() -> None:
    config = tiny.get_config()
    experiment = build_experiment(config, CATEGORIES)
    state = jax.eval_shape(experiment.new_state)

    def activations(size: int, accumulation: int = 1) -> int:
        batch = tiny_batch(config, size)
        found = estimate_memory(
            experiment.mesh, experiment.task.loss, state, batch, accumulation=accumulation
        )
        return found.activations

    assert activations(8) == pytest.approx(2 * activations(4), rel=0.1)
    assert activations(8, accumulation=2) == activations(4)


@pytest.mark.compiles
def test_estimate_is_within_a_factor_of_1_6_of_what_xla_lays_out() -> None:
    config = tiny.get_config()
    experiment = build_experiment(config, CATEGORIES, devices=jax.devices()[:1])
    state, batch = jax.eval_shape(experiment.new_state), tiny_batch(config, 4)
    step = experiment.train_step.lower(
        shard_shapes(experiment.mesh, state), batch, jax.ShapeDtypeStruct((), np.float32)
    )
    found = step.compile().memory_analysis()
    real = found.argument_size_in_bytes + found.temp_size_in_bytes
    estimate = estimate_memory(experiment.mesh, experiment.task.loss, state, batch).total
    assert real / 1.6 < estimate < 1.6 * real
