"""From the config to the training step: what the caller chooses beside the config."""

import pytest

from configs import pretrain
from selftrain_jax.build import experiment
from selftrain_jax.build.pretraining import build_pretraining
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category
from tests import tiny_masks

CATEGORIES = (Category(1, "a"), Category(2, "b"))


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the training step is made with."""
    seen: dict = {}
    make = experiment.make_train_step
    monkeypatch.setattr(
        experiment, "make_train_step", lambda *args, **options: seen.update(options) or make(*args, **options)
    )
    return seen


@pytest.mark.parametrize("chosen", [{}, {"ema_ramp": True}, {"ema_ramp": False}])
def test_average_of_weights_rises_unless_the_caller_resumes_an_older_stage(options: dict, chosen) -> None:
    config = tiny_masks.get_config()
    config.optimizer.ema_decay = 0.9998
    experiment.build_experiment(config, CATEGORIES, **chosen)
    assert (options["ema_decay"], options["ema_ramp"]) == (0.9998, chosen.get("ema_ramp", True))
    options.clear()
    build_pretraining(pretrain.get_config("network=resnet18,size=32,batch=16,steps=9"), CATEGORIES, **chosen)
    assert options["ema_ramp"] == chosen.get("ema_ramp", True)


@pytest.mark.parametrize(("factor", "peak"), [(0.0, 0.02), (0.5, 0.04), (2.0, 0.16)])
def test_student_and_control_follow_the_teachers_rate_by_a_factor(factor: float, peak: float) -> None:
    config = tiny_masks.get_config()
    config.teacher.learning_rate, config.student.learning_rate = 0.08, 0.02
    config.student.rate_factor = factor
    for stage, expected in (("teacher", 0.08), ("control", peak), ("student", peak)):
        schedule, _ = experiment.build_schedule(config, stage)
        assert schedule(config.optimizer.warmup_steps) == pytest.approx(expected)
    lines = experiment.describe_rate(config)
    assert bool(lines) == bool(factor)
    assert all(f"peak learning rate {peak:g}, the teacher's 0.08 x {factor:g}" in line for line in lines)
    assert all("config.student.learning_rate=0.02 is not used" in line for line in lines)


@pytest.mark.parametrize("factor", [-0.5, float("nan"), float("inf")])
def test_a_factor_that_makes_no_rate_is_refused(factor: float) -> None:
    config = tiny_masks.get_config()
    config.student.rate_factor = factor
    with pytest.raises(InputError, match=r"config\.student\.rate_factor=.*: expected above 0"):
        experiment.build_schedule(config, "student")


def test_the_rate_stays_at_its_peak_with_the_constant_schedule() -> None:
    config = tiny_masks.get_config()
    config.optimizer.update(schedule="constant", warmup_steps=2, warmup_start_frac=0.5)
    config.student.update(steps=6, learning_rate=0.2)
    schedule, num_steps = experiment.build_schedule(config, "control")
    assert ([schedule(step) for step in range(num_steps)], num_steps) == (
        pytest.approx([0.1, 0.15, 0.2, 0.2, 0.2, 0.2]),
        6,
    )
    config.optimizer.schedule = "linear"
    with pytest.raises(InputError, match="'linear' is not one of cosine, step, constant"):
        experiment.build_schedule(config, "control")


@pytest.mark.parametrize(
    ("group", "patience", "every", "words"),
    [
        (
            "teacher",
            3,
            0,
            "config.teacher.patience=3, but config.eval.every_steps=0: val is measured only after",
        ),
        ("student", 1, 0, "set config.eval.every_steps .*, or config.student.patience=0"),
        ("student", -1, 5, "config.student.patience=-1; expected a number of evaluations, or 0: all steps"),
    ],
)
def test_a_patience_that_cannot_be_is_refused(group: str, patience: int, every: int, words: str) -> None:
    config = tiny_masks.get_config()
    config.eval.every_steps = every
    config[group].patience = patience
    with pytest.raises(InputError, match=words):
        experiment.check_patience(config)
    config[group].patience = 0
    experiment.check_patience(config)
