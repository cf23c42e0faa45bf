"""The command behind a stage: `python -m selftrain_jax.main` with the arguments of `command_of`.

Every stage has a folder of its own, named by `stage_id`, and takes the stages before it by --from_run:

    start    --job=import_weights
    teacher  a supervised row's run, or --job=train --stage=teacher where the paper has no such row
    labels   --job=pseudo_label --from_run=TEACHER
    student  a self-training row's run, --from_run=LABELS
    search   --job=search --from_run=LABELS, which trains its students itself
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.paper.plan.graph import (
    Graph,
    Labels,
    RowRun,
    Search,
    Stage,
    Start,
    Student,
    Teacher,
    find_result,
    inputs_of,
    seed_of,
    stage_id,
    with_inputs,
)
from selftrain_jax.paper.row import Row
from selftrain_jax.paper.rows import ROWS
from selftrain_jax.pretrain.catalogue import find_start

# What the mapping sets itself, so that it cannot be among the flags for every run.
OWN_FLAGS = ("config", "workdir", "job", "stage", "from_run", "variant", "redo", "round", "seeds", "grid")

ConfigOf = Callable[[Row, int], str]
"""The value of --config for a row and a seed."""


class Command(NamedTuple):
    """The arguments of selftrain_jax.main; the folder is apart, as a launcher may want it elsewhere."""

    config: str
    workdir: str
    options: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return all arguments in order."""
        return (f"--config={self.config}", f"--workdir={self.workdir}", *self.options)


def paper_config(row: Row, seed: int) -> str:
    """Return the config of a row as the paper has it."""
    return f"configs/paper.py:table={row.table},row={row.row},seed={seed}"


def command_of(
    stage: Stage,
    graph: Graph,
    root: str,
    flags: Sequence[str] = (),
    config_of: ConfigOf = paper_config,
) -> Command:
    """Return the command that makes a stage in `root`/`stage_id`, with `flags` at its end.

    `root` is the folder of all runs as the command is to see it. Another scale has another `config_of` for
    the same graph.
    """
    row, seed = find_carrier(stage, graph)
    options = tuple(option for option in _options(stage, root) if option)
    return Command(config_of(row, seed), f"{root}/{stage_id(stage)}", (*options, *flags))


def _options(stage: Stage, root: str) -> tuple[str, ...]:
    match stage:
        case Start(backbone=backbone, init=init):
            weights = find_start(backbone, init)
            name = "" if weights is None else f"--config.import_weights.name={weights.name}"
            return ("--job=import_weights", name)
        case Teacher(start=start):
            job = () if find_own_row(stage) else ("--job=train", "--stage=teacher")
            begin = "" if start is None else f"--config.teacher.init={root}/{stage_id(start)}"
            return (*job, begin)
        case Labels(teacher=teacher):
            return ("--job=pseudo_label", f"--from_run={root}/{stage_id(teacher)}")
        case Student(labels=labels):
            return (f"--from_run={root}/{stage_id(labels)}",)
        case Search(students=students):
            return ("--job=search", f"--from_run={root}/{stage_id(students[0].labels)}")


def find_carrier(stage: Stage, graph: Graph) -> tuple[Row, int]:
    """Return the row and the seed whose config makes a stage.

    It is the row that is measured on the stage, one of the graph's if there is such; else one that needs it.
    """
    measured = next((run for run in graph.runs if run.result == stage), None)
    if measured is not None:
        return measured.row, measured.seed
    own = find_own_row(stage) if isinstance(stage, Teacher) else None
    if own is not None:
        return own, seed_of(stage) or 0
    needing = next(run for run in graph.runs if stage in with_inputs(run.result))
    return needing.row, needing.seed


def find_own_row(teacher: Teacher) -> Row | None:
    """Return the first supervised row of the paper that is measured on a teacher, whatever was selected."""
    return _supervised_rows(teacher.seed).get(teacher)


@functools.lru_cache
def _supervised_rows(seed: int) -> Mapping[Stage, Row]:
    """Return the first row of each supervised result."""
    rows: dict[Stage, Row] = {}
    for row in ROWS:
        if not row.unlabeled:
            rows.setdefault(find_result(row, seed), row)
    return rows


def needs_of(stage: Stage) -> tuple[Stage, ...]:
    """Return the stages whose folders a command takes; a search needs no students, it trains them itself."""
    match stage:
        case Student(labels=labels) | Search(students=(Student(labels=labels), *_)):
            return (labels,)
        case _:
            return inputs_of(stage)


def list_stages(runs: Iterable[RowRun]) -> tuple[Stage, ...]:
    """Return the stages that have a command, each once and after its needs, row by row."""
    return tuple(dict.fromkeys(stage for run in runs for stage in _with_needs(run.result)))


def _with_needs(stage: Stage) -> Iterator[Stage]:
    for needed in needs_of(stage):
        yield from _with_needs(needed)
    yield stage


def check_flags(flags: Sequence[str]) -> None:
    """See that the flags for every run leave alone what a stage's command sets. Raises: InputError."""
    for flag in flags:
        name = flag.lstrip("-").partition("=")[0]
        if not flag.startswith("-"):
            raise InputError(
                f"{flag!r:.60} after --: expected flags of selftrain_jax.main, as --config.a.b=1"
            )
        if name in OWN_FLAGS:
            raise InputError(f"--{name} after -- is set by every stage's own command; leave it out")
