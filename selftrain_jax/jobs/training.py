"""Training one stage, teacher, student or what is compared with it, and its evaluation; call `train_stage`.

A finished stage is skipped, an unfinished one resumed.
"""

import functools

import jax

from selftrain_jax import hosts
from selftrain_jax.build.batch_norm import check_start
from selftrain_jax.build.data import build_batches, human_images, stage_settings
from selftrain_jax.build.experiment import Experiment, build_experiment, build_schedule, describe_rate
from selftrain_jax.build.image_checks import check_images
from selftrain_jax.build.joint import build_joint_batches
from selftrain_jax.build.optimizer import check_frozen
from selftrain_jax.data.sampling import generator_permutation, raw_permutation
from selftrain_jax.data.source import Source, concatenated, subset
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.claims import begin, finish_training
from selftrain_jax.jobs.corrections import require_corrections, require_review
from selftrain_jax.jobs.divergence import marked_if_diverged
from selftrain_jax.jobs.evaluation import evaluate_stage, measure_on_val
from selftrain_jax.jobs.human_counts import count_human
from selftrain_jax.jobs.run import Run, load_start, restore_stage
from selftrain_jax.jobs.stage_state import locate, result_of, thresholds_in_use
from selftrain_jax.pretrain.init_modes import format_init, init_variables
from selftrain_jax.run_files.arms import COMPARED
from selftrain_jax.run_files.corrections import StoredLayer, reviewed_images
from selftrain_jax.run_files.stage import StageRecord
from selftrain_jax.stages.graph import TEACHER, Stage, teacher_of
from selftrain_jax.stages.records import read_record
from selftrain_jax.tasks.config_values import LabelThresholds
from selftrain_jax.tasks.spec import HumanLabels
from selftrain_jax.train.loop import train
from selftrain_jax.train.optimizer import Schedule
from selftrain_jax.train.sharding import shard_batch
from selftrain_jax.train.state import TrainState, with_variables
from selftrain_jax.types import Batches, Variables


def train_stage(run: Run, stage: Stage, *, is_measured: bool = True) -> None:
    """Train a stage to its last step and, unless told not to, evaluate it on the test split.

    Raises:
        InputError: a stage before it is missing, its pseudo labels are unusable, or its folder holds another.
    """
    folder = run.workdir / stage.folder
    begin_inputs(run, stage)
    if stage == TEACHER and hosts.run_on_host0(lambda: read_record(locate(run, stage)) is None):
        check_images(run.config, run.sources)  # before hours are spent, and before the folder is claimed
    record = begin_on_host0(run, stage)
    if not record.results:
        with marked_if_diverged(run, stage):
            _train(run, stage, record)
        hosts.run_on_host0(lambda: finish_training(run, stage, record).to_json())
    elif not is_measured:
        hosts.log(f"{stage.folder}: finished before, in {folder}")
    if is_measured:
        evaluate_stage(run, stage)


def begin_on_host0(run: Run, stage: Stage) -> StageRecord:
    """Claim a stage's folder on host 0, for all hosts (`claims.begin`)."""
    path = run.workdir / stage.folder
    return StageRecord.from_json(hosts.run_on_host0(lambda: begin(run, stage).to_json()), path)


def begin_inputs(run: Run, stage: Stage) -> None:
    """See that what a stage takes is finished, and in a variant's folder where it is another's."""
    if stage.kind == "labels":
        inputs = run.labellers_of(stage)[-1:]  # none where other models label alone
    else:
        inputs = [] if stage == TEACHER else [teacher_of(stage)]
    if stage.kind == "student":
        inputs.append(Stage("labels", stage.round))
    for needed in inputs:
        require_finished(run, needed)
        begin_on_host0(run, needed)
    if stage.kind == "student":
        hosts.run_on_host0(lambda: len(_corrections(run, stage)))


def _train(run: Run, stage: Stage, record: StageRecord) -> None:
    config = run.config
    schedule, num_steps = stage_schedule(run, stage)
    for line in describe_rate(config) if stage != TEACHER else []:
        hosts.log(f"{stage.folder}: {line}")
    patience = stage_settings(config, stage.kind).patience
    if patience:
        hosts.log(_explain_patience(run, stage, num_steps, patience))
    train(
        name=stage.folder,
        train_step=_experiment(run, stage, record).train_step,
        new_state=functools.partial(initial_state, run, stage),
        state_shapes=jax.eval_shape(run.experiment.new_state),
        schedule=schedule,
        batches=_batches(run, stage, record),
        num_steps=num_steps,
        directory=run.workdir / stage.folder,
        mesh=run.experiment.mesh,
        evaluate=functools.partial(measure_on_val, run),
        best_metric=f"eval/{run.task.metrics[0].key}",
        evaluate_every=config.eval.every_steps,
        patience=patience,
        checkpoint_every=config.checkpoint.every_steps,
        log_every=config.log.every_steps,
        keep=config.checkpoint.keep,
        max_rollbacks=config.optimizer.max_rollbacks,
        tensorboard=config.log.tensorboard,
    )


def _explain_patience(run: Run, stage: Stage, num_steps: int, patience: int) -> str:
    group = "teacher" if stage == TEACHER else "student"
    return (
        f"{stage.folder}: at most {num_steps:,} steps; ends when {run.task.metrics[0].head} on val has not "
        f"risen for {patience} evaluations in a row (config.{group}.patience), one every "
        f"{run.config.eval.every_steps:,} steps"
    )


