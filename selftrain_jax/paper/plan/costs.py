"""What the stages of a graph take: images, device-hours, disk, money; call `count_costs`."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.paper.plan.data_sets import SOURCES
from selftrain_jax.paper.plan.graph import Labels, Stage, Student, Teacher, network_of
from selftrain_jax.paper.plan.networks import CHECKPOINTS, FACTS, NetworkFacts, joint_share
from selftrain_jax.paper.plan.speeds import Speed, Speeds


class Cost(NamedTuple):
    """What one stage takes."""

    stage: Stage
    steps: int  # 0 for labels
    images: int  # that are trained on or labelled, with repeats
    speed: Speed
    device_hours: float
    disk_bytes: int  # checkpoints that are held at most, or label shards


def count_costs(stages: Iterable[Stage], speeds: Speeds) -> list[Cost]:
    """Return the costs of the stages that compute; starts and searches take nothing of their own.

    Joint training's images count by their pixels, and validation, compiling and waiting do not count.

    Raises:
        InputError: there is no speed of a network.
    """
    return [count_cost(stage, speeds) for stage in stages if isinstance(stage, Teacher | Labels | Student)]


def count_cost(stage: Teacher | Labels | Student, speeds: Speeds) -> Cost:
    """Return the cost of a stage. Raises: InputError: there is no speed of its network."""
    network = network_of(stage)
    if network is None:
        raise AssertionError(f"a stage without network: {stage}")
    facts = FACTS[network]
    if isinstance(stage, Labels):
        return _labelling(stage, facts, _find(speeds.label, facts.name, speeds))
    batch = facts.student_batch if isinstance(stage, Student) else facts.teacher_batch
    speed = _find(speeds.train, facts.name, speeds)
    joint = joint_share(network) if stage.joint_weight else 0.0
    hours = stage.steps * (batch + joint) * speed.device_secs / 3600
    disk_bytes = CHECKPOINTS * facts.checkpoint_bytes
    return Cost(stage, stage.steps, stage.steps * batch, speed, hours, disk_bytes)


def _labelling(stage: Labels, facts: NetworkFacts, speed: Speed) -> Cost:
    images = SOURCES[stage.source]
    hours = images.num * facts.label_views * speed.device_secs / 3600
    return Cost(stage, 0, images.num, speed, hours, images.num_bytes)


def _find(speeds: Mapping[str, Speed], name: str, source: Speeds) -> Speed:
    if name not in speeds:
        raise InputError(f"there is no speed of {name}, which the plan needs ({source.source})")
    return speeds[name]


def count_money(costs: Iterable[Cost], prices: Mapping[str, float]) -> float:
    """Return what the device-hours cost. Raises: InputError: an accelerator without a price."""
    total = 0.0
    for cost in costs:
        if cost.speed.accelerator not in prices:
            raise InputError(
                f"there is no price of {cost.speed.accelerator}, which the plan needs; the prices are of "
                f"{', '.join(map(str, prices))}"
            )
        total += cost.device_hours * prices[cost.speed.accelerator]
    return total
