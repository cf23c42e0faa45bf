"""What a command does to a run's folder before its stages: convert an old one, take over, move aside.

Call `prepare` when data and network are open; everything is checked before anything is moved.
"""

import os
import pathlib
import re

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.convert import convert_old_folder
from selftrain_jax.jobs.corrections import check_corrections
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.run import Run, open_run
from selftrain_jax.jobs.stage_state import check_stages, disagreements, stages_of, wanted_record
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.variants import VARIANTS_FOLDER
from selftrain_jax.stages import adoption
from selftrain_jax.stages.folders import (
    is_shared,
    move_aside,
    move_measurements_aside,
    shared_with,
)
from selftrain_jax.stages.graph import TEACHER, Stage, stages_after
from selftrain_jax.stages.records import read_record
from selftrain_jax.tasks.lookup import get_self_training

VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,99}")


def variant_folder(workdir: pathlib.Path, name: str) -> pathlib.Path:
    """Return the folder of a run's variant; without a name the run's own.

    Raises:
        InputError: the name is no file name, or there is no run to vary.
    """
    if not name:
        return workdir
    if not VARIANT_NAME.fullmatch(name):
        raise InputError(
            f"--variant={name[:100]!r} names a folder: up to 100 letters, digits and . _ = , + -, the first "
            "a letter or a digit"
        )
    if read_record(workdir / TEACHER.folder) is None:
        raise InputError(
            f"--variant={name}: there is no run in {workdir} to vary, it has no teacher/stage.json; run the "
            "same command once without --variant, or correct --workdir"
        )
    return workdir / VARIANTS_FOLDER / name


def open_prepared(config: ConfigDict, workdir: pathlib.Path, options: Options) -> Run:
    """Open a run, or its variant, and prepare its folder by the command's options.

    Raises:
        InputError: as `open_run` and `prepare`.
    """
    check_rounds(config)
    check_corrections(config, get_self_training(config.task))
    folder = hosts.run_on_host0(lambda: str(variant_folder(workdir, options.variant)))
    run = open_run(config, pathlib.Path(folder), base=workdir)
    hosts.run_on_host0(lambda: prepare(run, options))
    return run


def check_rounds(config: ConfigDict) -> None:
    """Refuse rounds that cannot be run. Raises: InputError."""
    rounds = config.selftrain.rounds
    if rounds < 1:
        raise InputError(f"config.selftrain.rounds={rounds}; expected 1 or more")
    if rounds > 1 and config.unlabeled.kind == "none":
        raise InputError(
            f"config.selftrain.rounds={rounds}, but config.unlabeled.kind=none is a supervised run: there is "
            "nothing to label in a second round; name the unlabelled images or set rounds to 1"
        )


def prepare(run: Run, options: Options) -> None:
    """Check the folder against the command, then take over and move aside what the flags name.

    Raises:
        InputError: the folder holds something else than this command would make, or a flag does not fit.
    """
    convert_old_folder(run)
    digests = find_adoption(run, options.from_run) if options.from_run else {}
    moved = stages_to_redo(run, options) if options.redo else []
    check_stages(run, moved, has_evaluations=options.redo != "evaluation")
    if digests:
        adoption.adopt(run.workdir, pathlib.Path(options.from_run), digests)
    if options.redo:
        aside = _move_evaluations(run) if options.redo == "evaluation" else move_aside(run.workdir, moved)
        names = ", ".join(os.path.relpath(path, run.workdir) for path in aside)
        print(f"redo: moved aside to {names}" if aside else "redo: goes on where it was stopped", flush=True)


def stages_to_redo(run: Run, options: Options) -> list[Stage]:
    """List the stage and those after it that are there; of the evaluation none: their folders stay.

    None either where the same command was killed before: what it has moved aside need not be moved again.

    Raises:
        InputError: there is no such stage, or it is shared.
    """
    if options.redo == "evaluation":
        return []
    stages, stage = stages_of(run), Stage(options.redo, options.round)
    if stage not in stages:
        listed = ", ".join(other.folder for other in stages)
        raise InputError(f"--redo={options.redo}: this run has no {stage.folder}; its stages are {listed}")
    folder = run.workdir / stage.folder
    if _is_being_redone(run, [stage, *stages_after(stage, stages)]):
        return []
    if not folder.exists():
        raise InputError(f"--redo={options.redo}: there is no {folder} yet; leave --redo out")
    if is_shared(folder):
        raise InputError(
            f"--redo={options.redo}: {folder} is shared with {shared_with(folder)}; redo it there"
        )
    return [stage, *(other for other in stages_after(stage, stages) if (run.workdir / other.folder).exists())]


def _is_being_redone(run: Run, stages: list[Stage]) -> bool:
    """Tell whether the first stage is aside and what replaces it and those after it fits and is not whole."""
    folders = [run.workdir / stage.folder for stage in stages]
    if not folders[0].with_name(f"{folders[0].name}.1").exists():
        return False
    records = [read_record(folder) for folder in folders]
    found = [(stage, record) for stage, record in zip(stages, records, strict=True) if record is not None]
    if any(disagreements(run, stage, record) for stage, record in found):
        return False
    is_measured = [
        stage.kind == "labels" or (folder / EVALUATION_FILE).exists()
        for stage, folder in zip(stages, folders, strict=True)
    ]
    return not all(is_measured) or not all(record and record.results for record in records)


def _move_evaluations(run: Run) -> list[pathlib.Path]:
    folders = [run.workdir / stage.folder for stage in stages_of(run) if stage.kind != "labels"]
    aside = [path for folder in folders for path in move_measurements_aside(folder)]
    if not aside:
        raise InputError(f"--redo=evaluation: no stage of {run.workdir} has been evaluated; leave --redo out")
    return aside


def find_adoption(run: Run, from_run: str) -> dict[str, str]:
    """Find out what can be taken from another run; says why the labels cannot, where that is so.

    Raises:
        InputError: its teacher cannot be taken.
    """
    source = pathlib.Path(from_run)
    if not source.is_dir():
        raise InputError(f"--from_run={from_run} is not a folder; name the workdir of a finished run")
    if source.resolve() == run.workdir.resolve():
        raise InputError(f"--from_run={from_run} is this run's own folder; name another run's")
    categories = [category._asdict() for category in run.sources.human.categories]
    which = run.config.eval.checkpoint
    teacher = adoption.check_teacher(source, wanted_record(run, TEACHER), categories, which)
    if run.sources.unlabeled is None:
        return {"teacher": teacher}
    image_ids = run.sources.unlabeled.image_ids
    wanted = wanted_record(run, Stage("labels"))
    labels, why = adoption.find_labels(source, wanted, teacher, image_ids)
    print(f"from_run: takes the teacher {teacher[:12]} of {source}", end="", flush=True)
    print(" and its labels" if labels else f"; its labels not: {why}", flush=True)
    return {"teacher": teacher, **({"labels": labels} if labels else {})}
