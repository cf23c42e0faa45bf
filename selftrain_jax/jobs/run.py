"""What the stages of one run share: `open_run` opens data and network, and writes nothing.

Weights of a stage, and what a stage starts from, are read here too.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import build_sources, log_notes, stage_settings
from selftrain_jax.build.experiment import (
    Experiment,
    StepKind,
    build_experiment,
    check_patience,
    step_kind,
)
from selftrain_jax.build.joint import open_joint_source
from selftrain_jax.build.number_types import with_usable_dtype
from selftrain_jax.build.set_apart import Sources
from selftrain_jax.data.source import Source, labels_cached
from selftrain_jax.jobs.calibration import check_val
from selftrain_jax.named_arrays import digest
from selftrain_jax.pretrain.catalogue import find_start
from selftrain_jax.pretrain.init_modes import NAMED_MODES, find_named, load_mode
from selftrain_jax.run_files.arms import ORACLE
from selftrain_jax.run_files.revision import code_revision
from selftrain_jax.selftrain.checks import class_thresholds
from selftrain_jax.selftrain.foreign.files import hash_content, read_paths
from selftrain_jax.selftrain.foreign.labels import ForeignLabels
from selftrain_jax.stages.choices import FOREIGN_LABELS, TEACHER_LABELS, compared_kinds, label_source
from selftrain_jax.stages.graph import Stage, labellers_of
from selftrain_jax.stages.inputs import images_digest, labels_digest
from selftrain_jax.stages.versions import versions
from selftrain_jax.tasks.config_values import class_thresholds_by_name, reads_calibration
from selftrain_jax.tasks.foreign_settings import check_label_keys
from selftrain_jax.tasks.lookup import get_self_training, get_task
from selftrain_jax.tasks.spec import Predictor, SelfTraining, TaskSpec
from selftrain_jax.tasks.tiles import count_tiles
from selftrain_jax.train.checkpoint import restore_variables, restore_whole
from selftrain_jax.types import Variables

RANDOM_START = "random"
# What labels take from config.foreign: the name among a stage's inputs, and the key.
FOREIGN_INPUTS = {
    "foreign predictions": "predictions",
    "class map": "map",
    "foreign image ids": "annotations",
    "foreign val predictions": "val",
    "foreign val image ids": "val_annotations",
}


@dataclass(frozen=True)
class Run:
    """All that the stages of a run share."""

    config: ConfigDict
    workdir: pathlib.Path  # of a variant, its own folder
    base: pathlib.Path  # of a variant, the folder that it is a variant of; else `workdir`
    sources: Sources
    joint: Source | None  # the second stream of joint training
    experiment: Experiment
    task: TaskSpec
    self_training: SelfTraining
    data_digests: Mapping[str, str]  # of what is in `sources` and `joint`
    versions: Mapping[str, str]
    code: str

    @functools.cached_property
    def _experiments(self) -> dict[StepKind, Experiment]:
        return {step_kind(self.config, "teacher"): self.experiment}

    def experiment_of(self, stage_kind: str) -> Experiment:
        """Return what a kind of stage computes; stages that compute the same share what is compiled."""
        kind = step_kind(self.config, stage_kind)
        if kind not in self._experiments:
            num_joint_classes = len(self.joint.categories) if self.joint else 0
            categories = self.sources.human.categories
            made = build_experiment(self.config, categories, num_joint_classes, stage=stage_kind)
            self._experiments[kind] = made
        return self._experiments[kind]

    def labellers_of(self, labels: Stage) -> list[Stage]:
        """Return whose weights a round's labels are made with, its teacher last; none for foreign labels."""
        if label_source(self.config) == FOREIGN_LABELS:
            return []
        return labellers_of(labels, self.config.selftrain.label_models)

    @functools.cached_property
    def foreign(self) -> ForeignLabels | None:
        """Other models' predictions, where config.pseudo.labels takes them. Raises: InputError."""
        unlabeled, human = self.sources.unlabeled, self.sources.human
        if label_source(self.config) == TEACHER_LABELS or unlabeled is None:
            return None
        return self.self_training.read_foreign(self.config, unlabeled, self.sources.val, human.categories)

    @functools.cached_property
    def tiles_to_label(self) -> int | None:
        """Into how many tiles the unlabelled images are cut, by their files' headers; None: into none."""
        if self.sources.unlabeled is None or not self.config.image.tile_px:
            return None
        return count_tiles(self.config, self.sources.unlabeled)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """The network in inference. Opening it imports TensorFlow, which takes seconds."""
        return self.self_training.open_predictor(self.config, self.experiment.task, self.experiment.mesh)


