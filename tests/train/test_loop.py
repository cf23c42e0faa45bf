import itertools
import os
import re
import signal

import jax
import numpy as np
import pytest

from selftrain_jax.errors import InputError, RunAgainError
from selftrain_jax.run_files.metrics import METRICS_FILE, read_metrics
from selftrain_jax.train.checkpoint import find_step
from selftrain_jax.train.loop import NonFiniteLossError
from selftrain_jax.train.optimizer import warmup_cosine
from selftrain_jax.train.rollback import FILE_NAME, read_rollbacks
from tests.train.toy import assert_same, make_stream
from tests.train.toy_run import TRAIN_STEP, run

pytestmark = pytest.mark.compiles


def cut_off_at(stop_step):
    def batches(start_step):
        yield from itertools.islice(make_stream(start_step), stop_step - start_step)
        raise KeyboardInterrupt

    return batches


def without_speed(rows):
    return [{key: value for key, value in row.items() if not key.startswith("speed/")} for row in rows]


def test_resumed_equals_uninterrupted_bit_for_bit_and_compiles_once(tmp_path, caplog):
    # Not TRAIN_STEP._cache_size(): JAX counts there a second fast path to the same program.
    TRAIN_STEP.clear_cache()
    with jax.log_compiles():
        whole = run(tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", batches=cut_off_at(5))
        assert find_step(tmp_path / "cut", "last") == 4
        resumed = run(tmp_path / "cut")
    assert_same(whole, resumed)
    compiled = [
        line for line in caplog.messages if re.search("Finished XLA compilation of .*train_step", line)
    ]
    assert len(compiled) == 1
    rows = [without_speed(read_metrics(tmp_path / name / METRICS_FILE)) for name in ("whole", "cut")]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_returns_its_state_and_reads_no_data(tmp_path):
    first = run(tmp_path)
    again = run(tmp_path, batches=lambda step: (item for item in ()))
    assert_same(first, again)
    with pytest.raises(InputError, match="step 6, past the 4 steps"):
        run(tmp_path, num_steps=4)


def test_the_log_has_the_keys_that_the_report_reads(tmp_path):
    run(tmp_path, log_every=4)
    rows = read_metrics(tmp_path / METRICS_FILE)
    assert [row["step"] for row in rows] == [4, 6]
    assert {
        "train/loss",
        "train/loss_human",
        "train/loss_pseudo",
        "train/learning_rate",
        "train/gradient_norm",
        "loss_norm/human_average",
        "loss_norm/pseudo_average",
        "loss_norm/ratio",
        "speed/images_per_second",
        "speed/data_wait_share",
        "speed/eta_secs",
    } <= rows[0].keys()
    assert rows[0]["train/learning_rate"] == pytest.approx(0.05 / 2 * (1 + np.cos(np.pi / 4)))
    assert rows[1]["speed/eta_secs"] == 0


def test_evaluation_uses_the_average_and_its_best_checkpoint_is_kept(tmp_path):
    seen = []

    def evaluate(variables):
        seen.append(jax.device_get(variables))
        return {"eval/ap": [0.1, 0.8, 0.3][len(seen) - 1], "eval/ap50": 0.9}

    state = run(tmp_path, evaluate=evaluate, evaluate_every=2, checkpoint_every=0, keep=1)
    assert (find_step(tmp_path, "best"), find_step(tmp_path, "last")) == (4, 6)
    assert [row["eval/ap"] for row in read_metrics(tmp_path / METRICS_FILE) if "eval/ap" in row] == [
        0.1,
        0.8,
        0.3,
    ]
    assert_same(seen[-1]["params"], jax.device_get(state.ema))


def test_evaluation_without_the_best_metric_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"best_metric is 'eval/ap'; evaluation gives \['eval/miou'\]"):
        run(tmp_path, evaluate=lambda variables: {"eval/miou": 1.0}, evaluate_every=2)


