"""Configs that older versions stored, in a version with more keys."""

import json

from selftrain_jax.command_line import flatten
from selftrain_jax.jobs.convert import complete_config
from selftrain_jax.stages.settings import BEFORE
from tests import tiny


def test_a_stored_config_gets_younger_keys_as_things_were_then() -> None:
    now = tiny.get_config()
    now.pseudo.update(views="1,1f", box_weight=0.5, class_target="score")
    stored = json.loads(json.dumps(tiny.get_config().to_dict()))
    younger = {key: then for key, then in BEFORE.items() if key.split(".")[0] in stored}
    assert BEFORE.keys() - younger.keys() == {"pretrain.objective"}  # of configs/pretrain.py alone
    for key in younger:
        group, name = key.split(".")
        del stored[group][name]
    del stored["log"]["tensorboard"]  # decides nothing: as it is now
    stored["pseudo"]["threshold"] = 0.9
    found = complete_config(stored, now)
    assert set(flatten(found.to_dict())) == set(flatten(now.to_dict()))
    assert {key: flatten(found.to_dict())[key] for key in younger} == younger
    assert found.pseudo.threshold == 0.9
    assert found.log.tensorboard == now.log.tensorboard
    assert now.pseudo.views == "1,1f"


def test_a_key_that_is_stored_stays() -> None:
    stored = tiny.get_config()
    stored.pseudo.views = "1,1f,0.5"
    found = complete_config(json.loads(json.dumps(stored.to_dict())), tiny.get_config())
    assert found.pseudo.views == "1,1f,0.5"
