"""Threshold advice as people read it: the rows of a table, and flags to paste."""

import shlex

from selftrain_jax.run_files.calibration import CALIBRATION_FILE, TeacherCalibration
from selftrain_jax.selftrain.threshold_advice import Advice, ClassAdvice
from selftrain_jax.text import number, shorten_list

ALL_CLASSES = "all classes"


def advice_rows(calibration: TeacherCalibration, advice: Advice) -> list[list[str]]:
    """Return the head of a table and a row for each class, all classes as one at the end.

    Precision, interval and recall are at the threshold in the row, be it advised or the common one.
    """
    others = [f"at {key}" for key in list(calibration.curves)[1:]]
    trials = [] if calibration.trials == calibration.unit else [calibration.trials]
    head = ["class", "threshold", "precision", "90 % interval", *others, "recall", calibration.unit, *trials]
    classes = [*advice.classes.items(), (ALL_CLASSES, advice.pooled)]
    rows = [
        [name, *_cells(found, advice, bool(trials)), _remark(found, calibration.trials)]
        for name, found in classes
    ]
    return [[*head, ""], *rows]


def _cells(found: ClassAdvice, advice: Advice, with_trials: bool) -> list[str]:
    first, *others = found.readings.values()
    low, high = first.interval
    return [
        number(advice.common if found.threshold is None else found.threshold, 2),
        number(first.precision, 3),
        f"{low:.2f} to {high:.2f}",
        *(number(reading.precision, 3) for reading in others),
        number(first.recall, 3),
        number(first.num_labels, 0),
        *([number(first.num_trials, 0)] if with_trials else []),
    ]


def _remark(found: ClassAdvice, trials: str) -> str:
    """Say why a class has no threshold of its own, or one that does not reach the precision."""
    if found.threshold is None:
        return f"too few: {found.num_missing} {trials} missing"
    return "" if found.is_reached else "not reached, nearest"


def advice_notes(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    """Say for which classes there is no advice, and what the ignore band does."""
    notes = []
    refused = [name for name, found in advice.classes.items() if found.threshold is None]
    pooled = advice.pooled
    if refused:
        notes.append(
            f"Too few {calibration.trials} to say for {len(refused)} of {len(advice.classes)} classes, for "
            f"which config.pseudo.threshold={advice.common:g} stays: {shorten_list(refused)}. More labelled "
            f"images in {calibration.split} would tell."
        )
    if refused and pooled.is_reached:
        notes.append(
            f"All classes together reach {advice.precision:g} from {pooled.threshold:g} on: consider "
            f"--config.pseudo.threshold={pooled.threshold:g} for classes without a threshold of their own."
        )
    far = [
        name for name, found in advice.classes.items() if found.threshold is not None and not found.is_reached
    ]
    if far:
        notes.append(
            f"No score of {shorten_list(far)} surely has a precision of {advice.precision:g}: the threshold "
            "is where the lower end of the interval is highest."
        )
    if advice.ignore_below:
        notes.append(
            f"{calibration.unit.capitalize()} from {advice.ignore_below:g} to the threshold of their class "
            "are neither object nor background."
        )
    if unwritable := _unwritable(advice):
        notes.append(f"A name with a comma cannot be in a flag, only in auto: {shorten_list(unwritable)}.")
    return notes


def advice_flags(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    """Return the flags that set the advice: none where there is nothing to set."""
    unwritable = _unwritable(advice)
    pairs = [f"{name}={value:g}" for name, value in advice.thresholds.items() if name not in unwritable]
    flags = [f"--config.pseudo.per_class_thresholds={shlex.quote(','.join(pairs))}"] if pairs else []
    band = [] if calibration.ignored_below else [f"--config.pseudo.ignore_below={advice.ignore_below:g}"]
    return [*flags, *band]


def auto_flags(advice: Advice) -> list[str]:
    """Return the flags by which the student reads the advice off the teacher's calibration."""
    return ["--config.pseudo.thresholds=auto", f"--config.pseudo.precision={advice.precision:g}"]


def advice_title(calibration: TeacherCalibration, advice: Advice) -> str:
    """Say what the advice is for and what it comes from."""
    return (
        f"thresholds for a precision of {advice.precision:g}, by {calibration.num_images} images of "
        f"{calibration.split} and the teacher at step {calibration.teacher.step}"
    )


def paste_lines(calibration: TeacherCalibration, advice: Advice) -> list[str]:
    """Return the flags to paste, and those that say the same by auto, below their explanation."""
    flags = advice_flags(calibration, advice)
    if not flags:
        return ["there is nothing to set"]
    read_off = f"or, for the student to read them off teacher/{CALIBRATION_FILE}:"
    return ["to paste:", f"  {' '.join(flags)}", read_off, f"  {' '.join(auto_flags(advice))}"]


def _unwritable(advice: Advice) -> list[str]:
    return [name for name in advice.thresholds if "," in name]
