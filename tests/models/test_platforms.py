from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.models import platforms, spatial_sharding
from selftrain_jax.models.platforms import choose_by_platform
from selftrain_jax.train.sharding import make_mesh

FORMS = {"cpu": 1.0, "cuda": 2.0, "tpu": 3.0, "default": 4.0}


def make_choice():
    """Return a function that JAX has not traced yet, on whatever mesh."""
    forms = {name: lambda x, n=number: x * n for name, number in FORMS.items()}
    return lambda x: choose_by_platform(x, **forms)


def mesh_of(platform):
    devices = np.array([SimpleNamespace(platform=platform)])
    return SimpleNamespace(devices=devices)


def traced_factors(function):
    """Return the constants that a function's traced program multiplies by."""
    text = str(jax.make_jaxpr(function)(1.0))
    return {number for number in FORMS.values() if f" {number}:" in text}


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("cpu", {1.0}), ("tpu", {3.0}), ("gpu", {2.0, 4.0}), (None, {1.0, 2.0, 3.0, 4.0})],
)
def test_only_the_forms_of_the_mesh_are_traced(platform, expected, monkeypatch):
    monkeypatch.setattr(platforms, "active_mesh", lambda: platform and mesh_of(platform))
    assert traced_factors(make_choice()) == expected


def test_a_platform_without_a_form_has_the_default(monkeypatch):
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr(platforms, "active_mesh", lambda platform=platform: mesh_of(platform))
        assert choose_by_platform(jnp.ones(()), default=lambda x: x + 1, tpu=lambda x: x + 2) == 2.0


def test_every_platform_gets_its_own_form():
    def lowered(platform):
        return jax.jit(make_choice()).trace(1.0).lower(lowering_platforms=(platform,)).as_text()

    for platform in ("cpu", "cuda", "tpu", "rocm"):
        assert f"{FORMS.get(platform, FORMS['default']):.6e}" in lowered(platform)
    with spatial_sharding.split_rows_over(make_mesh(devices=jax.devices()[:1])):
        assert jax.jit(make_choice())(1.0) == FORMS["cpu"]
