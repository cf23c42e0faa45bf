"""What a command would find of each stage and do with it; call `plan_stages`. Nothing is written.

`stage_state.check_stages` refuses at the first stage that does not fit; here all are listed.
"""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from selftrain_jax.build.data import stage_settings
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.convert import find_old_stages, old_record, with_old_config
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.stage_state import (
    LABELS,
    check_foreign,
    disagreements,
    evaluation_disagreements,
    is_unfinished_in_base,
    locate,
    result_of,
    stages_of,
)
from selftrain_jax.jobs.training import stage_schedule
from selftrain_jax.run_files.arms import COMPARED
from selftrain_jax.run_files.evaluation import EVALUATION_FILE
from selftrain_jax.run_files.manifest import MANIFEST_FILE
from selftrain_jax.run_files.stage import StageRecord, find_stop
from selftrain_jax.selftrain.write_shards import shard_paths
from selftrain_jax.stages.adoption import read_adopted
from selftrain_jax.stages.folders import is_shared, shared_with
from selftrain_jax.stages.graph import Stage, stages_after
from selftrain_jax.stages.records import Difference, read_record
from selftrain_jax.train.checkpoint_files import saved_steps

DONE, RESUME, TO_DO, SHARED = "done", "resume", "to do", "shared"
LEFT_OUT = "left out"  # a round before it was worse on val
REFUSED, STALE = "refused", "stale"  # stale: itself as asked for, but made from what is refused
UNMEASURED = "to be measured on the test split"
FINISHED = (DONE, SHARED, LEFT_OUT)


@dataclass(frozen=True)
class PlannedStage:
    """What a command would do with a stage."""

    stage: Stage
    state: str
    note: str = ""
    done: int = 0  # steps, or images of labels, that are there
    total: int = 0
    folder: pathlib.Path | None = None  # where its files are, its own or another's
    differences: Sequence[Difference] = field(default=())

    @property
    def left(self) -> int:
        """Steps, or images of labels, that are to be computed, once what is refused is made anew."""
        if self.state in FINISHED:
            return 0
        return self.total - self.done


@dataclass(frozen=True)
class Changes:
    """What the command's flags would do to the folder before any stage."""

    adopted: Mapping[str, pathlib.Path] = field(default_factory=dict)  # --from_run: whose stage, by kind
    moved: Sequence[Stage] = ()  # --redo: moved aside
    moves_evaluations: bool = False  # --redo=evaluation


def plan_stages(run: Run, changes: Changes = Changes()) -> list[PlannedStage]:
    """Plan all stages in the order in which they are run, as the flags steer the command."""
    old, num_rounds = find_old_stages(run), _num_rounds(run)
    planned: list[PlannedStage] = []
    for asked in stages_of(run):
        is_last = asked.kind in COMPARED and num_rounds < asked.round
        stage = Stage(asked.kind, num_rounds) if is_last else asked
        try:
            found = _plan(run, stage, planned, changes, old)
        except InputError as error:
            found = PlannedStage(stage, REFUSED, str(error), total=total_of(run, stage))
        if stage.round > num_rounds and found.state in (TO_DO, RESUME):
            found = PlannedStage(stage, LEFT_OUT, f"round {num_rounds} was worse on val than the one before")
        planned.append(found)
    return planned


def _num_rounds(run: Run) -> int:
    """Return how many rounds there will be, as far as is known: none comes after one that was worse."""
    asked = run.config.selftrain.rounds
    vals: list[float] = []
    for round in range(1, asked + 1 if run.config.selftrain.stop_when_worse else 1):
        try:
            result = result_of(run, Stage("student", round))
        except InputError:
            break
        if result is None:
            break
        vals.append(-1.0 if result.val is None else result.val)
        if round > 1 and vals[-1] < vals[-2]:
            return round
    return asked


def _plan(
    run: Run, stage: Stage, before: Sequence[PlannedStage], changes: Changes, old: Sequence[Stage]
) -> PlannedStage:
    """Plan a stage after those `before` it; `old` are the stages that an older version made."""
    total, folder = total_of(run, stage), run.workdir / stage.folder
    if stage in changes.moved:
        return PlannedStage(stage, TO_DO, "--redo moves what is there aside", total=total)
    if stage.round == 1 and stage.kind in changes.adopted:
        source = changes.adopted[stage.kind] / stage.folder
        return PlannedStage(stage, SHARED, f"taken from {source}", total, total, source)
    is_old = stage in old
    found = old_record(with_old_config(run, old[0]), stage) if is_old else read_record(folder)
    if found is None:
        return _plan_new(run, stage, total)
    if differing := disagreements(run, stage, found):
        return PlannedStage(stage, REFUSED, "", 0, total, folder, differing)
    refused = [other.stage for other in before if other.state == REFUSED and other.left]
    spoilt = [other.folder for other in refused if stage in stages_after(other, stages_of(run))]
    if spoilt:
        return PlannedStage(stage, STALE, f"comes from {spoilt[0]}", 0, total, folder)
    if not (_is_finished(stage, folder) if is_old else found.results):
        return _plan_resumed(run, stage, found, total)
    return _plan_finished(run, stage, total, is_old, changes)