@pytest.mark.parametrize("checkpoint_every", [1, 2])
def test_a_nan_stops_with_the_images_named_and_is_never_saved(tmp_path, checkpoint_every):
    def batches(start_step):
        for step, (batch, image_ids) in enumerate(make_stream(start_step), start_step):
            bad = batch._replace(images=np.full_like(batch.images, np.nan)) if step == 3 else batch
            yield bad, [*image_ids, "one-more"]

    with pytest.raises(NonFiniteLossError) as caught:
        run(tmp_path, batches=batches, checkpoint_every=checkpoint_every)
    message = str(caught.value)
    assert "train/loss nan" in message
    assert "student: not finite at step 4: " in message
    assert "image-3-0, image-3-1" in message
    assert "image-3-7 and 1 more" in message
    last = 3 if checkpoint_every == 1 else 2
    assert f"last good checkpoint: step {last}" in message
    assert find_step(tmp_path, "last") == last
    resumed = run(tmp_path)  # with good data it goes on from there
    assert np.isfinite(resumed.variables["params"]["dense"]["kernel"]).all()


def test_training_secs_add_up_over_sessions(tmp_path, monkeypatch):
    from selftrain_jax.train import checkpoint, metric_log

    clock = itertools.count()
    monkeypatch.setattr(metric_log.time, "monotonic", lambda: float(next(clock)))
    run(tmp_path, num_steps=2)
    first = checkpoint.training_secs(tmp_path)
    run(tmp_path, num_steps=4)
    assert checkpoint.training_secs(tmp_path) == 2 * first


@pytest.mark.parametrize("stop_step", [0, 3, 4, 5])
def test_sigterm_ends_a_run_after_a_save_and_it_goes_on_bit_for_bit(tmp_path, stop_step):
    scores = itertools.count()

    def evaluate(variables):
        return {"eval/ap": 0.1 * next(scores)}

    def batches(start_step):
        for step, item in enumerate(make_stream(start_step), start_step):
            if step == stop_step:
                os.kill(os.getpid(), signal.SIGTERM)
            yield item

    settings = {"checkpoint_every": 5, "evaluate": evaluate, "evaluate_every": 4}
    whole = run(tmp_path / "whole", **settings)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        RunAgainError, match=f"student: stopped by SIGTERM at step {stop_step + 1} of 6, saved"
    ):
        run(tmp_path / "cut", batches=batches, **settings)
    assert signal.getsignal(signal.SIGTERM) is before
    assert find_step(tmp_path / "cut", "last") == stop_step + 1
    assert_same(whole, run(tmp_path / "cut", **settings))
    rows = [without_speed(read_metrics(tmp_path / name / METRICS_FILE)) for name in ("whole", "cut")]
    assert [[row["step"] for row in of_run] for of_run in rows] == [[row["step"] for row in rows[0]]] * 2
    trained = [[row for row in of_run if "train/loss" in row] for of_run in rows]
    assert trained[0] == trained[1]


def test_sigterm_in_the_last_evaluation_ends_the_run_with_all_saved(tmp_path):
    def evaluate(variables):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"eval/ap": 0.1}

    with pytest.raises(RunAgainError, match="stopped by SIGTERM after the last step, saved"):
        run(tmp_path, evaluate=evaluate, evaluate_every=6)
    assert find_step(tmp_path, "last") == 6
    assert int(run(tmp_path).step) == 6


class Counted:
    """Streams that count how many are open, and how many were ever opened."""

    def __init__(self, batches=make_stream):
        self.batches, self.num_opened, self.num_open = batches, 0, 0

    def __call__(self, start_step):
        self.num_opened, self.num_open = self.num_opened + 1, self.num_open + 1
        try:
            yield from self.batches(start_step)
        finally:
            self.num_open -= 1


def raise_at(step, error):
    def batches(start_step):
        yield from itertools.islice(make_stream(start_step), step - start_step)
        raise error

    return batches


