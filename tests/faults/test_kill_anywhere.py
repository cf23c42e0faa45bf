"""kill -9 at 30 random moments: the same command gives the same numbers, no shard lost or doubled."""

import pathlib
import shutil
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from tests.tiny_run import end_when, results, run

NUM_RUNS = 6  # each is killed in every stage, and while it saves
# What there is when a stage begins, and when it has ended; training includes evaluation.
STAGES = {
    "teacher": ("config.json", "teacher/evaluation.json"),
    "labelling": ("teacher/evaluation.json", "pseudo_labels/manifest.json"),
    "control": ("pseudo_labels/manifest.json", "control/evaluation.json"),
    "student": ("control/evaluation.json", "student/evaluation.json"),
}


def seconds_of(workdir: pathlib.Path, stage: str) -> float:
    """Tell how long a stage of a finished run took."""
    begin, end = ((workdir / name).stat().st_mtime for name in STAGES[stage])
    return end - begin


def at_random(workdir: pathlib.Path, stage: str, delay_secs: float) -> Callable[[], bool]:
    """Wait until a stage has begun, then for so long."""
    began: list[float] = []

    def is_time() -> bool:
        if not began and (workdir / STAGES[stage][0]).exists():
            began.append(time.monotonic())
        return bool(began) and time.monotonic() > began[0] + delay_secs

    return is_time


def while_saving(workdir: pathlib.Path) -> Callable[[], bool]:
    """Wait until a checkpoint is half-written."""
    return lambda: any(workdir.glob("student/checkpoints/*orbax-checkpoint-tmp*"))


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_nothing(tmp_path: pathlib.Path) -> None:
    status, output = run(tmp_path / "compiling")
    assert status == 0, output
    assert run(tmp_path / "whole")[0] == 0
    expected, rng = results(tmp_path / "whole"), np.random.default_rng(0)
    secs = {stage: seconds_of(tmp_path / "whole", stage) for stage in STAGES}
    kills: Counter[str] = Counter()
    for number in range(NUM_RUNS):
        workdir = tmp_path / f"killed{number}"
        for stage in STAGES:  # each goes on where the one before was killed
            end_when(workdir, at_random(workdir, stage, rng.uniform(0, secs[stage])))
            kills[stage] += not (workdir / STAGES[stage][1]).exists()
        end_when(workdir, while_saving(workdir))
        kills["saving"] += not (workdir / STAGES["student"][1]).exists()
        status, output = run(workdir)
        assert status == 0, output
        assert results(workdir) == expected
        shutil.rmtree(workdir)
    print(f"{sum(kills.values())} kills: {dict(kills)}")
    assert sum(kills.values()) >= 0.8 * NUM_RUNS * (len(STAGES) + 1)  # the others came as a stage had ended
    assert min(kills[stage] for stage in (*STAGES, "saving")) >= NUM_RUNS // 3, kills