def _plan_new(run: Run, stage: Stage, total: int) -> PlannedStage:
    """Plan a stage that has no record of its own: another's is shared if it is the same."""
    other = locate(run, stage)
    if other != run.workdir / stage.folder:
        total, *stop = _where_it_stopped(other, total)
        return PlannedStage(
            stage, SHARED, ", ".join([f"with {_name(run, other)}", *stop]), total, total, other
        )
    if is_unfinished_in_base(run, stage):
        why = f"shared with {run.base / stage.folder}, which is not finished: finish the base first"
        return PlannedStage(stage, REFUSED, why, total=total)
    check_foreign(run, stage)
    return PlannedStage(stage, TO_DO, total=total)


def _plan_resumed(run: Run, stage: Stage, found: StageRecord, total: int) -> PlannedStage:
    folder = run.workdir / stage.folder
    if stage.kind != LABELS:
        step = max(saved_steps(folder), default=0)
        return PlannedStage(stage, RESUME, f"at step {step:,} of {total:,}", step, total, folder)
    size = run.config.pseudo.images_per_shard
    paths = shard_paths(folder, total, size)
    done = [number for number, path in enumerate(paths) if path.exists()]
    images = sum(min(size, total - number * size) for number in done)
    return PlannedStage(stage, RESUME, f"at shard {len(done)} of {len(paths)}", images, total, folder)


def _plan_finished(run: Run, stage: Stage, total: int, is_old: bool, changes: Changes) -> PlannedStage:
    folder = run.workdir / stage.folder
    note = "of an older version: the next command converts it" if is_old else _origin(run, stage, folder)
    state = SHARED if not is_old and is_shared(folder) else DONE
    if stage.kind == LABELS or is_old:
        return PlannedStage(stage, state, note, total, total, folder)
    result_of(run, stage)  # refuses a config.eval.checkpoint that is not there
    differing = None if changes.moves_evaluations else evaluation_disagreements(run, stage)
    if differing:
        why = "its evaluation was made otherwise: --redo=evaluation"
        return PlannedStage(stage, REFUSED, why, total, total, folder, differing)
    unmeasured = UNMEASURED if differing is None else ""
    total, *stop = _where_it_stopped(folder, total)
    notes = ", ".join(filter(None, [note, *stop, unmeasured]))
    return PlannedStage(stage, state, notes, total, total, folder)


def _where_it_stopped(folder: pathlib.Path, total: int) -> tuple[int, *tuple[str, ...]]:
    """Return the steps of a finished training, and where it had patience the words that say so."""
    stop = find_stop(read_record(folder))
    return (total,) if stop is None else (stop.step, str(stop))


def is_bound(run: Run, planned: PlannedStage) -> bool:
    """Tell whether a training's steps are a bound: with patience it may end earlier."""
    stage = planned.stage
    return stage.kind != LABELS and planned.left > 0 and stage_settings(run.config, stage.kind).patience > 0


def total_of(run: Run, stage: Stage) -> int:
    """Return a training's steps, or the images that are to be labelled."""
    if stage.kind == LABELS:
        assert run.sources.unlabeled is not None
        return len(run.sources.unlabeled)
    return stage_schedule(run, stage)[1]


def _is_finished(stage: Stage, folder: pathlib.Path) -> bool:
    return (folder / (MANIFEST_FILE if stage.kind == LABELS else EVALUATION_FILE)).exists()


def _origin(run: Run, stage: Stage, folder: pathlib.Path) -> str:
    if not is_shared(folder):
        return ""
    adopted = read_adopted(run.workdir)
    if adopted is not None and stage.round == 1 and stage.kind in adopted.digests:
        return f"taken from {adopted.from_run}"
    return f"with {_name(run, shared_with(folder))}"


def _name(run: Run, folder: pathlib.Path) -> str:
    """Name whose stage's folder it is."""
    folder = folder.resolve()
    variants = (run.base / "variants").resolve()
    if folder.is_relative_to(variants):
        return f"variant {folder.relative_to(variants).parts[0]}"
    return "the base" if folder.is_relative_to(run.base.resolve()) else str(folder)
