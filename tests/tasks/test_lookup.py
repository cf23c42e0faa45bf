import dataclasses

import jax
import pytest

from selftrain_jax.build.data import build_sources, check_data_sets
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.errors import InputError
from selftrain_jax.tasks import lookup
from selftrain_jax.tasks.detection.spec import DETECTION
from selftrain_jax.tasks.lookup import TASKS, get_self_training, get_task
from selftrain_jax.tasks.spec import SelfTraining
from tests import tiny


def test_every_task_is_found_by_its_name() -> None:
    names = [task.name for task in TASKS]
    assert names == ["detection", "segmentation", "classification"]
    assert [get_task(name) for name in names] == list(TASKS)


@pytest.mark.parametrize("name", ["keypoints", "", "Detection"])
def test_name_of_no_task_lists_those_that_are(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"^config\.task='{name}' is not one of detection, segmentation, class"
    ):
        get_task(name)


def test_a_task_without_pseudo_labels_says_which_have_them_and_how_it_is_trained() -> None:
    with pytest.raises(InputError, match="expected one of detection, segmentation") as error:
        get_self_training("classification")
    assert "--job=pretrain" in str(error.value)
    assert "'classification' has no pseudo labels" in str(error.value)


def test_tasks_differ_in_every_function_that_is_about_their_labels() -> None:
    """Two tasks that share one would be a task that was copied and not finished."""
    first, second = (get_self_training(name) for name in ("detection", "segmentation"))
    shared = [
        field.name
        for field in dataclasses.fields(SelfTraining)
        if getattr(first, field.name) is getattr(second, field.name)
    ]
    assert not shared


def test_scores_of_a_task_are_those_that_its_evaluation_reads() -> None:
    for task in TASKS:
        assert set(task.evaluation_details.score_names) == {metric.key for metric in task.metrics}


def test_a_task_in_the_list_reaches_data_and_network_by_its_name_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing else knows the names of tasks: a line in TASKS is enough."""
    opened = []

    def open_split(config, group, split):
        opened.append((group, split))
        return DETECTION.open_split(config, group, split)

    added = dataclasses.replace(DETECTION, name="keypoints", open_split=open_split)
    monkeypatch.setattr(lookup, "TASKS", (*TASKS, added))
    config = tiny.get_config()
    config.task = "keypoints"
    check_data_sets(config)
    sources = build_sources(config)
    assert {("data", "train"), ("data", "val"), ("data", "test")} <= set(opened)
    state = jax.eval_shape(build_experiment(config, sources.human.categories).new_state)
    assert "class_net" in state.variables["params"]
    assert get_self_training("keypoints") is DETECTION.self_training
