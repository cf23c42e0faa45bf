"""A function without its choices by platform computes what the default form computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from selftrain_jax.export.portable import without_choices
from selftrain_jax.models.efficientnet import MBConv, Stage
from selftrain_jax.models.layers import LayerStyle
from selftrain_jax.models.max_pool import max_pool


def primitives_of(jaxpr) -> set[str]:
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    found |= primitives_of(getattr(inner, "jaxpr", inner))
    return found


def test_the_default_is_chosen_whatever_the_platform() -> None:
    def function(x):
        return lax.platform_dependent(x, cpu=lambda x: x + 1, default=lambda x: x + 10) * 2

    assert function(jnp.float32(1)) == 4
    assert without_choices(function)(jnp.float32(1)) == 22


def test_inner_functions_constants_and_structures_stay() -> None:
    weights = jnp.arange(3.0)

    @jax.jit
    def inner(x):
        return {"sum": jax.nn.relu(x) @ weights, "twice": (x * 2, 7)}

    def function(x, y):
        return inner(x + y)

    arguments = jnp.array([-1.0, 2.0, 3.0]), jnp.ones(3)
    found, wanted = without_choices(function)(*arguments), function(*arguments)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(own, other)
    assert not primitives_of(jax.make_jaxpr(without_choices(function))(*arguments).jaxpr) & {"jit", "pjit"}


def test_a_loop_stays_a_loop() -> None:
    def function(x):
        return lax.fori_loop(0, 5, lambda index, total: total + x * index, x)

    assert without_choices(function)(jnp.float32(3)) == function(jnp.float32(3)) == 33


@pytest.mark.compiles
def test_a_block_of_a_network_is_the_same_without_its_choices() -> None:
    model = MBConv(Stage(1, 3, 1, 6, 8), gated=True, survival=1.0, style=LayerStyle("relu6"))
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 8))
    variables = model.init(jax.random.key(1), images, train=False)

    def apply(images):
        return max_pool(model.apply(variables, images, train=False), 2, 2, ((0, 0), (0, 0)))

    portable = without_choices(apply)
    np.testing.assert_allclose(jax.jit(portable)(images), jax.jit(apply)(images), atol=1e-5)
    choosing, rest = (primitives_of(jax.make_jaxpr(f)(images).jaxpr) for f in (apply, portable))
    assert "cond" in choosing
    assert not rest & {"platform_index", "cond", "jit", "custom_vjp_call", "custom_jvp_call"}
