import jax
import jax.numpy as jnp
import pytest

from selftrain_jax.train import compiler_memory


@pytest.fixture
def order(monkeypatch):
    """What happened: a heap was trimmed, a program ran."""
    happened = []
    monkeypatch.setattr(compiler_memory, "trim_heap", lambda: happened.append("trim"))
    compiler_memory.release_after_compiling()
    yield happened
    jax.monitoring.unregister_event_duration_listener(compiler_memory._release)


def run_new_program(order, number):
    """Compile and run what no cache has."""

    @jax.jit
    def program(x):
        jax.debug.callback(lambda: order.append("run"))
        return x * number

    jax.block_until_ready(program(jnp.ones(3)))
    jax.effects_barrier()


def test_memory_is_released_between_a_long_compilation_and_its_program(order, monkeypatch):
    monkeypatch.setattr(compiler_memory, "MIN_SECS", 0.0)
    run_new_program(order, 1.25)
    assert order[-2:] == ["trim", "run"]


def test_short_compilations_and_other_events_release_nothing(order, monkeypatch):
    monkeypatch.setattr(compiler_memory, "MIN_SECS", 1e9)
    run_new_program(order, 1.5)
    jax.monitoring.record_event_duration_secs("/jax/some/other/event", 2e9)
    assert order == ["run"]
    jax.monitoring.record_event_duration_secs(compiler_memory.COMPILED, 2e9)
    assert order == ["run", "trim"]


def test_trimming_the_heap_keeps_what_is_in_use():
    kept = [bytearray(b"x" * 4096) for _ in range(1000)]
    del kept[::2]
    compiler_memory.trim_heap()
    assert all(block == b"x" * 4096 for block in kept)
