"""The words of `--job=plan`: its stages, and the command that it ends with."""

import pytest

from selftrain_jax.jobs.plan_states import DONE, REFUSED, STALE, PlannedStage
from selftrain_jax.jobs.plan_text import describe_command, format_images_to_label, make_command
from selftrain_jax.stages.graph import TEACHER, Stage
from selftrain_jax.stages.records import Difference
from selftrain_jax.tasks.lookup import get_task
from tests import tiny

MAIN = "somewhere/selftrain_jax/main.py"
WAYS = {
    ("--job=plan", "--config=a.py"): "--config=a.py",
    ("--job", "plan", "--config", "a.py"): "--config a.py",
    ("-job=plan", "--measure", "--config=a.py:seed=1"): "--config=a.py:seed=1",
    ("--nomeasure", "--workdir=a b", "--job=plan"): "'--workdir=a b'",
    ("--config.job=1", "--job=plan"): "--config.job=1",
}


@pytest.mark.parametrize("words", WAYS)
def test_command_is_the_one_that_was_typed_without_the_plan(words: tuple[str, ...]) -> None:
    assert make_command([MAIN, *words]) == f"python -m selftrain_jax.main {WAYS[words]}"
    assert make_command(["/bin/selftrain", *words]) == f"selftrain {WAYS[words]}"


def test_refused_command_gets_the_ways_out() -> None:
    differing = [Difference("config.seed", 0, 1)]
    planned = [
        PlannedStage(TEACHER, REFUSED, total=6, differences=differing),
        PlannedStage(Stage("labels"), STALE, total=12),
    ]
    text = "\n".join(describe_command(planned, [MAIN, "--config=a.py", "--variant=b", "--job=plan"]))
    assert "main --config=a.py --variant=NAME" in text
    assert "teacher, pseudo_labels moved aside" in text
    assert "main --config=a.py --variant=b --redo=teacher" in text


def test_evaluation_that_was_made_otherwise_is_made_again_alone() -> None:
    differing = [Difference("config.eval.backend", "auto", "pycocotools")]
    planned = [PlannedStage(TEACHER, REFUSED, done=6, total=6, differences=differing)]
    text = "\n".join(describe_command(planned, [MAIN, "--config=a.py"]))
    assert "the evaluations moved aside" in text
    assert "--redo=evaluation" in text


def test_finished_run_is_neither_started_nor_resumed() -> None:
    planned = [PlannedStage(TEACHER, DONE, done=6, total=6)]
    assert describe_command(planned, [MAIN])[0] == "all stages are done; again:"


@pytest.mark.parametrize(
    ("task", "views", "images"),
    [
        ("detection", "1", "12 images"),
        ("detection", "1,1f,0.75", "12 images in views 1,1f,0.75"),
        ("segmentation", "1,1f,0.75", "12 images"),
    ],
)
def test_labels_over_views_name_them(task: str, views: str, images: str) -> None:
    config = tiny.get_config()
    config.pseudo.views = views
    assert format_images_to_label(config, get_task(task).idle_keys, 12) == images
