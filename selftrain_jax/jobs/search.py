"""`--job=search`: a student for every point of a grid of config values, chosen on val, then tested once.

Every point and seed is a variant of the run, so what they share is made once, and the same command resumes.
Paper: the loss's alpha was searched for every experiment (Table 9 for one).
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.grid import parse_grid
from selftrain_jax.jobs.labels import label_stage
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.run import Run, open_run
from selftrain_jax.jobs.selftrain import kept_student, run_stages, sum_up, val_score
from selftrain_jax.jobs.stage_state import check_stages
from selftrain_jax.jobs.steering import open_prepared
from selftrain_jax.jobs.training import train_stage
from selftrain_jax.run_files.arms import find_stronger_control
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, Evaluation
from selftrain_jax.run_files.rounds import read_rounds, stage_folders
from selftrain_jax.run_files.search import SEARCH_FILE, Search, SearchPoint, SearchTest
from selftrain_jax.run_files.variants import VARIANTS_FOLDER
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.tasks.lookup import get_task

MAX_NAME = 200  # letters; file systems take 255


def run_search(config: ConfigDict, workdir: pathlib.Path, options: Options) -> None:
    """Train all points, write search.json after each, test the chosen one and its control, sum up.

    Raises:
        InputError: the grid does not fit the config, or a folder holds something else.
    """
    if options.variant:
        raise InputError("--job=search makes variants of a run itself; leave --variant out")
    if config.unlabeled.kind == "none":
        raise InputError("--job=search compares students, but config.unlabeled.kind=none has none")
    seeds = options.seeds or (config.seed,)
    task = get_task(config.task)
    grid = parse_grid(options.grid or _paper_grid(config), config, task.idle_keys, seeds=options.seeds)
    search = Search.start(task.metrics[0].key, grid, options.seeds)
    check_point_names(search.combinations())
    base = open_prepared(config, workdir, options)  # from here on folders may change
    if config.seed in seeds:  # the base's teacher and labels serve the points that share them
        train_stage(base, TEACHER, is_measured=False)
        label_stage(base, Stage("labels"))
    for seed in seeds:
        for values in search.combinations():
            search = search.with_point(_train_point(config, workdir, options, values, seed))
            _write(workdir, search)
            jax.clear_caches()
    _test_chosen(config, workdir, options, search, seeds)
    sum_up(base)


def _paper_grid(config: ConfigDict) -> tuple[str, ...]:
    """Return the grid of configs/paper.py, for a search that is given none."""
    grid = config.paper.grid if "paper" in config else ""
    return (grid,) if grid else ()


def _train_point(
    config: ConfigDict, workdir: pathlib.Path, options: Options, values: Mapping[str, Any], seed: int
) -> SearchPoint:
    """Train a point's student and measure it on val, without what is compared and without the test split."""
    name = point_name(values, seed if options.seeds else None)
    run = _open_point(config, workdir, name, values, seed)
    hosts.log(f"search: {name}")
    run_stages(run, is_measured=False)
    val = val_score(run, kept_student(run))
    hosts.log(f"search: {name}: {100 * val:.1f} on val")
    return SearchPoint(values=dict(values), seed=seed, variant=name, val=val)


def _open_point(
    config: ConfigDict, workdir: pathlib.Path, name: str, values: Mapping[str, Any], seed: int
) -> Run:
    point = config.copy_and_resolve_references()
    point.update_from_flattened_dict({**values, "seed": seed})
    run = open_run(point, workdir / VARIANTS_FOLDER / name, base=workdir)
    hosts.run_on_host0(lambda: check_stages(run))
    return run


def _test_chosen(
    config: ConfigDict, workdir: pathlib.Path, options: Options, search: Search, seeds: tuple[int, ...]
) -> None:
    """Give the chosen point a control and measure both on the test split, seed by seed."""
    chosen = search.best()
    if chosen is None:
        raise InputError(
            f"{workdir / SEARCH_FILE}: val is undefined at every point (has val labels of the classes "
            "that are measured?); nothing was chosen"
        )
    hosts.log(f"search: chosen on val: {', '.join(f'{key}={value}' for key, value in chosen.items())}")
    tests = []
    for seed in seeds:
        name = point_name(chosen, seed if options.seeds else None)
        run = _open_point(config, workdir, name, chosen, seed)
        run_stages(run)
        sum_up(run)
        tests.append(SearchTest(seed=seed, variant=name, **_test_scores(run, search.metric)))
    _write(workdir, dataclasses.replace(search, chosen=chosen, test=tuple(tests)))


def _test_scores(run: Run, metric: str) -> dict[str, float | None]:
    """Return what teacher, the stronger control and student reached on the test split; None: not trained."""

    def read(folder: pathlib.Path) -> float | None:
        path = folder / EVALUATION_FILE
        if not path.exists():
            return None
        value = read_json(path, "delete it and run the same command again")
        return float(Evaluation.from_json(value, path, run.task.evaluation_details).scores[metric])

    def read_all() -> dict[str, float | None]:
        folders = stage_folders(run.workdir, read_rounds(run.workdir))
        scores = {stage: read(folder) for stage, folder in folders.items()}
        control = scores[find_stronger_control(scores) or "control"]
        return {"teacher": scores["teacher"], "control": control, "student": scores["student"]}

    return hosts.run_on_host0(read_all)


def _write(workdir: pathlib.Path, search: Search) -> None:
    hosts.run_on_host0(lambda: write_json(workdir / SEARCH_FILE, search.to_json()))


def check_point_names(points: list[dict[str, Any]]) -> None:
    """See that every point can have a folder of its own.

    Raises:
        InputError: a name is too long for one, or two points would have the same.
    """
    names = [point_name(values, None) for values in points]
    for name in names:
        if len(name) > MAX_NAME or names.count(name) > 1:
            raise InputError(
                f"--grid: a point would be called {name[:MAX_NAME]}, which is "
                f"{'too long for a folder' if len(name) > MAX_NAME else 'what another one is called too'} "
                "(what no file name can hold becomes _); use shorter values that differ in letters or digits"
            )


def point_name(values: Mapping[str, Any], seed: int | None) -> str:
    """Name a point's variant: alpha=0.5,threshold=0.9,seed=1; whole keys where their last parts are equal."""
    lasts = [key.rpartition(".")[2] for key in values]
    shown = lasts if len(set(lasts)) == len(lasts) else list(values)
    pairs = [f"{key}={value}" for key, value in zip(shown, values.values(), strict=True)]
    name = ",".join([*pairs, *([] if seed is None else [f"seed={seed}"])])
    return re.sub(r"[^A-Za-z0-9._=,+-]", "_", name)
