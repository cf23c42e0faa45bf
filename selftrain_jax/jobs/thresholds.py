"""`--job=thresholds`: which scores make labels of a wanted precision, by class; call `run_thresholds`."""

import shlex
from collections.abc import Sequence

from selftrain_jax import hosts
from selftrain_jax.jobs.calibration import calibrate
from selftrain_jax.jobs.selftrain import Run, restore_teacher
from selftrain_jax.run_files.calibration import CALIBRATION_FILE, TeacherCalibration
from selftrain_jax.selftrain.threshold_advice import Advice, ClassAdvice, Reading, advise
from selftrain_jax.tasks.config_values import check_advice_keys
from selftrain_jax.text import number, shorten_list
from selftrain_jax.train.checkpoint import find_step

MAX_NAME = 20  # letters of a class in the table


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
    advice = advise(calibration, pseudo.precision, pseudo.threshold)
    hosts.log("\n".join([*format_table(calibration, advice), *format_flags(calibration, advice)]))


def format_table(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    """Return the advice as the lines of a table, one a class."""
    judged = list(calibration.curves)
    more = [f"at {key}" for key in judged[1:]]
    head = ["class", "threshold", "precision", "90 % interval", *more, "recall", calibration.unit]
    trials = [] if calibration.trials == calibration.unit else [calibration.trials]
    rows = [[*head, *trials, ""]]
    for name, found in [*advice.classes.items(), ("all classes", advice.pooled)]:
        first, *others = found.readings.values()
        rows.append(
            [
                name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…",
                number(advice.common if found.threshold is None else found.threshold, 2),
                *_precision_cells(first),
                *(number(reading.precision, 3) for reading in others),
                number(first.recall, 3),
                f"{first.num_labels:,}",
                *([f"{first.num_trials:,}"] if trials else []),
                remark(found, advice, calibration.trials),
            ]
        )
    title = (
        f"thresholds for a precision of {advice.precision:g}, by {calibration.num_images} images of "
        f"{calibration.split} and the teacher at step {calibration.teacher.step}"
    )
    return [title, *_align(rows)]


def remark(found: ClassAdvice, advice: Advice, trials: str) -> str:
    """Say why a class has no threshold of its own, or one that does not reach the precision."""
    if found.threshold is None:
        return f"too few to say: at least {found.num_missing} more {trials} are missing; the common one stays"
    return "" if found.is_reached else f"{advice.precision:g} is not surely reached; this is the nearest"


def format_flags(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    """Return the flags that set the advice, after what it does not cover."""
    unwritable = [name for name in advice.thresholds if "," in name]
    pairs = [f"{name}={value:g}" for name, value in advice.thresholds.items() if name not in unwritable]
    flags = [f"--config.pseudo.per_class_thresholds={shlex.quote(','.join(pairs))}"] if pairs else []
    if not calibration.ignored_below:
        flags.append(f"--config.pseudo.ignore_below={advice.ignore_below:g}")
    lines = [*_describe_refused(calibration, advice), *_describe_band(calibration, advice)]
    if unwritable:
        lines.append(f"a name with a comma cannot be in a flag, only in auto: {shorten_list(unwritable)}")
    if not flags:
        return [*lines, "there is nothing to set"]
    auto = f"--config.pseudo.thresholds=auto --config.pseudo.precision={advice.precision:g}"
    read_off = f"or, for the student to read them off teacher/{CALIBRATION_FILE}:"
    return [*lines, "to paste:", f"  {' '.join(flags)}", read_off, f"  {auto}"]


def _describe_refused(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    refused = [name for name, found in advice.classes.items() if found.threshold is None]
    if not refused:
        return []
    line = (
        f"config.pseudo.threshold={advice.common:g} stays for {len(refused)} of {len(advice.classes)} "
        f"classes: {shorten_list(refused)}. More labelled images in {calibration.split} would tell."
    )
    pooled = advice.pooled
    if not pooled.is_reached:
        return [line]
    return [
        line,
        f"All classes together are so precise from {pooled.threshold:g} on, which as the common one is "
        f"--config.pseudo.threshold={pooled.threshold:g}",
    ]


def _describe_band(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    if not advice.ignore_below:
        return []
    unit, low = calibration.unit, advice.ignore_below
    return [f"{unit} from {low:g} to the threshold of their class: neither object nor background"]


def _precision_cells(reading: Reading) -> tuple[str, str]:
    low, high = reading.interval
    return number(reading.precision, 3), f"{low:.2f} to {high:.2f}"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
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