def open_run(
    config: ConfigDict, workdir: pathlib.Path, base: pathlib.Path | None = None, *, is_plan: bool = False
) -> Run:
    """Open the data and compose the network; nothing is written.

    For a plan the predictor stays closed until it is used.

    Raises:
        InputError: data or config do not fit.
    """
    sources = build_sources(config)
    if not is_plan:
        log_notes((sources.human, sources.val, sources.test, sources.unlabeled))
    joint = open_joint_source(config) if config.joint.weight else None
    run = make_run(config, workdir, sources, joint=joint, base=base)
    if not is_plan:
        _ = run.predictor  # scales that do not fit are refused now, not after the teacher has been trained
    return run


def make_run(
    config: ConfigDict,
    workdir: pathlib.Path,
    sources: Sources,
    *,
    joint: Source | None = None,
    base: pathlib.Path | None = None,
) -> Run:
    """Compose the network for data that are open.

    Raises:
        InputError: a value of the config does not exist or does not fit.
    """
    self_training, categories = get_self_training(config.task), sources.human.categories
    config = with_usable_dtype(config, jax.devices())
    config = get_task(config.task).complete_config(config, sources.human)
    val = labels_cached(sources.val, float(config.data.cache_mib))  # read at each point of the curve
    sources = dataclasses.replace(sources, val=val)
    # Wrong thresholds are refused now, not after the teacher has been trained.
    class_thresholds(categories, config.pseudo.threshold, class_thresholds_by_name(config))
    if reads_calibration(config):
        check_val(config, sources.val)
    check_patience(config)
    check_label_keys(config)
    labellers_of(Stage("labels"), config.selftrain.label_models)
    experiment = build_experiment(config, categories, len(joint.categories) if joint else 0)
    return Run(
        config=config,
        workdir=workdir,
        base=base or workdir,
        sources=sources,
        joint=joint,
        experiment=experiment,
        task=get_task(config.task),
        self_training=self_training,
        data_digests=hosts.run_on_host0(
            lambda: digest_data(sources, joint, compared_kinds(config)) | digest_foreign(config)
        ),
        versions=versions(),
        code=code_revision(),
    )


def digest_data(sources: Sources, joint: Source | None, compared: tuple[str, ...] = ()) -> dict[str, str]:
    """Identify the data of a run by what they hold: image ids and labels, those that are used.

    `compared` are the stages beside the student: an oracle uses the labels of unlabelled images.
    """
    digests = {
        "human": labels_digest(sources.human),
        "val": labels_digest(sources.val),
        "test": labels_digest(sources.test),
    }
    if sources.unlabeled is not None:
        digests["unlabeled"] = images_digest(sources.unlabeled)
    if ORACLE in compared and sources.unlabeled_truth is not None:
        digests["truth"] = labels_digest(sources.unlabeled_truth)
    return digests | ({} if joint is None else {"joint": labels_digest(joint)})


def digest_foreign(config: ConfigDict) -> dict[str, str]:
    """Identify the files of config.foreign that labels are made of, by content; "" for one that has gone."""
    if label_source(config) == TEACHER_LABELS:
        return {}
    foreign = config.foreign
    paths = {name: read_paths(foreign[key]) for name, key in FOREIGN_INPUTS.items()}
    found = {name: [hash_content(path) for path in own] for name, own in paths.items() if own}
    return {name: ", ".join(own) if all(own) else "" for name, own in found.items()}


def load_start(config: ConfigDict, init: str) -> Variables:
    """Load the weights that a stage's init names, other than rand and teacher.

    Raises:
        InputError: there are none.
    """
    restore = functools.partial(restore_whole, which="last")
    return load_mode(
        init, backbone=config.model.backbone, pretrained_dir=config.pretrained.dir, restore=restore
    )


def start_digest(config: ConfigDict, stage: Stage) -> str:
    """Identify the weights, other than a teacher's, that a training starts from; "" if yet to be downloaded.

    Raises:
        InputError: there are none.
    """
    init = stage_settings(config, stage.kind).init
    backbone, folder = config.model.backbone, config.pretrained.dir
    if init in NAMED_MODES and find_start(backbone, init) and not find_named(init, backbone, folder):
        return ""
    return RANDOM_START if init == "rand" else digest(load_start(config, init))


def restore_stage(run: Run, folder: pathlib.Path, which: str = "") -> Variables:
    """Return a stage's variables, of the checkpoint that config.eval.checkpoint names unless told.

    Raises:
        InputError: there is no such checkpoint, or it is of another network.
    """
    template = jax.eval_shape(run.experiment.task.init, jax.random.key(0))
    return restore_variables(folder, which or run.config.eval.checkpoint, template)
