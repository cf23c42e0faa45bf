"""What the plan knows of the networks is what their configs say, and the size of their states."""

import jax
import pytest

from configs import paper
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.paper.plan.data_sets import SOURCES
from selftrain_jax.paper.plan.graph import build_graph, network_of
from selftrain_jax.paper.plan.networks import CHECKPOINTS, FACTS, JOINT_BATCH, JOINT_SIZE_PX, joint_share
from selftrain_jax.paper.rows import ROWS, rows
from selftrain_jax.plan.disk import count_checkpoint_bytes, count_checkpoints
from selftrain_jax.types import Category

CLASSES = {"detection": range(1, 91), "segmentation": range(21)}
FIRST_ROWS = {network_of(run.result): run.row for run in reversed(build_graph(ROWS).runs)}


def config_of(row):
    return paper.get_config(f"table={row.table},row={row.row}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.table}-{row.row}")
def test_batches_are_the_configs(row) -> None:
    config, facts = config_of(row), FACTS[network_of(build_graph([row]).runs[0].result)]
    assert facts.teacher_batch == config.teacher.batch_size
    if row.unlabeled:
        assert facts.student_batch == config.student.batch_size
        assert row.unlabeled in SOURCES
    if row.task == "segmentation":
        assert facts.label_views == sum(scale**2 for scale in config.pseudo.scales) == 8.6875
    else:
        assert facts.label_views == 1


def test_joint_training_is_the_configs() -> None:
    config = config_of(rows("7")[2])
    assert (config.joint.batch_size, config.joint.size_px) == (JOINT_BATCH, JOINT_SIZE_PX)
    assert joint_share(network_of(build_graph([rows("7")[2]]).runs[0].result)) == pytest.approx(31.36)


def test_a_training_holds_as_many_checkpoints_as_its_own_plan_says() -> None:
    for row in FIRST_ROWS.values():
        config = config_of(row)
        own, has_best = config.checkpoint, config.eval.every_steps > 0
        steps = config.teacher.steps
        assert count_checkpoints(steps, own.every_steps, own.keep, has_best=has_best) == CHECKPOINTS


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, marks=[] if network.backbone == "resnet50" else pytest.mark.slow)
        for network in FACTS
    ],
    ids=lambda network: f"{network.task}-{network.backbone}",
)
def test_a_checkpoint_has_the_size_of_the_state(network) -> None:
    config = config_of(FIRST_ROWS[network])
    config.teacher.init = "rand"
    categories = tuple(Category(number, str(number)) for number in CLASSES[network.task])
    state = jax.eval_shape(build_experiment(config, categories).new_state)
    assert count_checkpoint_bytes(state) == FACTS[network].checkpoint_bytes
