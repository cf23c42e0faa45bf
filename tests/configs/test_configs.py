"""Every config, with its control factors, composes into a network whose step has the right shapes."""

import importlib

import jax
import jax.numpy as jnp
import pytest

from selftrain_jax.build.data import build_augment, stage_settings
from selftrain_jax.build.experiment import build_schedule
from selftrain_jax.data.sources.coco import COCO_CATEGORIES
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Batch, BoxTargets, Category

DIGITS = tuple(Category(i + 1, str(i)) for i in range(10))
CASES = [
    ("quickstart", None, DIGITS),
    ("bccd", "labels=10,aug=s1", DIGITS[:3]),
    ("own_data", "kind=voc,size=256", DIGITS[:2]),
    *(("coco_retinanet", f"backbone=resnet{d},aug=s{a},init=rand", None) for d, a in
      ((18, 1), (34, 2), (50, 3), (101, 4), (152, 4))),
    *(("coco_retinanet", f"backbone=efficientnet_{v},aug=s4", None) for v in ("b0", "b7", "lite0")),
    *(("coco_spinenet", f"size={s},settings=paper", None) for s in ("49s", "49", "96", "143", "190")),
    ("coco_spinenet", "size=143,settings=released", None),
    ("today", "backbone=convnext_tiny", None),
    ("today", "backbone=convnext_base,data=own,frozen=True", DIGITS),
    ("today", "backbone=vit_small_dinov2,init=rand,aug=s4,labels=20", None),
    ("today", "backbone=vit_base_dinov3,data=own,init=/weights", DIGITS),
]  # fmt: skip


@pytest.mark.compiles
@pytest.mark.tf
@pytest.mark.parametrize(("name", "arguments", "categories"), CASES)
def test_config_builds_abstractly(name: str, arguments: str | None, categories: tuple | None) -> None:
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    config.model.anchor_size = config.model.anchor_size or 4.0  # 0 is found from boxes
    task = get_task(config.task).build_task(config, categories or tuple(COCO_CATEGORIES))
    for stage in ("teacher", "student"):
        build_augment(config, stage_settings(config, stage).policy)
        schedule, num_steps = build_schedule(config, stage)
        assert schedule(num_steps - 1) < schedule(config.optimizer.warmup_steps)
    size, slots = config.image.size_px, config.image.max_boxes
    variables = jax.eval_shape(task.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    flags = jax.ShapeDtypeStruct((2, slots), jnp.bool_)
    targets = BoxTargets(
        jax.ShapeDtypeStruct((2, slots, 4), jnp.float32),
        jax.ShapeDtypeStruct((2, slots), jnp.int32),
        flags,
        flags,
    )
    batch = Batch(images, targets, jax.ShapeDtypeStruct((2,), jnp.bool_))
    terms, updated = jax.eval_shape(task.loss, variables, batch, jax.random.key(0))
    assert terms.human.shape == terms.pseudo.shape == ()
    assert jax.tree.structure(updated["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    found = jax.eval_shape(task.predict, variables, images)
    assert found.boxes.shape == (2, config.postprocess.max_detections, 4)


def test_resnet101_follows_the_captions_of_table_12() -> None:
    from configs import coco_retinanet

    config = coco_retinanet.get_config("backbone=resnet101,aug=s4")
    assert config.augment.magnitude == 15
    assert config.optimizer.decay_bn
    assert config.model.dtype == "float32"


def test_paper_defaults_are_the_papers() -> None:
    from configs import common

    config = common.get_config()
    assert config.teacher.batch_size == 256
    assert config.student.batch_size == 512
    assert config.teacher.learning_rate * config.optimizer.warmup_start_frac == pytest.approx(0.0032)
    assert config.optimizer.warmup_steps == 1000
    assert config.pseudo.threshold == 0.5
    assert config.selftrain.decay == 0.9997


def test_spinenet_is_sent_to_its_own_config() -> None:
    from configs import coco_retinanet

    with pytest.raises(ValueError, match=r"coco_spinenet.py:size=49s"):
        coco_retinanet.get_config("backbone=spinenet49s")
