"""Teacher, labels, controls, student (Paper: Section 3.1), in one round or more; start at `run_all`.

Every stage has a folder with a record of what decided it, and skips what is finished in it: a killed run
continues by the same command.
"""

import functools
from pathlib import Path

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import check_augment
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.convert import complete_config
from selftrain_jax.jobs.labels import label_stage
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import result_of
from selftrain_jax.jobs.summary import write_summary
from selftrain_jax.jobs.training import train_stage
from selftrain_jax.run_files.rounds import ROUNDS_FILE, Rounds, read_rounds
from selftrain_jax.run_files.variants import CONFIG_FILE
from selftrain_jax.stages.choices import compared_kinds
from selftrain_jax.stages.graph import TEACHER, Stage


def run_all(run: Run) -> None:
    """Train the teacher, label, train controls, oracle and student, sum up, write the report.

    A supervised run (config.unlabeled.kind=none) has no labels and no student.
    """
    run_stages(run)
    sum_up(run)
    if run.workdir != run.base:
        hosts.run_on_host0(lambda: _sum_up_base(run.base, run.config))


def sum_up(run: Run) -> None:
    """Write summary and report of a run's folder, and print the summary."""
    hosts.run_on_host0(lambda: _write_results(run.config, run.workdir))


def _write_results(config: ConfigDict, workdir: Path) -> None:
    from selftrain_jax.jobs.report import run_report

    print(write_summary(workdir, config))
    run_report(config, workdir)


def _sum_up_base(base: Path, config: ConfigDict) -> None:
    """Let the base's summary and report compare a variant that has ended; its data may be gone by now.

    Keys that the base is too old to have are completed by those of the variant's `config`.
    """
    path = base / CONFIG_FILE
    try:
        stored = read_json(path, "run the base's command again")
        _write_results(complete_config(stored, config), base)
    except InputError as error:
        print(f"{base}: summary and report are as they were ({error}); --job=report writes the report again")


def run_stages(run: Run, *, is_measured: bool = True) -> None:
    """Bring all stages to their end; unless `is_measured` without the test split, controls and oracle.

    With rounds those come last, since a run may stop before the last round.
    """
    config = run.config
    check_augment(config)
    compared = compared_kinds(config) if is_measured else ()
    train_stage(run, TEACHER, is_measured=is_measured)
    if run.sources.unlabeled is None:
        num_rounds = 1
    elif config.selftrain.rounds > 1:
        num_rounds = len(_run_rounds(run, is_measured).rounds)
    else:
        # What a command with more rounds left would stand for this one's result.
        hosts.run_on_host0(lambda: (run.workdir / ROUNDS_FILE).unlink(missing_ok=True))
        label_stage(run, Stage("labels"))
        num_rounds = 1
    for kind in compared:
        train_stage(run, Stage(kind, num_rounds))
    if run.sources.unlabeled is not None and num_rounds == 1:
        train_stage(run, Stage("student"), is_measured=is_measured)


def _run_rounds(run: Run, is_measured: bool) -> Rounds:
    """Let every round's student teach the next one, until one is worse on val than the one before.

    The result is the last round that was not worse; with config.selftrain.stop_when_worse off, the last.
    """
    settings, vals, kept = run.config.selftrain, list[float](), 1
    for round in range(1, settings.rounds + 1):
        label_stage(run, Stage("labels", round))
        train_stage(run, Stage("student", round), is_measured=is_measured)
        vals.append(val_score(run, Stage("student", round)))
        is_worse = round > 1 and settings.stop_when_worse and vals[-1] < vals[-2]
        kept = round - 1 if is_worse else round
        rounds = Rounds.from_vals(vals, kept=kept, stopped_early=is_worse and round < settings.rounds)
        hosts.run_on_host0(functools.partial(write_json, run.workdir / ROUNDS_FILE, rounds.to_json()))
        if is_worse:
            hosts.log(_explain_stop(round, settings.rounds, vals))
            break
    return rounds


def _explain_stop(round: int, asked: int, vals: list[float]) -> str:
    left = f"rounds {round + 1} to {asked} are left out" if round < asked else "it was the last round"
    return (
        f"round {round}: {100 * vals[-1]:.1f} on val, worse than {100 * vals[-2]:.1f} of round {round - 1}, "
        f"whose student is the result; {left} (config.selftrain.stop_when_worse)"
    )


def kept_student(run: Run) -> Stage:
    """Return the student that is the run's result: the kept round's."""
    number = hosts.run_on_host0(lambda: getattr(read_rounds(run.workdir), "kept", 1))
    return Stage("student", number if run.config.selftrain.rounds > 1 else 1)


def val_score(run: Run, stage: Stage) -> float:
    """Return a trained stage's headline metric on val, of the checkpoint that is used; -1 if undefined."""
    result = hosts.run_on_host0(lambda: getattr(result_of(run, stage), "val", None))
    return -1.0 if result is None else float(result)
