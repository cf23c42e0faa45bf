"""Runs that end when val has stopped rising: where, with which checkpoint, after a kill, on several hosts."""

import contextlib

import jax
import pytest

from selftrain_jax import hosts
from selftrain_jax.train.checkpoint import find_step, restore_variables
from tests.train.toy import assert_same, make_stream
from tests.train.toy_run import new_state, run

pytestmark = pytest.mark.compiles


class Scores:
    """An evaluation on val that gives a score to each step; it lists the steps at which it was asked."""

    def __init__(self, *scores, killed_at=None):
        self.scores, self.killed_at, self.asked = dict(enumerate(scores, 1)), killed_at, []

    def batches(self, start_step):
        for self.step, item in enumerate(make_stream(start_step), start_step + 1):
            if self.step == self.killed_at:
                raise KeyboardInterrupt
            yield item

    def __call__(self, variables):
        self.asked.append(self.step)
        return {"eval/ap": self.scores[self.step]}


def run_patiently(directory, scores, **changes):
    settings = {"evaluate_every": 1, "patience": 2, "checkpoint_every": 1, "keep": 1, "num_steps": 20}
    return run(directory, **{"evaluate": scores, "batches": scores.batches, **settings, **changes})


def test_a_run_ends_where_val_has_not_risen_for_so_many_evaluations(tmp_path, capsys):
    scores = Scores(0.1, 0.4, 0.3, 0.5, 0.2, 0.5, 0.9)
    assert int(run_patiently(tmp_path, scores).step) == 6
    assert scores.asked == [1, 2, 3, 4, 5, 6]
    said = "student: stopped at step 6 of at most 20: eval/ap has not risen for 2 evaluations in a row; "
    assert f"{said}the best is 0.5, at step 4" in capsys.readouterr().out


def test_without_patience_a_run_goes_on_whatever_val_says(tmp_path):
    assert int(run_patiently(tmp_path, Scores(*[0.1] * 8), num_steps=8, patience=0).step) == 8


def test_the_best_of_a_run_that_ended_early_is_there_with_one_checkpoint_kept(tmp_path):
    run_patiently(tmp_path / "patient", Scores(0.1, 0.7, 0.6, 0.5, 0.4), patience=3)
    assert (find_step(tmp_path / "patient", "best"), find_step(tmp_path / "patient", "last")) == (2, 5)
    best = restore_variables(tmp_path / "patient", "best", jax.eval_shape(new_state).variables)
    assert_same(best["params"], run(tmp_path / "two", num_steps=2).ema)


def test_a_host_ends_where_host_0_does_whatever_its_own_scores(tmp_path, monkeypatch):
    ask = hosts.run_on_host0
    monkeypatch.setattr(hosts, "run_on_host0", lambda asked: False if ask(asked) is True else ask(asked))
    assert int(run_patiently(tmp_path, Scores(*[0.1] * 6), num_steps=6).step) == 6


@pytest.mark.parametrize(("killed_at", "asked"), [(2, [2, 4, 6, 8]), (4, [4, 6, 8]), (8, [8]), (9, [])])
def test_a_run_that_was_killed_ends_at_the_same_step(tmp_path, killed_at, asked):
    values = (0, 0.2, 0, 0.6, 0, 0.1, 0, 0.5, 0, 0.9)  # at steps 2, 4, 6, 8: over at 8
    whole = run_patiently(tmp_path / "whole", Scores(*values), evaluate_every=2)
    with contextlib.suppress(KeyboardInterrupt):  # at 9 nothing is left to kill
        run_patiently(tmp_path / "cut", Scores(*values, killed_at=killed_at), evaluate_every=2)
    resumed = Scores(*values)
    assert_same(whole, run_patiently(tmp_path / "cut", resumed, evaluate_every=2))
    assert resumed.asked == asked
    assert find_step(tmp_path / "cut", "last") == find_step(tmp_path / "whole", "last") == 8
