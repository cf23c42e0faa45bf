"""`--job=thresholds`: which scores make labels of a wanted precision, by class; call `run_thresholds`."""

from collections.abc import Sequence

from selftrain_jax import hosts
from selftrain_jax.jobs.calibration import calibrate
from selftrain_jax.jobs.run import Run
from selftrain_jax.jobs.training import begin_inputs, restore_labellers
from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.selftrain.advice_words import advice_notes, advice_rows, advice_title, paste_lines
from selftrain_jax.selftrain.rare_classes import describe_unfound, find_unfound
from selftrain_jax.selftrain.threshold_advice import Advice, advise
from selftrain_jax.stages.graph import Stage, teacher_of
from selftrain_jax.tasks.config_values import (
    LabelThresholds,
    check_advice_keys,
    reads_calibration,
    score_thresholds,
    student_thresholds,
)
from selftrain_jax.train.checkpoint import find_step
from selftrain_jax.types import Variables

MAX_CELL = 20  # letters of a class's name in the table


def run_thresholds(run: Run, labels: Stage) -> None:
    """Print the advised thresholds for config.pseudo.precision, and the flags that set them.

    They are for the labels of a round, whose teacher is measured.

    Raises:
        InputError: the teacher is not finished, or data.val cannot serve.
    """
    check_advice_keys(run.config)
    begin_inputs(run, labels)
    calibration = calibrate_teacher(run, labels, restore_labellers(run, labels), replace=True)
    pseudo = run.config.pseudo
    hosts.log(format_advice(calibration, advise(calibration, pseudo.precision, pseudo.threshold)))


def label_thresholds(run: Run, labels: Stage, models: Sequence[Variables]) -> LabelThresholds:
    """Return the thresholds of a round's labels; where they depend on it, its teacher is measured.

    Logs which classes are ignored.

    Raises:
        InputError: data.val cannot serve, or the calibration in the folder is of something else.
    """
    if not reads_calibration(run.config):
        return student_thresholds(run.config)
    calibration = calibrate_teacher(run, labels, models, replace=False)
    chosen, pseudo = student_thresholds(run.config, calibration), run.config.pseudo
    if pseudo.min_class_recall:
        per_class, bound = score_thresholds(run.config, calibration).per_class, pseudo.min_class_recall
        unfound = find_unfound(calibration, per_class, pseudo.threshold, bound)
        for line in describe_unfound(calibration, unfound, bound):
            hosts.log(f"{labels.folder}: {line}")
    return chosen


def calibrate_teacher(
    run: Run, labels: Stage, models: Sequence[Variables], *, replace: bool
) -> TeacherCalibration:
    """Measure, once, how right a round's teacher, or what labels in its place, is on val (`calibrate`)."""
    folder = run.workdir / teacher_of(labels).folder
    return calibrate(
        run.config,
        folder,
        val=run.sources.val,
        self_training=run.self_training,
        predictor=run.predictor,
        teacher=(models, find_step(folder, run.config.eval.checkpoint)),
        replace=replace,
    )


def format_advice(calibration: TeacherCalibration, advice: Advice) -> str:
    """Return the advice as text for a terminal: a table, what it does not cover, and flags to paste."""
    table = align([[_shorten(row[0]), *row[1:]] for row in advice_rows(calibration, advice)])
    return "\n".join(
        [
            advice_title(calibration, advice),
            *table,
            *advice_notes(calibration, advice),
            *paste_lines(calibration, advice),
        ]
    )


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Put cells below each other, the first and the last column at the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if index in (0, last) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_CELL else f"{name[: MAX_CELL - 1]}…"
