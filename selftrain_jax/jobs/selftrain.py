"""Teacher, pseudo labels, control, student (Paper: Section 3.1); start at `open_run` and `run_all`.

Every stage has a folder and skips what is finished in it: a killed run continues by the same command.
"""

import functools
import pathlib
from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from selftrain_jax.build import Experiment, build_experiment, build_schedule
from selftrain_jax.build_classification import build_joint_batches, open_joint_source
from selftrain_jax.build_data import Sources, build_batches, build_sources, stage_settings
from selftrain_jax.data.coco_export import write_coco_json
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.inference import Detector, bind_variables, build_detector, evaluate_source
from selftrain_jax.jobs.workdir import versions
from selftrain_jax.pretrain.init_modes import format_init, init_variables, load_mode
from selftrain_jax.selftrain.manifest import read_json, write_json
from selftrain_jax.selftrain.pseudo_checks import check_pseudo_labels
from selftrain_jax.selftrain.pseudo_labels import write_pseudo_labels
from selftrain_jax.selftrain.pseudo_quality import QUALITY_FILE, write_quality
from selftrain_jax.selftrain.pseudo_source import read_pseudo_labels
from selftrain_jax.train.checkpoint import digest, find_step, restore_variables, restore_whole, training_secs
from selftrain_jax.train.loop import train
from selftrain_jax.train.state import TrainState, with_variables
from selftrain_jax.types import Variables

EVALUATION_FILE = "evaluation.json"
PSEUDO_FOLDER = "pseudo_labels"


@dataclass(frozen=True)
class Run:
    """All that the stages of a run share."""

    config: ConfigDict
    workdir: pathlib.Path
    sources: Sources
    joint: Source | None  # the second stream of joint training
    experiment: Experiment
    detector: Detector


def open_run(config: ConfigDict, workdir: pathlib.Path) -> Run:
    """Open the data, compose the network, write the test split's truth and the classes.

    Raises:
      InputError: data or config do not fit.
    """
    sources = build_sources(config)
    joint = open_joint_source(config) if config.joint.weight else None
    categories = sources.human.categories
    experiment = build_experiment(config, categories, len(joint.categories) if joint else 0)
    write_json(workdir / "categories.json", [category._asdict() for category in categories])
    if not (workdir / "ground_truth.json").exists():
        write_coco_json(sources.test, workdir / "ground_truth.json")
    return Run(config, workdir, sources, joint, experiment, build_detector(config, experiment))


def run_all(run: Run) -> None:
    """Train the teacher, label, train control and student, sum up, write the report.

    A supervised run (config.unlabeled.kind=none) has no labels and no student.
    """
    from selftrain_jax.jobs.report import run_report
    from selftrain_jax.jobs.summary import write_summary

    train_stage(run, "teacher")
    if run.sources.unlabeled is not None:
        label_stage(run)
    if run.config.student.control:
        train_stage(run, "control")
    if run.sources.unlabeled is not None:
        train_stage(run, "student")
    print(write_summary(run.workdir, run.config))
    run_report(run.config, run.workdir)


def train_stage(run: Run, stage: str) -> None:
    """Train a stage to its last step and evaluate it on the test split.

    Raises:
      InputError: a stage before it is missing, or its pseudo labels are no good to train on.
    """
    directory = run.workdir / stage
    if (directory / EVALUATION_FILE).exists():
        return print(f"{stage}: finished before, in {directory}")
    config, sources = run.config, run.sources
    pseudo = _pseudo_source(run) if stage == "student" else None
    schedule, num_steps = build_schedule(config, stage)
    batches = build_batches(config, stage, sources.human, pseudo)
    train(
        name=stage,
        train_step=run.experiment.train_step,
        state=initial_state(run, stage),
        schedule=schedule,
        batches=build_joint_batches(config, stage, batches, run.joint) if run.joint else batches,
        num_steps=num_steps,
        directory=directory,
        mesh=run.experiment.mesh,
        evaluate=functools.partial(_curve_point, run),
        evaluate_every=config.eval.every_steps,
        checkpoint_every=config.checkpoint.every_steps,
        log_every=config.log.every_steps,
        keep=config.checkpoint.keep,
        tensorboard=config.log.tensorboard,
    )
    return evaluate_stage(run, stage)


