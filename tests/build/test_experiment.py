"""From the config to the training step: what the caller chooses beside the config."""

import pytest

from configs import pretrain
from selftrain_jax.build import experiment
from selftrain_jax.build.pretraining import build_pretraining
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
