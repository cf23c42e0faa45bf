"""Teacher, pseudo labels, control, student (Paper: Section 3.1); start at `open_run` and `run_all`.

Every stage has a folder and skips what is finished in it: a killed run continues by the same command.
"""

import functools
import pathlib
from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import Sources, build_batches, build_sources, stage_settings
from selftrain_jax.build.experiment import Experiment, build_experiment, build_schedule
from selftrain_jax.build.joint import build_joint_batches, open_joint_source
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.jobs.summary import write_summary
from selftrain_jax.jobs.workdir import versions
from selftrain_jax.pretrain.init_modes import format_init, init_variables, load_mode
from selftrain_jax.run_files.evaluation import EVALUATION_FILE, SCALES_FILE, Evaluation
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.quality import QUALITY_FILE
from selftrain_jax.selftrain.checks import class_thresholds
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.tasks.config_values import class_thresholds_by_name
from selftrain_jax.tasks.lookup import get_self_training, get_task
from selftrain_jax.tasks.spec import Metric, Predictor, SelfTraining, TaskSpec
from selftrain_jax.text import format_points
from selftrain_jax.train.checkpoint import digest, find_step, restore_variables, restore_whole, training_secs
from selftrain_jax.train.loop import train
from selftrain_jax.train.state import TrainState, with_variables
from selftrain_jax.types import Variables

PSEUDO_FOLDER = "pseudo_labels"


@dataclass(frozen=True)
class Run:
    """All that the stages of a run share."""

    config: ConfigDict
    workdir: pathlib.Path
    sources: Sources
    joint: Source | None  # the second stream of joint training
    experiment: Experiment
    task: TaskSpec
    self_training: SelfTraining
    predictor: Predictor


def open_run(config: ConfigDict, workdir: pathlib.Path) -> Run:
    """Open the data, compose the network, write the test split's truth and the classes.

    Raises:
        InputError: data or config do not fit.
    """
    self_training = get_self_training(config.task)
    sources = build_sources(config)
    joint = open_joint_source(config) if config.joint.weight else None
    categories = sources.human.categories
    # Wrong thresholds are refused now, not after the teacher has been trained.
    class_thresholds(categories, config.pseudo.threshold, class_thresholds_by_name(config))
    experiment = build_experiment(config, categories, len(joint.categories) if joint else 0)
    predictor = self_training.open_predictor(config, experiment.task, experiment.mesh)

    def write() -> None:
        write_json(workdir / "categories.json", [category._asdict() for category in categories])
        self_training.write_truth(sources.test, workdir)

    hosts.run_on_host0(write)
    task = get_task(config.task)
    return Run(config, workdir, sources, joint, experiment, task, self_training, predictor)


def run_all(run: Run) -> None:
    """Train the teacher, label, train control and student, sum up, write the report.

    A supervised run (config.unlabeled.kind=none) has no labels and no student.
    """
    from selftrain_jax.jobs.report import run_report

    train_stage(run, "teacher")
    if run.sources.unlabeled is not None:
        label_stage(run)
    if run.config.student.control:
        train_stage(run, "control")
    if run.sources.unlabeled is not None:
        train_stage(run, "student")

    def sum_up() -> None:
        print(write_summary(run.workdir, run.config))
        run_report(run.config, run.workdir)

    hosts.run_on_host0(sum_up)


def train_stage(run: Run, stage: str) -> None:
    """Train a stage to its last step and evaluate it on the test split.

    Raises:
        InputError: a stage before it is missing, or its pseudo labels are unusable.
    """
    directory = run.workdir / stage
    if hosts.run_on_host0((directory / EVALUATION_FILE).exists):
        hosts.log(f"{stage}: finished before, in {directory}")
        return evaluate_scales(run, stage)
    config, sources = run.config, run.sources
    pseudo = None
    if stage == "student":
        pseudo = run.self_training.open_labels(config, run.workdir / PSEUDO_FOLDER, sources.human)
    schedule, num_steps = build_schedule(config, stage)
    batches = build_batches(config, stage, sources.human, pseudo)
    train(
        name=stage,
        train_step=run.experiment.train_step,
        new_state=functools.partial(initial_state, run, stage),
        state_shapes=jax.eval_shape(run.experiment.new_state),
        schedule=schedule,
        batches=build_joint_batches(config, stage, batches, run.joint) if run.joint else batches,
        num_steps=num_steps,
        directory=directory,
        mesh=run.experiment.mesh,
        evaluate=functools.partial(_curve_point, run),
        best_metric=f"eval/{run.task.metrics[0].key}",
        evaluate_every=config.eval.every_steps,
        checkpoint_every=config.checkpoint.every_steps,
        log_every=config.log.every_steps,
        keep=config.checkpoint.keep,
        max_rollbacks=config.optimizer.max_rollbacks,
        tensorboard=config.log.tensorboard,
    )
    evaluate_stage(run, stage)
    return evaluate_scales(run, stage)


def evaluate_stage(run: Run, stage: str) -> None:
    """Measure a stage's checkpoint on the test split; write what it predicts, then evaluation.json.

    Raises:
        InputError: the stage has no checkpoint.
    """
    directory = run.workdir / stage
    variables, step = restore_stage(run, stage)
    result = run.predictor.evaluate(variables, run.sources.test, directory)
    evaluation = _write_evaluation(run, directory / EVALUATION_FILE, step, result)
    hosts.log(f"{stage}: test {_headline(run.task.metrics, evaluation)} at step {step}")


