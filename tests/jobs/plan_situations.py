"""States of the tiny run's folder, and what `--job=plan` says of each: `SITUATIONS`."""

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.plan_states import UNMEASURED

ALL = ("teacher", "pseudo_labels", "control", "student")


class Situation(NamedTuple):
    """How a finished folder is changed, what the command asks, and the states that are expected."""

    change: Callable[[pathlib.Path], None]
    settings: dict[str, Any]
    options: Options
    states: list[tuple[str, str]]  # of each stage with its note
    first: tuple[str, int] | None  # the first stage that computes, and from which step or image


def keep(*stages: str) -> Callable[[pathlib.Path], None]:
    def change(workdir: pathlib.Path) -> None:
        for stage in set(ALL) - set(stages):
            shutil.rmtree(workdir / stage)

    return change


def cut(stage: str, *others: str) -> Callable[[pathlib.Path], None]:
    """Make a stage what a kill in its middle leaves: no results, no last checkpoint or shard."""

    def change(workdir: pathlib.Path) -> None:
        keep(stage, *others)(workdir)
        folder = workdir / stage
        record = json.loads((folder / "stage.json").read_text())
        (folder / "stage.json").write_text(json.dumps({**record, "results": {}}))
        for name in ("evaluation.json", "evaluation_stage.json", "manifest.json", "detections.json"):
            (folder / name).unlink(missing_ok=True)
        (folder / "pseudo-00001-of-00003.tfrecord").unlink(missing_ok=True)
        shutil.rmtree(folder / "checkpoints" / "6", ignore_errors=True)

    return change


def age(*stages: str) -> Callable[[pathlib.Path], None]:
    """Make stages what an older version left: without records."""

    def change(workdir: pathlib.Path) -> None:
        for stage in stages:
            for path in (workdir / stage).glob("*stage.json"):
                path.unlink()

    return change


def nothing(_: pathlib.Path) -> None:
    """Leave the folder as it is."""


DONE, TO_DO, REFUSED, STALE = ("done", ""), ("to do", ""), ("refused", ""), ("stale", "comes from teacher")
OLD = ("done", "of an older version: the next command converts it")
SHARED = ("shared", "with the base")
SITUATIONS = {
    "fresh": Situation(shutil.rmtree, {}, Options(), [TO_DO] * 4, ("teacher", 0)),
    "after the teacher": Situation(
        keep("teacher"), {}, Options(), [DONE, TO_DO, TO_DO, TO_DO], ("pseudo_labels", 0)
    ),
    "teacher killed": Situation(
        cut("teacher"), {}, Options(), [("resume", "at step 4 of 6"), TO_DO, TO_DO, TO_DO], ("teacher", 4)
    ),
    "labels killed": Situation(
        cut("pseudo_labels", "teacher"),
        {},
        Options(),
        [DONE, ("resume", "at shard 2 of 3"), TO_DO, TO_DO],
        ("pseudo_labels", 8),
    ),
    "student killed": Situation(
        cut("student", "teacher", "pseudo_labels", "control"),
        {},
        Options(),
        [DONE, DONE, DONE, ("resume", "at step 4 of 6")],
        ("student", 4),
    ),
    "finished": Situation(nothing, {}, Options(), [DONE] * 4, None),
    "threshold": Situation(nothing, {"pseudo.threshold": 0.5}, Options(), [DONE] * 3 + [REFUSED], None),
    "alpha": Situation(nothing, {"selftrain.alpha": 2.0}, Options(), [DONE] * 3 + [REFUSED], None),
    "teacher's steps": Situation(nothing, {"teacher.steps": 7}, Options(), [REFUSED] + [STALE] * 3, None),
    "model": Situation(nothing, {"model.head_channels": 8}, Options(), [REFUSED] * 4, None),
    "variant": Situation(
        nothing, {"selftrain.alpha": 2.0}, Options(variant="a"), [SHARED] * 3 + [TO_DO], ("student", 0)
    ),
    "variant of another teacher": Situation(
        nothing, {"teacher.steps": 7}, Options(variant="a"), [TO_DO] * 4, ("teacher", 0)
    ),
    "variant of an unfinished base": Situation(
        cut("student", "teacher", "pseudo_labels", "control"),
        {"pseudo.max_empty_frac": 0.9},
        Options(variant="a"),
        [SHARED] * 3 + [REFUSED],
        None,
    ),
    "variant of another teacher beside an unfinished student": Situation(
        cut("student", "teacher", "pseudo_labels", "control"),
        {"teacher.steps": 7},
        Options(variant="a"),
        [TO_DO] * 4,
        ("teacher", 0),
    ),
    "redo": Situation(
        nothing,
        {"selftrain.alpha": 2.0},
        Options(redo="student"),
        [DONE] * 3 + [("to do", "--redo moves what is there aside")],
        ("student", 0),
    ),
    "older version": Situation(age(*ALL), {}, Options(), [OLD] * 4, None),
    "older version, other settings": Situation(
        age(*ALL), {"selftrain.alpha": 2.0}, Options(), [OLD] * 3 + [REFUSED], None
    ),
    "not measured": Situation(
        lambda workdir: (workdir / "student" / "evaluation.json").unlink(),
        {},
        Options(),
        [DONE] * 3 + [("done", UNMEASURED)],
        ("student, evaluation", 0),
    ),
    "measured otherwise": Situation(
        nothing, {"eval.backend": "pycocotools"}, Options(), [REFUSED, DONE, REFUSED, REFUSED], None
    ),
    "measured again": Situation(
        nothing,
        {"eval.backend": "pycocotools"},
        Options(redo="evaluation"),
        [("done", UNMEASURED), DONE, ("done", UNMEASURED), ("done", UNMEASURED)],
        ("teacher, evaluation", 0),
    ),
    "rounds": Situation(
        nothing,
        {"selftrain.rounds": 3},
        Options(),
        [DONE] * 3 + [TO_DO] * 5,
        ("round_2/pseudo_labels", 0),
    ),
}
