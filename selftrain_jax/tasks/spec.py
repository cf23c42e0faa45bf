"""What the rest of the package needs to know of a task: one `TaskSpec` value each, picked by `get_task`.

A task reads the config keys that are about it; everything else is handed in. `docs/adding_a_task.md` makes
a third one.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from selftrain_jax.data.source import Problem, Source
from selftrain_jax.export.program import Network
from selftrain_jax.html.blocks import Section
from selftrain_jax.report.workdir import RunFiles
from selftrain_jax.run_files.corrections import Corrections, ReviewedImage
from selftrain_jax.run_files.evaluation import EvaluationDetails
from selftrain_jax.run_files.manifest import LabelTotals, Manifest
from selftrain_jax.selection.criteria import LabelScores
from selftrain_jax.selftrain.calibration import Counted
from selftrain_jax.selftrain.foreign.labels import ForeignLabels
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.types import Category, Example, Task, Variables

if TYPE_CHECKING:  # it imports TensorFlow
    from selftrain_jax.data.pipeline import TargetSpec


def accept(*_: Any) -> None:
    """Check nothing: values that do not fit are found where they are used."""


def keep_config(config: ConfigDict, human: Source) -> ConfigDict:
    """Fill in nothing: no value follows from the labels."""
    return config


class Metric(NamedTuple):
    """A number of an evaluation: its key in evaluation.json, its name, and a short one for table heads."""

    key: str
    name: str
    head: str


@dataclass(frozen=True)
class Predictor:
    """A task's network as the jobs use it, apart from the weights; compiled once a batch shape."""

    measure: Callable[[Variables, Source], dict[str, Any]]  # evaluates, writes nothing
    evaluate: Callable[[Variables, Source, Path], dict[str, Any]]  # writes predictions into the folder too
    # As `measure`, over config.evaluate's scales; None where that is the usual one scale.
    measure_scales: Callable[[Variables, Source], dict[str, Any]] | None
    # Of one model, or of several whose labels are merged.
    labeller: Callable[[Sequence[Variables], Source], Labeller]
    # Yields what is found in each image of a source, in its pixels, in order: labels as a record has them.
    find: Callable[[Variables, Source], Generator[Example, None, None]]


@dataclass(frozen=True)
class HumanReview:
    """How a task's pseudo labels go out to annotation tools and come back."""

    # Chooses images of finished labels and writes them for a tool; says what it wrote. Arguments as below.
    export: Callable[..., str]
    # What people changed, by a tool's file, what went out and its digest.
    read_corrections: Callable[..., Corrections]
    # The pseudo-labelled images that stay so, and those with a person's labels.
    split_reviewed: Callable[[Source, Mapping[str, ReviewedImage]], tuple[Source, Source | None]]


@dataclass(frozen=True)
class ViewChoices:
    """The ways of looking at an image that `--job=views` compares."""

    keys: tuple[str, ...]  # of the config, which say how the teacher looks
    choices: tuple[tuple[Any, ...], ...]  # their values
    # How good labels are, the headline first, from (truth, found) labels and the classes.
    measure: Callable[[Iterable[tuple[Example, Example]], Sequence[Category]], Mapping[str, float]]


class HumanLabels(NamedTuple):
    """What pseudo labels are compared with before a student learns from them."""

    categories: tuple[Category, ...]
    counts: Mapping[str, int]  # boxes or pixels by class name


@dataclass(frozen=True)
class SelfTraining:
    """What teacher, pseudo labels and student need of a task beyond training it."""

    label_totals: type[LabelTotals]  # this task's part of manifest.json
    open_predictor: Callable[[ConfigDict, Task, Mesh], Predictor]
    write_truth: Callable[[Source, Path], None]  # the test split's labels, into the run's folder
    label_settings: Callable[[ConfigDict], Mapping[str, Any]]  # what the labels depend on, for the manifest
    target_shapes: Callable[[ConfigDict, int], Any]  # of a training batch of so many images
    # An estimate: bytes that the labels of an image of (height, width) take in a record.
    label_bytes: Callable[[ConfigDict, tuple[int, int]], float]
    # How many pixels the network sees of an image to label, from the settings of a record of labels.
    label_pixels: Callable[[Mapping[str, Any]], int]
    view_choices: ViewChoices
    write_quality: Callable[..., None]  # finished labels compared with the truth; arguments as below
    # How often (truth, found) labels are right from each score on; with the labeller's settings.
    count_right: Callable[[Iterable[tuple[Example, Example]], Sequence[Category], Any], Counted]
    describe_labels: Callable[[ConfigDict, Manifest], str]
    # Other models' predictions, as config.foreign names them, on unlabelled images, on val, of these classes.
    read_foreign: Callable[[ConfigDict, Source, Source, Sequence[Category]], ForeignLabels]
    # For the student, checked against human labels: from config, folder, `HumanLabels` and, where the
    # teacher's calibration decides, the thresholds of `config_values.student_thresholds`.
    open_labels: Callable[..., Source]
    # The pictures of report.html, from config, workdir, test split, truth by image id and augmented examples.
    gather_images: Callable[..., Any]
    report_sections: Callable[[RunFiles, Any], list[Section]]
    # What labels say of an image, for --job=select; K is the highest Category.id + 1.
    score_labels: Callable[[Example, int], LabelScores]
    count_labels: Callable[[ConfigDict, Source], Mapping[str, int]]  # human boxes or pixels by class name
    # An image with its labels drawn, its longer side of so many pixels.
    draw_labels: Callable[[ConfigDict, Any, Example, tuple[Category, ...], int], Any]
    # Writes what was found in a source and drawn pictures into a folder, and says in a phrase what it was.
    write_found: Callable[[ConfigDict, Source, Iterable[Example], tuple[Category, ...], Path], str]
    # Labels of an image from what an exported network, by its outputs' names, says of it: from image id, size
    # of the image, what it covers of the input, and the results.
    read_exported: Callable[..., Example]
    # The network for other programs: from config, task of pixels and whether the best results are selected.
    export_network: Callable[..., Network]
    find_problems: Callable[[ConfigDict, str], Iterator[Problem]]  # faults in a split's label files
    examine: Callable[..., bool]  # prints and writes what the doctor finds; True where there are errors
    review: HumanReview | None = None  # None: labels of this task cannot be corrected by hand


@dataclass(frozen=True)
class TaskSpec:
    """A task on the host: its data, its network and how it is measured. Every function takes the config."""

    name: str  # config.task
    metrics: tuple[Metric, ...]  # of an evaluation, the headline first
    evaluation_details: type[EvaluationDetails]  # this task's part of evaluation.json
    data_kinds: tuple[str, ...]  # the values of config.data.kind that hold labels of this task
    check_config: Callable[[ConfigDict], None]  # refuses what does not go together, before data are opened
    # Fills in the values of the config that follow from the human labels.
    complete_config: Callable[[ConfigDict, Source], ConfigDict]
    open_split: Callable[[ConfigDict, str, str], Source]  # (config, its group: data or unlabeled, split)
    check_sources: Callable[[ConfigDict, Source, list[Source]], None]  # labelled part of train, [val, test]
    build_task: Callable[[ConfigDict, tuple[Category, ...]], Task]
    # What a training batch has beside its images, and whether some of it may be pseudo labels.
    targets: Callable[[ConfigDict, bool], "TargetSpec"]
    # Config keys, or groups of them, that this task does not read: they decide nothing of its runs.
    idle_keys: tuple[str, ...]
    self_training: SelfTraining | None  # None: the task can be trained, but has no pseudo labels
