"""Config values that several tasks write as text: folders, class names, thresholds by class."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax.data.image_files import is_file, unpack_command
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.selftrain.checks import SourceThresholds, parse_class_thresholds
from selftrain_jax.selftrain.rare_classes import NEVER, find_unfound
from selftrain_jax.selftrain.threshold_advice import advise
from selftrain_jax.unlabeled_sources import GROUP, PSEUDO, further_sources

AUTO = "auto"


class LabelThresholds(NamedTuple):
    """From which scores on pseudo labels are labels, beside the common config.pseudo.threshold."""

    per_class: Mapping[str, float]  # by class name
    ignore_below: float  # boxes from here to the threshold are neither object nor background; 0: no band
    ignored: tuple[str, ...] = ()  # classes whose labels of any score are so; their threshold is 1


def require_dir(text: str, key: str, what: str) -> pathlib.Path:
    """Return the folder that a key names.

    Raises:
        InputError: the key is empty, which as a path would be the working directory; or it names an archive.
    """
    if not text.strip():
        raise InputError(f"{key} is empty; name the folder of {what}, as --{key}=FOLDER")
    path = pathlib.Path(text)
    remedy = unpack_command(path) if is_file(path) else ""
    if remedy:
        raise InputError(f"{key}={text} is an archive; expected a folder. Unpack it: {remedy}")
    return path


def split_names(config: ConfigDict) -> tuple[str, ...]:
    """Name the splits of the data set that are opened; the one to train on is first."""
    data = config.data
    if data.split:
        return (data.train,)
    # Where a gold set is measured the data set needs no test split.
    names = (data.train, data.val) if data.gold else (data.train, data.val, data.test)
    return tuple(dict.fromkeys(names))


def measured_names(config: ConfigDict) -> tuple[str, str]:
    """Name val and test for messages: by their splits, unless they are no splits of the data set."""
    data = config.data
    val, test = ("val", "test") if data.split else (data.val, data.test)
    return val, "gold" if data.gold else test


def class_names(config: ConfigDict) -> tuple[str, ...]:
    """Return the names in config.data.classes, in order; none stands for all that occur."""
    return tuple(filter(None, config.data.classes.split(",")))


def class_thresholds_by_name(config: ConfigDict) -> dict[str, float]:
    """Read config.pseudo.per_class_thresholds, "person=0.4,car=0.6".

    Raises:
        InputError: it does not have that form, or config.pseudo.thresholds=auto contradicts it.
    """
    key = "config.pseudo.per_class_thresholds"
    check_advice_keys(config)
    return parse_class_thresholds(config.pseudo.per_class_thresholds, key)


def own_thresholds(config: ConfigDict, name: str) -> SourceThresholds:
    """Return the thresholds that a further source has of its own, beside those of config.pseudo.

    Raises:
        InputError: its per_class_thresholds do not have the form person=0.4,car=0.6.
    """
    group = further_sources(config)[name]
    key = f"config.{GROUP}.{name}.per_class_thresholds"
    threshold = config.pseudo.threshold if group.threshold == PSEUDO else group.threshold
    return SourceThresholds(threshold, parse_class_thresholds(group.per_class_thresholds, key))


def source_thresholds(config: ConfigDict, chosen: LabelThresholds) -> dict[str, SourceThresholds]:
    """Return the thresholds of each further source by name, where the first one's are `chosen`.

    Ignored classes are so in all of them. Raises: InputError, as `own_thresholds`.
    """
    found = {}
    for name, group in further_sources(config).items():
        own = own_thresholds(config, name)
        common = chosen.per_class if group.threshold == PSEUDO else {}
        ignored = dict.fromkeys(chosen.ignored, NEVER)
        found[name] = own._replace(per_class={**common, **own.per_class, **ignored})
    return found


def check_advice_keys(config: ConfigDict) -> None:
    """Check config.pseudo.thresholds, config.pseudo.precision and config.pseudo.min_class_recall.

    Raises:
        InputError: a value that does not exist, auto beside per_class_thresholds, or what needs images that
            the teacher does not train on, without any.
    """
    pseudo, data = config.pseudo, config.data
    if pseudo.thresholds not in ("", AUTO):
        raise InputError(
            f"config.pseudo.thresholds={pseudo.thresholds!r} is neither empty nor {AUTO}; scores by class go "
            "into config.pseudo.per_class_thresholds"
        )
    if not 0 < pseudo.precision < 1:
        raise InputError(
            f"config.pseudo.precision={pseudo.precision:g} is the wanted share of right labels; expected "
            "above 0 and below 1, such as 0.9"
        )
    if not 0 <= pseudo.min_class_recall <= 1:
        raise InputError(
            f"config.pseudo.min_class_recall={pseudo.min_class_recall:g} is the share of a class's labels "
            "that the teacher must find; expected 0 (no class is ignored) to 1, such as 0.1"
        )
    if pseudo.thresholds == AUTO and pseudo.per_class_thresholds:
        raise InputError(
            f"config.pseudo.thresholds={AUTO} and "
            f"config.pseudo.per_class_thresholds={pseudo.per_class_thresholds!r} contradict each other; "
            "leave one of them empty"
        )
    if reads_calibration(config) and data.val == data.train:
        is_auto = pseudo.thresholds == AUTO
        key = f"thresholds={AUTO}" if is_auto else f"min_class_recall={pseudo.min_class_recall:g}"
        raise InputError(
            f"config.pseudo.{key} needs labelled images that the teacher does not train on, but "
            f"config.data.val={data.val!r} is config.data.train too. Name another split as config.data.val, "
            f"or set config.pseudo.{'threshold yourself' if is_auto else 'min_class_recall=0'}."
        )


def reads_calibration(config: ConfigDict) -> bool:
    """Tell whether the student's labels depend on how right the teacher is on data.val."""
    pseudo = config.pseudo  # of a report, it may be of a version without the key
    return pseudo.thresholds == AUTO or pseudo.get("min_class_recall", 0.0) > 0


