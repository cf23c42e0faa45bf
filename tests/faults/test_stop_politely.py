"""SIGTERM and Ctrl-C in every stage: the process ends within seconds, the same command finishes the run."""

import pathlib
import signal
import time

import pytest

from selftrain_jax.errors import INTERRUPTED, RUN_AGAIN
from tests.tiny_run import end_when, results, run

LIMIT_SECS = 90.0  # 2 on an idle machine, 20 where nine processes share a core
# Steps and images enough for a signal to arrive before the stage is over.
LONGER = (
    "--config.teacher.steps=40",
    "--config.student.steps=40",
    "--config.eval.every_steps=40",
    "--config.data.builtin.unlabeled=64",
    "--config.data.builtin.test=64",
)
# What there is when the signal comes, and what is not there yet when the process has ended.
STAGES = {
    "teacher": ("teacher/checkpoints/2", "teacher/evaluation.json"),
    "labels": ("pseudo_labels/pseudo-00000-of-00016.tfrecord", "pseudo_labels/manifest.json"),
    "control": ("control/checkpoints/2", "control/checkpoints/40"),
    "student": ("student/checkpoints/2", "student/checkpoints/40"),
    "evaluation": ("student/checkpoints/40", "student/evaluation.json"),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the run measures when nobody stops it."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    status, output = run(workdir, *LONGER)
    assert status == 0, output
    return results(workdir)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, RUN_AGAIN), (signal.SIGINT, INTERRUPTED)], ids=["sigterm", "ctrl-c"]
)
def test_a_signal_in_any_stage_ends_the_process_and_the_same_command_goes_on(
    number: signal.Signals,
    code: int,
    expected: dict[str, object],
    default_sigint: None,
    tmp_path: pathlib.Path,
) -> None:
    workdir, log = tmp_path / "stopped", tmp_path / "ended.log"
    for stage, (begun, over) in STAGES.items():
        reached: list[float] = []

        def is_time(path: pathlib.Path = workdir / begun, reached: list[float] = reached) -> bool:
            if path.exists():
                reached.append(time.monotonic())
            return bool(reached)

        ended = end_when(workdir, is_time, number, *LONGER)
        seconds = time.monotonic() - reached[0]
        print(f"{number.name} in {stage}: ended with {ended} after {seconds:.1f} s")
        assert ended == code, f"{stage}: {log.read_text()}"
        assert "same command resumes" in log.read_text()
        assert not (workdir / over).exists(), f"the signal came after {stage}"
        assert seconds < LIMIT_SECS
    status, output = run(workdir, *LONGER)
    assert status == 0, output
    assert results(workdir) == expected