def evaluate_stage(run: Run, stage: str) -> None:
    """Measure a stage's checkpoint on the test split; write detections, then evaluation.json.

    Raises:
      InputError: the stage has no checkpoint.
    """
    directory = run.workdir / stage
    variables, step = restore_stage(run, stage)
    result, detections = evaluate_source(run.detector, variables, run.sources.test)
    write_json(directory / "detections.json", detections)
    facts = {
        "split": run.sources.test.name,
        "num_images": len(run.sources.test),
        "checkpoint_step": step,
        "checkpoint": f"{stage}/checkpoints/{step}",
        "training_secs": training_secs(directory),
    }
    write_json(directory / EVALUATION_FILE, {**result, **facts})
    print(f"{stage}: test AP {100 * result['ap']:.1f}, AP50 {100 * result['ap50']:.1f} at step {step}")


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
        network=bind_variables(run.detector, variables, config.pseudo.score_floor),
        categories=run.sources.human.categories,
        provenance={
            "teacher": {
                "checkpoint": f"teacher/checkpoints/{step}",
                "digest": digest(variables),
                "step": step,
            },
            "nms": config.postprocess.to_dict(),
            "config": config.to_dict(),
            "versions": versions(),
        },
        threshold=config.pseudo.threshold,
        per_class_thresholds=per_class_thresholds(config),
        images_per_shard=config.pseudo.images_per_shard,
        max_bad_images=config.data.max_bad_images,
    )
    _measure(run, directory)
    print(
        f"pseudo labels: {manifest['num_boxes_at_threshold']} boxes of score {config.pseudo.threshold} or "
        f"more on {manifest['num_images']} images"
    )


def initial_state(run: Run, stage: str) -> TrainState:
    """Return what a stage starts from: config.*.init is rand, teacher, a mode of `init_modes` or a folder.

    The control goes on from the teacher whatever the student starts from. Says what stays random.

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
    print(f"{stage}: {format_init(report)}")
    return with_variables(state, variables)


def restore_teacher(run: Run) -> Variables:
    """Return the finished teacher's variables.

    Raises:
      InputError: the teacher is not finished.
    """
    if not (run.workdir / "teacher" / EVALUATION_FILE).exists():
        raise InputError(
            f"{run.workdir}/teacher is not finished; run --job=train --stage=teacher first, or the "
            "default job, which does all in order"
        )
    return restore_stage(run, "teacher")[0]


def restore_stage(run: Run, stage: str) -> tuple[Variables, int]:
    """Return the variables that stand for a stage (config.eval.checkpoint) and their step."""
    directory, which = run.workdir / stage, run.config.eval.checkpoint
    template = jax.eval_shape(run.experiment.task.init, jax.random.key(0))
    return restore_variables(directory, which, template), find_step(directory, which)


def per_class_thresholds(config: ConfigDict) -> dict[str, float]:
    """Read config.pseudo.per_class_thresholds, "person=0.4,car=0.6".

    Raises:
      InputError: it does not have that form.
    """
    text = config.pseudo.per_class_thresholds
    try:
        pairs = [item.rsplit("=", 1) for item in text.split(",") if item]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise InputError(
            f"config.pseudo.per_class_thresholds={text!r}; expected name=score pairs such as person=0.4"
        ) from None


def _curve_point(run: Run, variables: Variables) -> dict[str, float]:
    result, _ = evaluate_source(run.detector, variables, run.sources.val)
    return {f"eval/{key}": result[key] for key in ("ap", "ap50", "ap75")}


def _pseudo_source(run: Run) -> Source:
    """Open the pseudo labels for the student, after a look at whether they can teach anything."""
    config, directory = run.config, run.workdir / PSEUDO_FOLDER
    settings = config.pseudo
    human = run.sources.human
    for warning in check_pseudo_labels(
        read_json(directory / "manifest.json", "run --job=pseudo_label first"),
        human_categories=human.categories,
        human_boxes_per_class=class_counts(human),
        min_boxes_per_image=settings.min_boxes_per_image,
        max_empty_frac=settings.max_empty_frac,
        max_boxes_per_image=config.image.max_boxes,
    ):
        print(f"warning: {warning}")
    return read_pseudo_labels(
        directory,
        threshold=settings.threshold,
        per_class_thresholds=per_class_thresholds(config),
        ignore_below=settings.ignore_below or None,
    )


def class_counts(source: Source) -> dict[str, int]:
    """Count a labelled source's boxes by class name."""
    counts = dict.fromkeys((category.name for category in source.categories), 0)
    names = {category.id: category.name for category in source.categories}
    for index in range(len(source)):
        for class_id in source.read_labels(index)["classes"]:
            counts[names[int(class_id)]] += 1
    return counts


def _measure(run: Run, directory: pathlib.Path) -> None:
    """Write quality.json where the labels that the teacher was not shown are known."""
    if run.sources.unlabeled_truth is not None and not (directory / QUALITY_FILE).exists():
        write_quality(
            directory,
            run.sources.unlabeled_truth,
            threshold=run.config.pseudo.threshold,
            per_class_thresholds=per_class_thresholds(run.config),
        )
