"""What config values come to in a stage: its rate, statistics, second loss, and which stages there are.

`settings.py` says which of them decide a stage's result.
"""

import math

from ml_collections import ConfigDict

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.arms import COMPARED, CONTROLS, ORACLE

# What config.student.control asks for; once it was true or false, which configs and commands may still say.
CONTROL_CHOICES = {"full": CONTROLS[:1], "half": CONTROLS[1:], "both": CONTROLS, "none": ()}
OLD_CONTROLS = {"true": "full", "t": "full", "1": "full", "false": "none", "f": "none", "0": "none"}
BATCH_NORMS = ("batch", "human", "frozen")
TEACHER_LABELS, FOREIGN_LABELS, BOTH_LABELS = LABEL_SOURCES = ("teacher", "foreign", "both")


def peak_rate(config: ConfigDict, stage: str) -> float:
    """Return a training's learning rate after the warm-up; student and control may follow the teacher's.

    With config.student.rate_factor > 0 it is teacher.learning_rate * rate_factor.

    Raises:
        InputError: the factor is negative or not a number.
    """
    factor = config.student.rate_factor
    if not 0 <= factor < math.inf:
        raise InputError(
            f"config.student.rate_factor={factor:g}: expected above 0, the student's learning rate as a "
            "multiple of the teacher's (0.5: half of it), or 0 for config.student.learning_rate"
        )
    if stage == "teacher":
        return config.teacher.learning_rate
    return config.teacher.learning_rate * factor if factor else config.student.learning_rate


def batch_norm_of(config: ConfigDict, stage: str) -> str:
    """Return where BatchNorm's statistics come from in a training: batch, human or frozen.

    Without pseudo-labelled images, in all stages but the student, "human" is the same as "batch".

    Raises:
        InputError: config.student.batch_norm is none of them.
    """
    source = config.student.batch_norm
    if source not in BATCH_NORMS:
        raise InputError(f"config.student.batch_norm={source!r} is not one of {', '.join(BATCH_NORMS)}")
    if stage == "student" or (stage in COMPARED and source == "frozen"):
        return source
    return "batch"


def label_source(config: ConfigDict) -> str:
    """Return whose labels the student learns from: the teacher's, other models', or both merged.

    Raises:
        InputError: config.pseudo.labels is none of them.
    """
    source = config.pseudo.get("labels", TEACHER_LABELS)  # a config.json of an older version lacks it
    if source not in LABEL_SOURCES:
        raise InputError(f"config.pseudo.labels={source!r} is not one of {', '.join(LABEL_SOURCES)}")
    return source


def has_joint_training(config: ConfigDict, stage: str) -> bool:
    """Tell whether a stage also classifies whole images; what is compared is treated as the student.

    Raises:
        InputError: config.joint.stage is none of teacher, student and both.
    """
    stages: dict[str, tuple[str, ...]] = {"teacher": ("teacher",), "student": (*COMPARED, "student")}
    stages["both"] = (*stages["teacher"], *stages["student"])
    if config.joint.stage not in stages:
        raise InputError(f"config.joint.stage={config.joint.stage!r} is not one of {', '.join(stages)}")
    return config.joint.weight > 0 and stage in stages[config.joint.stage]


def compared_kinds(config: ConfigDict) -> tuple[str, ...]:
    """Return the stages beside the student that the config asks for: controls, then the oracle.

    A config.json of an older version may lack the keys.

    Raises:
        InputError: config.student.control does not exist.
    """
    asked = str(config.student.get("control", "full"))
    asked = OLD_CONTROLS.get(asked.lower(), asked)
    if asked not in CONTROL_CHOICES:
        raise InputError(f"config.student.control={asked!r} is not one of {', '.join(CONTROL_CHOICES)}")
    return (*CONTROL_CHOICES[asked], *([ORACLE] if config.student.get("oracle", False) else []))
