import threading

import jax
import jax.numpy as jnp
import pytest

from selftrain_jax.cost.compiling import EVENTS, CompileClock
from tests.cost.fakes import Clock

TRACE, LOWER, COMPILE = EVENTS


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_events_one_after_the_other_add_up(clock):
    compilations = CompileClock()
    for event, secs in ((TRACE, 1.0), (LOWER, 0.5), (COMPILE, 4.0)):
        clock.pass_secs(secs)
        compilations.record(event, secs)
        clock.pass_secs(10)
    assert compilations.take_secs() == 5.5
    assert compilations.take_secs() == 0


def test_a_second_inside_of_several_events_counts_once(clock):
    """A trace of 6 s traces two functions, 1 s and 2 s, and compiles a constant in the second, 0.5 s."""
    compilations = CompileClock()
    clock.pass_secs(2)
    compilations.record(TRACE, 1.0)
    clock.pass_secs(1.5)
    compilations.record(COMPILE, 0.5)
    clock.pass_secs(0.5)
    compilations.record(TRACE, 2.0)
    clock.pass_secs(2)
    compilations.record(TRACE, 6.0)
    assert compilations.take_secs() == 6


def test_spans_that_overlap_by_the_error_of_two_clocks_count_once(clock):
    compilations = CompileClock()
    clock.pass_secs(2)
    compilations.record(TRACE, 2.0)
    clock.pass_secs(3)
    compilations.record(LOWER, 3.25)
    assert compilations.take_secs() == 5


def test_other_events_and_other_threads_are_left_out(clock):
    compilations = CompileClock()
    clock.pass_secs(5)
    compilations.record("/jax/compilation_cache/cache_retrieval_time_sec", 5.0)
    thread = threading.Thread(target=compilations.record, args=(COMPILE, 5.0))
    thread.start()
    thread.join()
    assert compilations.take_secs() == 0


@pytest.mark.compiles
def test_jax_is_heard_while_it_is_listened_to():
    compilations = CompileClock()
    with compilations.listening():
        jax.block_until_ready(jax.jit(lambda x: x * 1.375 + 0.625)(jnp.ones(5)))
    assert 0 < compilations.take_secs() < 60
    jax.block_until_ready(jax.jit(lambda x: x * 1.625 + 0.375)(jnp.ones(5)))
    assert compilations.take_secs() == 0