def evaluate_with(error):
    def evaluate(variables):
        raise error

    return evaluate


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, None),
        ({"batches": raise_at(3, InputError("a bad image"))}, InputError),
        ({"batches": raise_at(3, RunAgainError("no batch for 600 s"))}, RunAgainError),
        ({"evaluate": evaluate_with(KeyboardInterrupt()), "evaluate_every": 2}, KeyboardInterrupt),
        ({"evaluate": evaluate_with(RuntimeError("a bug")), "evaluate_every": 2}, RuntimeError),
        ({"evaluate": lambda variables: {}, "evaluate_every": 2}, InputError),
    ],
)
def test_every_way_out_of_the_loop_closes_the_stream(tmp_path, settings, error):
    counted = Counted(settings.get("batches", make_stream))
    if error is None:
        run(tmp_path, batches=counted)
    else:
        with pytest.raises(error) as raised:
            run(tmp_path, **{**settings, "batches": counted})
        assert raised.tb is not None
    assert (counted.num_opened, counted.num_open) == (1, 0)


def test_sigterm_and_a_rollback_close_the_stream(tmp_path):
    def ends_itself(start_step):
        os.kill(os.getpid(), signal.SIGTERM)
        yield from make_stream(start_step)

    stopped = Counted(ends_itself)
    with pytest.raises(RunAgainError, match="stopped by SIGTERM at step 1 of 6"):
        run(tmp_path / "stopped", batches=stopped)
    assert (stopped.num_opened, stopped.num_open) == (1, 0)
    rolled_back, open_at_begin = Counted(with_nan_until(2)), []

    def batches(start_step):
        open_at_begin.append(rolled_back.num_open)
        return rolled_back(start_step)

    run(tmp_path / "rolled_back", batches=batches, max_rollbacks=2)
    assert open_at_begin == [0, 0, 0]
    assert (rolled_back.num_opened, rolled_back.num_open) == (3, 0)


def with_nan_until(times):
    """Make batches of which the fourth is bad at the first so many visits."""
    visits = itertools.count()

    def batches(start_step):
        for step, (batch, image_ids) in enumerate(make_stream(start_step), start_step):
            is_bad = step == 3 and next(visits) < times
            yield batch._replace(images=np.full_like(batch.images, np.nan)) if is_bad else batch, image_ids

    return batches


def test_after_a_nan_training_goes_back_and_on_at_half_the_rate(tmp_path, capsys):
    run(tmp_path / "good")
    run(tmp_path / "bad", batches=with_nan_until(2), max_rollbacks=2)
    assert "returns to the last checkpoint, with the learning rate times 0.25" in capsys.readouterr().out
    assert [tuple(entry) for entry in read_rollbacks(tmp_path / "bad")] == [(4, 0.5), (4, 0.25)]
    good, bad = (
        {row["step"]: row["train/learning_rate"] for row in read_metrics(tmp_path / name / METRICS_FILE)}
        for name in ("good", "bad")
    )
    factors = [bad[step] / good[step] for step in (1, 2, 3, 4, 5)]
    assert factors == pytest.approx([1, 1, 0.25, 0.25, 0.25])  # it went back to the checkpoint of step 2


def test_the_lower_rate_outlives_a_restart_and_too_many_rollbacks_end_the_run(tmp_path):
    with pytest.raises(NonFiniteLossError, match="image-3-0"):
        run(tmp_path, batches=with_nan_until(9), max_rollbacks=1)
    resumed = run(tmp_path, max_rollbacks=1)
    rows = {row["step"]: row["train/learning_rate"] for row in read_metrics(tmp_path / METRICS_FILE)}
    assert rows[3] == pytest.approx(0.5 * warmup_cosine(0.05, 0.01, 2, 6)(2))
    assert int(resumed.step) == 6
    (tmp_path / FILE_NAME).write_text('[["x"]]')
    with pytest.raises(InputError, match=r"rollback.json is damaged .*expected \[\[step, factor\], ...\]"):
        run(tmp_path)
