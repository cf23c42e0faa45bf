"""kill -9 at 30 random moments: the same command gives the same numbers, no shard lost or doubled."""

import pathlib
import shutil
import time
from collections import Counter

import numpy as np
import pytest
from tiny_run import end_when, results, run

NUM_KILLS = 30
# What a stage has when it is finished, in the order of the run.
FINISHED = {
    "teacher": "teacher/evaluation.json",
    "labelling": "pseudo_labels/manifest.json",
    "control": "control/evaluation.json",
    "student": "student/evaluation.json",
}


def stage_of(workdir: pathlib.Path) -> str:
    """Tell what a run was at when it was killed."""
    return next((stage for stage, path in FINISHED.items() if not (workdir / path).exists()), "report")


@pytest.mark.slow
def test_thirty_kills_at_random_moments_change_nothing(tmp_path: pathlib.Path) -> None:
    status, output = run(tmp_path / "whole")
    assert status == 0, output
    expected, rng = results(tmp_path / "whole"), np.random.default_rng(0)
    began = time.monotonic()
    assert run(tmp_path / "again")[0] == 0  # with everything compiled
    whole_secs = time.monotonic() - began
    kills: Counter[str] = Counter()
    for number in range(4 * NUM_KILLS):
        workdir = tmp_path / f"killed{number}"
        for _ in range(3):  # each goes on where the one before was killed
            moment = time.monotonic() + rng.uniform(0, 0.7 * whole_secs)
            if end_when(workdir, lambda moment=moment: time.monotonic() > moment) != 0:
                kills[stage_of(workdir)] += 1
                kills["while a checkpoint was written"] += bool(list(workdir.rglob("*orbax-checkpoint-tmp*")))
        status, output = run(workdir)
        assert status == 0, output
        assert results(workdir) == expected
        shutil.rmtree(workdir)
        if sum(kills[stage] for stage in [*FINISHED, "report"]) >= NUM_KILLS:
            break
    print(dict(kills))
    assert sum(kills[stage] for stage in [*FINISHED, "report"]) >= NUM_KILLS
    assert all(kills[stage] for stage in FINISHED), kills
