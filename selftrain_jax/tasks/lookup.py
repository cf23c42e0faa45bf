"""The tasks there are; `get_task` picks one by its name. A new task adds its line to `TASKS`."""

from selftrain_jax.errors import InputError
from selftrain_jax.tasks.classification.spec import CLASSIFICATION
from selftrain_jax.tasks.detection.spec import DETECTION
from selftrain_jax.tasks.segmentation.spec import SEGMENTATION
from selftrain_jax.tasks.spec import SelfTraining, TaskSpec

TASKS = (DETECTION, SEGMENTATION, CLASSIFICATION)


def get_task(name: str) -> TaskSpec:
    """Return the task called `name`, the value of config.task.

    Raises:
        InputError: there is none of that name.
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise InputError(f"config.task={name!r} is not one of {', '.join(task.name for task in TASKS)}")


def get_self_training(name: str) -> SelfTraining:
    """Return what teacher, labels and student need of the task called `name`.

    Raises:
        InputError: there is no such task, or it has no pseudo labels.
    """
    found = get_task(name).self_training
    if found is None:
        able = ", ".join(task.name for task in TASKS if task.self_training is not None)
        raise InputError(
            f"config.task={name!r} has no pseudo labels; expected one of {able}. Classifiers are trained by "
            "--job=pretrain, with configs/pretrain.py."
        )
    return found