def stage_schedule(run: Run, stage: Stage) -> tuple[Schedule, int]:
    """Return a stage's learning rate by step and its steps; controls and oracle have those of all rounds."""
    config = run.config
    if stage.kind in COMPARED and stage.round > 1:
        config = config.copy_and_resolve_references()
        config.student.steps *= stage.round
    return build_schedule(config, stage.kind)


def _experiment(run: Run, stage: Stage, record: StageRecord) -> Experiment:
    """Return the stage's, or for one that an older version began the one that averages as it did."""
    if record.methods.get("ema") != "constant":
        return run.experiment_of(stage.kind)
    num_joint_classes = len(run.joint.categories) if run.joint else 0
    categories = run.sources.human.categories
    return build_experiment(run.config, categories, num_joint_classes, ema_ramp=False, stage=stage.kind)


def _batches(run: Run, stage: Stage, record: StageRecord) -> Batches:
    is_old = record.methods.get("sampling") == "generator"
    permutation = generator_permutation if is_old else raw_permutation
    place = functools.partial(shard_batch, run.experiment.mesh)
    human, pseudo = human_images(run.sources, stage.kind), None
    if stage.kind == "student":
        human, pseudo = _with_corrections(run, stage, human, _open_labels(run, stage))
    batches = build_batches(
        run.config,
        stage.kind,
        human,
        pseudo,
        round=stage.round,
        permutation=permutation,
        place=place,
    )
    if run.joint is None:
        return batches
    return build_joint_batches(
        run.config, stage.kind, batches, run.joint, round=stage.round, permutation=permutation, place=place
    )


def _open_labels(run: Run, stage: Stage) -> Source:
    """Open a round's pseudo labels, of the run's unlabelled images where the set has more."""
    folder = run.workdir / Stage("labels", stage.round).folder
    chosen = hosts.run_on_host0(lambda: thresholds_in_use(run, stage))
    thresholds = LabelThresholds(*chosen) if chosen else None
    human = HumanLabels(run.sources.human.categories, count_human(run))
    labels = run.self_training.open_labels(run.config, folder, human, thresholds)
    assert run.sources.unlabeled is not None  # else there is no student
    wanted = set(run.sources.unlabeled.image_ids)
    kept = [index for index, image_id in enumerate(labels.image_ids) if image_id in wanted]
    return labels if len(kept) == len(labels) else subset(labels, kept)


def _corrections(run: Run, stage: Stage) -> list[StoredLayer]:
    """Return the layers of corrections that a student uses. Raises: InputError: there are none yet."""
    labels = Stage("labels", stage.round)
    result = result_of(run, labels)
    assert result is not None  # `begin_inputs` has seen to it
    return require_corrections(run.config, locate(run, labels), result.digest)


def _with_corrections(run: Run, stage: Stage, human: Source, pseudo: Source) -> tuple[Source, Source]:
    """Let the images that people corrected leave the pseudo labels and join the human ones."""
    if not run.config.pseudo.corrections:
        return human, pseudo
    reviewed = reviewed_images([stored.layer for stored in _corrections(run, stage)])
    review = require_review(run.self_training, run.config.task)
    rest, corrected = review.split_reviewed(pseudo, reviewed)
    if corrected is None:
        raise InputError("config.pseudo.corrections: none of the corrected images is among this run's")
    run.task.check_sources(run.config, corrected, [])
    hosts.log(
        f"{stage.folder}: {len(corrected)} corrected images count as human beside {len(human)}; "
        f"{len(rest)} stay pseudo"
    )
    return concatenated(human, corrected, f"{human.name} and {corrected.name}"), rest


def initial_state(run: Run, stage: Stage) -> TrainState:
    """Return what a stage starts from: config.*.init is rand, teacher, a mode of `init_modes` or a folder.

    Controls and oracle continue from the teacher whatever the student starts from. Logs what stays random.

    Raises:
        InputError: there are no such weights, they are of another network, or they leave statistics or a
            backbone random that would be frozen.
    """
    state = run.experiment.new_state()
    init = "teacher" if stage.kind in COMPARED else stage_settings(run.config, stage.kind).init
    if init == "teacher":
        return with_variables(state, restore_teacher(run, stage))
    load = functools.partial(load_start, run.config)
    variables, report = init_variables(init, state.variables, state.variables, load)
    hosts.log(f"{stage.folder}: {format_init(report)}")
    check_start(run.config, stage.kind, report, variables)
    check_frozen(run.config, stage.kind, report)
    return with_variables(state, variables)


def restore_teacher(run: Run, stage: Stage) -> Variables:
    """Return the variables of a stage's teacher: the teacher's, or the student's of the round before.

    Raises:
        InputError: it is not finished.
    """
    teacher = teacher_of(stage)
    require_finished(run, teacher)
    return restore_stage(run, run.workdir / teacher.folder)


def restore_labellers(run: Run, labels: Stage) -> list[Variables]:
    """Return the variables of the models that make a round's labels, its teacher's last.

    Raises:
        InputError: one is not finished.
    """
    models = run.labellers_of(labels)
    for model in models:
        require_finished(run, model)
    return [restore_stage(run, run.workdir / model.folder) for model in models]


def require_finished(run: Run, stage: Stage) -> None:
    """See that a stage is finished. Raises: InputError, with the command that does it."""
    if hosts.run_on_host0(lambda: result_of(run, stage) is None):
        job = "--job=pseudo_label" if stage.kind == "labels" else f"--job=train --stage={stage.kind}"
        round = f" --round={stage.round}" if stage.round > 1 else ""
        raise InputError(
            f"{run.workdir / stage.folder} is not finished; run {job}{round} first, or the default job, "
            "which does all in order"
        )