def evaluate_scales(run: Run, stage: str) -> None:
    """Measure masks over config.evaluate's scales too, into evaluation_scales.json, unless it was done."""
    if run.predictor.measure_scales is None:
        return
    path, settings = run.workdir / stage / SCALES_FILE, run.config.evaluate
    variables, step = restore_stage(run, stage)
    asked = {"checkpoint_step": step, "scales": list(settings.scales), "flip": settings.flip}

    def is_done() -> bool:
        found = Evaluation.from_json(read_json(path, "delete it"), path, run.task.evaluation_details)
        return asked.items() <= found.to_json().items()

    if hosts.run_on_host0(lambda: path.exists() and is_done()):
        return
    result = {**run.predictor.measure_scales(variables, run.sources.test), **asked}
    evaluation = _write_evaluation(run, path, step, result)
    metrics = _headline(run.task.metrics, evaluation)
    hosts.log(f"{stage}: test {metrics} over inputs of {result['sizes_px']} px")


def _write_evaluation(run: Run, path: pathlib.Path, step: int, result: JsonObject) -> Evaluation:
    """Write what was measured of a stage, with what it was measured on."""
    facts = {
        "split": run.sources.test.name,
        "num_images": len(run.sources.test),
        "checkpoint_step": step,
        "checkpoint": f"{path.parent.name}/checkpoints/{step}",
        "training_secs": training_secs(path.parent),
    }
    evaluation = Evaluation.from_json({**result, **facts}, path, run.task.evaluation_details)
    hosts.run_on_host0(lambda: write_json(path, evaluation.to_json()))
    return evaluation


def label_stage(run: Run) -> None:
    """Let the teacher label the unlabelled images; measure the labels where the truth is known.

    Raises:
        InputError: the teacher is not trained, or the folder holds another teacher's labels.
    """
    config, directory = run.config, run.workdir / PSEUDO_FOLDER
    if run.sources.unlabeled is None:
        raise InputError("config.unlabeled.kind=none: this is a supervised run, there is nothing to label")
    variables = restore_teacher(run)
    step = find_step(run.workdir / "teacher", config.eval.checkpoint)
    manifest = write_pseudo_labels(
        directory=directory,
        source=run.sources.unlabeled,
        labeller=run.predictor.labeller(variables, run.sources.unlabeled),
        categories=run.sources.human.categories,
        provenance={
            "teacher": {
                "checkpoint": f"teacher/checkpoints/{step}",
                "digest": digest(variables),
                "step": step,
            },
            **run.self_training.label_settings(config),
            "config": config.to_dict(),
            "versions": versions(),
        },
        threshold=config.pseudo.threshold,
        per_class_thresholds=class_thresholds_by_name(config),
        images_per_shard=config.pseudo.images_per_shard,
        max_bad_images=config.data.max_bad_images,
    )
    hosts.run_on_host0(lambda: _measure_labels(run, directory))
    hosts.log(f"pseudo labels: {run.self_training.describe_labels(config, manifest)}")


def _measure_labels(run: Run, directory: pathlib.Path) -> None:
    """Compare finished pseudo labels with the truth where it is known, once."""
    truth = run.sources.unlabeled_truth
    if truth is not None and not (directory / QUALITY_FILE).exists():
        run.self_training.write_quality(run.config, directory, truth)


def initial_state(run: Run, stage: str) -> TrainState:
    """Return what a stage starts from: config.*.init is rand, teacher, a mode of `init_modes` or a folder.

    The control continues from the teacher whatever the student starts from. Logs what stays random.

    Raises:
        InputError: there are no such weights, or they are of another network.
    """
    config, state = run.config, run.experiment.new_state()
    init = "teacher" if stage == "control" else stage_settings(config, stage).init
    if init == "teacher":
        return with_variables(state, restore_teacher(run))
    load = functools.partial(
        load_mode,
        backbone=config.model.backbone,
        pretrained_dir=config.pretrained.dir,
        restore=functools.partial(restore_whole, which="last"),
    )
    variables, report = init_variables(init, state.variables, state.variables, load)
    hosts.log(f"{stage}: {format_init(report)}")
    return with_variables(state, variables)


def restore_teacher(run: Run) -> Variables:
    """Return the finished teacher's variables.

    Raises:
        InputError: the teacher is not finished.
    """
    if not hosts.run_on_host0((run.workdir / "teacher" / EVALUATION_FILE).exists):
        raise InputError(
            f"{run.workdir}/teacher is not finished; run --job=train --stage=teacher first, or the "
            "default job, which does all in order"
        )
    return restore_stage(run, "teacher")[0]


def restore_stage(run: Run, stage: str) -> tuple[Variables, int]:
    """Return a stage's variables, of the checkpoint that config.eval.checkpoint names, and their step."""
    directory, which = run.workdir / stage, run.config.eval.checkpoint
    template = jax.eval_shape(run.experiment.task.init, jax.random.key(0))
    return restore_variables(directory, which, template), find_step(directory, which)


def _curve_point(run: Run, variables: Variables) -> dict[str, float]:
    result = run.predictor.measure(variables, run.sources.val)
    return {f"eval/{key}": result[key] for key, _, _ in run.task.metrics}


def _headline(metrics: tuple[Metric, ...], evaluation: Evaluation) -> str:
    """Name the two scores that count most."""
    return ", ".join(f"{name} {format_points(evaluation.scores[key])}" for key, name, _ in metrics[:2])