def student_thresholds(config: ConfigDict, calibration: TeacherCalibration | None = None) -> LabelThresholds:
    """Return the thresholds of the student's labels: those of the config or, with auto, the advised ones.

    With auto, config.pseudo.ignore_below gives way to the advice as well. With config.pseudo.min_class_recall
    the classes that the teacher hardly finds are ignored.

    Raises:
        InputError: the keys contradict each other, the teacher's calibration is needed and not there, or it
            finds no class.
    """
    chosen, pseudo = score_thresholds(config, calibration), config.pseudo
    if not pseudo.min_class_recall:
        return chosen
    assert calibration is not None
    unfound = find_unfound(calibration, chosen.per_class, pseudo.threshold, pseudo.min_class_recall)
    ignored = tuple(sorted(name for name, _ in unfound))
    if len(ignored) == len(next(iter(calibration.curves.values()))):
        best = max(unfound, key=lambda found: found.recall)
        raise InputError(
            f"config.pseudo.min_class_recall={pseudo.min_class_recall:g}: in {calibration.split} the teacher "
            f"finds no class that often; the best is {best.name!r} with a recall of {best.recall:.2f} at its "
            "threshold. Lower min_class_recall or config.pseudo.threshold, or train the teacher longer."
        )
    return chosen._replace(per_class={**chosen.per_class, **dict.fromkeys(ignored, NEVER)}, ignored=ignored)


def score_thresholds(config: ConfigDict, calibration: TeacherCalibration | None) -> LabelThresholds:
    """Return the thresholds of all classes, those included that are to be ignored.

    Raises:
        InputError: the keys contradict each other, or the teacher's calibration is needed and not there.
    """
    per_class, pseudo = class_thresholds_by_name(config), config.pseudo
    if reads_calibration(config) and calibration is None:
        is_auto = pseudo.thresholds == AUTO
        key = f"thresholds={AUTO}" if is_auto else f"min_class_recall={pseudo.min_class_recall:g}"
        raise InputError(
            f"config.pseudo.{key} needs the teacher's calibration, which is not there yet; run "
            "--job=thresholds first, or the default job, which does all in order"
        )
    if pseudo.thresholds != AUTO or calibration is None:
        return LabelThresholds(per_class, pseudo.ignore_below)
    advice = advise(calibration, pseudo.precision, pseudo.threshold)
    return LabelThresholds(advice.thresholds, advice.ignore_below)
