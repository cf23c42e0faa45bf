"""`--job=thresholds`: which scores make labels of a wanted precision, by class; call `run_thresholds`."""

from collections.abc import Sequence

from selftrain_jax import hosts
from selftrain_jax.jobs.calibration import calibrate
from selftrain_jax.jobs.selftrain import Run, restore_teacher
from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.selftrain.advice_words import advice_notes, advice_rows, advice_title, paste_lines
from selftrain_jax.selftrain.threshold_advice import Advice, advise
from selftrain_jax.tasks.config_values import check_advice_keys
from selftrain_jax.train.checkpoint import find_step

MAX_CELL = 20  # letters of a class's name in the table


def run_thresholds(run: Run) -> None:
    """Print the advised thresholds for config.pseudo.precision, and the flags that set them.

    Raises:
        InputError: the teacher is not finished, or data.val cannot serve.
    """
    check_advice_keys(run.config)
    variables = restore_teacher(run)
    calibration = calibrate(
        run.config,
        run.workdir,
        val=run.sources.val,
        self_training=run.self_training,
        predictor=run.predictor,
        teacher=(variables, find_step(run.workdir / "teacher", run.config.eval.checkpoint)),
        replace=True,
    )
    pseudo = run.config.pseudo
    hosts.log(format_advice(calibration, advise(calibration, pseudo.precision, pseudo.threshold)))


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
