"""`--job=plan`: what a command would do, what it takes, and what is stale; nothing is written.

Stages come from `plan_states.py`, their words from `plan_text.py`.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.experiment import describe_rate
from selftrain_jax.jobs.options import Options
from selftrain_jax.jobs.plan_costs import (
    describe_disk,
    describe_measured,
    describe_network,
    describe_time,
    state_shapes,
)
from selftrain_jax.jobs.plan_states import Changes, PlannedStage, plan_stages
from selftrain_jax.jobs.plan_text import describe_command, describe_sources, describe_stages
from selftrain_jax.jobs.run import Run, open_run
from selftrain_jax.jobs.stage_state import LABELS
from selftrain_jax.jobs.starts import describe_downloads, find_downloads, plan_starts
from selftrain_jax.jobs.steering import check_rounds, find_adoption, stages_to_redo, variant_folder
from selftrain_jax.stages.adoption import check_adoption

if TYPE_CHECKING:
    from selftrain_jax.jobs.measure import Measured


def run_plan(config: ConfigDict, workdir: pathlib.Path, options: Options, argv: Sequence[str]) -> None:
    """Print the plan of the default job for a config, a folder and the flags that steer it.

    `argv` is the command as it was typed: the one that would start or resume the run is made of it.

    Raises:
        InputError: the config does not fit, a data set is missing, or a flag names what is not there.
    """
    check_rounds(config)
    config = plan_starts(config, workdir, options)
    folder = hosts.run_on_host0(lambda: str(variant_folder(workdir, options.variant)))
    run = open_run(config, pathlib.Path(folder), base=workdir, is_plan=True)
    measured = _measure(run) if options.measure else None
    hosts.run_on_host0(lambda: _print_plan(run, options, argv, measured))


def _measure(run: Run) -> "Measured":
    from selftrain_jax.jobs.measure import measure_run

    hosts.log("measuring: compiles a step and times it; nothing is written")
    return measure_run(run)


def _print_plan(run: Run, options: Options, argv: Sequence[str], measured: "Measured | None") -> None:
    planned = plan_run(run, options)
    print("\n".join(describe_stages(run, planned)), flush=True)
    state = state_shapes(run)
    trained = [stage.stage for stage in planned if stage.stage.kind != LABELS]
    lines = [
        "",
        *(f"student and control: {line}" for line in describe_rate(run.config)),
        *describe_sources(run),
        *describe_downloads(find_downloads(run.config, run.base, options)),
        *describe_network(run, state, trained),
        *describe_measured(measured),
        *describe_disk(run, planned, state),
        *describe_time(run, planned, measured),
        "",
        *describe_command(planned, argv),
    ]
    print("\n".join(lines), flush=True)


def plan_run(run: Run, options: Options) -> list[PlannedStage]:
    """Plan the stages of a run that is open, as the flags steer it.

    Raises:
        InputError: a flag names what is not there or cannot be taken.
    """
    adopted: dict[str, pathlib.Path] = {}
    if options.from_run:
        source = pathlib.Path(options.from_run)
        digests = find_adoption(run, options.from_run)
        check_adoption(run.workdir, source, digests)
        adopted = {kind: source for kind in digests}
    moved = stages_to_redo(run, options) if options.redo else []
    return plan_stages(run, Changes(adopted, moved, options.redo == "evaluation"))
