"""config.optimizer comes to the optimizer that it names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.build.optimizer import build_optimizer, check_frozen
from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.init_modes import InitReport
from selftrain_jax.train.lars import lars
from selftrain_jax.train.optimizer import adamw, momentum_sgd
from selftrain_jax.types import Category
from tests import tiny_masks

CATEGORIES = (Category(1, "a"), Category(2, "b"))
LAYER = {"kernel": jnp.array([2.0, -1.0])}
PARAMS = {"backbone": {"stem": LAYER, "block0": LAYER}, "head": LAYER}


def settings(**changes):
    optimizer = tiny_masks.get_config().optimizer
    optimizer.update(clip_norm=1.5, weight_decay=0.25, **changes)
    return optimizer


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"momentum": 0.5}, momentum_sgd(momentum=0.5, weight_decay=0.25, clip_norm=1.5)),
        (
            {"momentum": 0.5, "backbone_rate_factor": 0.5, "layer_decay": 0.5},
            momentum_sgd(
                momentum=0.5, weight_decay=0.25, clip_norm=1.5, backbone_factor=0.5, layer_decay=0.5
            ),
        ),
        (
            {"name": "adamw", "b1": 0.5, "b2": 0.75, "epsilon": 0.1, "layer_decay": 0.25},
            adamw(b1=0.5, b2=0.75, epsilon=0.1, weight_decay=0.25, clip_norm=1.5, layer_decay=0.25),
        ),
        (
            {"name": "lars", "momentum": 0.5, "trust_coefficient": 0.1, "backbone_rate_factor": 0.5},
            lars(momentum=0.5, trust_coefficient=0.1, weight_decay=0.25, clip_norm=1.5, backbone_factor=0.5),
        ),
    ],
)
def test_two_updates_are_those_of_the_named_optimizer(changes, expected):
    found = build_optimizer(settings(**changes))
    states = [tx.init(PARAMS) for tx in (found, expected)]
    for grads in (PARAMS, jax.tree.map(lambda x: x - 1, PARAMS)):
        (ours, states[0]), (theirs, states[1]) = (
            tx.update(grads, state, PARAMS) for tx, state in zip((found, expected), states, strict=True)
        )
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("name", ["momentum", "adamw", "lars"])
def test_a_frozen_backbone_has_no_updates_and_the_head_those_of_itself_alone(name):
    frozen = build_optimizer(
        settings(name=name, freeze_backbone=True, backbone_rate_factor=0.1, layer_decay=0.5)
    )
    alone = build_optimizer(settings(name=name))
    updates, _ = frozen.update(PARAMS, frozen.init(PARAMS), PARAMS)
    head = {"head": LAYER}
    expected, _ = alone.update(head, alone.init(head), head)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(updates["backbone"]))
    np.testing.assert_array_equal(updates["head"]["kernel"], expected["head"]["kernel"])


@pytest.mark.compiles
def test_a_frozen_backbone_has_no_state_in_an_experiment():
    config = tiny_masks.get_config()
    config.optimizer.update(name="adamw", freeze_backbone=True)
    state = jax.eval_shape(build_experiment(config, CATEGORIES).new_state)
    moments = [path for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)]
    assert "backbone" in state.variables["params"]
    assert not [path for path in moments if "backbone" in str(path)]
    assert [path for path in moments if "fpn" in str(path)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "sgd"}, "config.optimizer.name='sgd' is not one of momentum, adamw, lars"),
        ({"name": "adamw", "b2": 1.0}, r"config\.optimizer\.b2=1 "),
        ({"layer_decay": 0.0}, r"config\.optimizer\.layer_decay=0 "),
        ({"backbone_rate_factor": -1.0}, r"config\.optimizer\.backbone_rate_factor=-1 "),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_computed(changes, message):
    config = tiny_masks.get_config()
    config.optimizer.update(changes)
    with pytest.raises(InputError, match=message):
        build_experiment(config, CATEGORIES)


def test_a_backbone_is_not_frozen_at_random():
    config = tiny_masks.get_config()
    random, loaded = InitReport("", {}, {"backbone": 3}), InitReport("imagenet", {"backbone": 3}, {"fpn": 2})
    check_frozen(config, "teacher", random)
    config.optimizer.freeze_backbone = True
    check_frozen(config, "teacher", loaded)
    with pytest.raises(InputError, match=r"starts with, which is random.*--config\.teacher\.init=imagenet"):
        check_frozen(config, "teacher", random)
