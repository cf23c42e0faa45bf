"""The configs of masks compose into networks whose step has the right shapes, from data that fits them."""

import importlib

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs import camvid, own_masks, quickstart_segmentation
from selftrain_jax.build.data import build_augment, stage_settings
from selftrain_jax.build.experiment import build_schedule
from selftrain_jax.data.source import label_fraction
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.types import Batch, Category, MaskTargets

# A config, its arguments and its number of classes.
CASES = [
    ("quickstart_segmentation", None, 6),
    ("camvid", None, 11),
    ("camvid", "backbone=resnet18,aug=s4,init=imagenet", 11),
    ("own_masks", "size=128", 3),
    ("own_masks", "size=96,backbone=efficientnet_lite0,init=imagenet", 3),
]


def abstract_batch(config: ConfigDict, num_images: int) -> Batch:
    square = (num_images, config.image.size_px, config.image.size_px)
    images = jax.ShapeDtypeStruct((*square, 3), jnp.float32)
    masks = MaskTargets(jax.ShapeDtypeStruct(square, jnp.uint8))
    return Batch(images, masks, jax.ShapeDtypeStruct((num_images,), jnp.bool_))


@pytest.mark.compiles
@pytest.mark.tf
@pytest.mark.parametrize(("name", "arguments", "num_classes"), CASES)
def test_config_of_masks_builds_abstractly(name: str, arguments: str | None, num_classes: int) -> None:
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    assert config.task == "segmentation"
    task = get_task(config.task).build_task(
        config, tuple(Category(class_id, str(class_id)) for class_id in range(num_classes))
    )
    for stage in ("teacher", "student"):
        build_augment(config, stage_settings(config, stage).policy)
        schedule, num_steps = build_schedule(config, stage)
        assert schedule(num_steps - 1) < schedule(config.optimizer.warmup_steps)
    batch = abstract_batch(config, 2)
    variables = jax.eval_shape(task.init, jax.random.key(0))
    terms, _ = jax.eval_shape(task.loss, variables, batch, jax.random.key(0))
    assert terms.human.shape == ()
    side = config.image.size_px // 4
    found = jax.eval_shape(task.predict, variables, batch.images)
    assert found.logits.shape == (2, side, side, num_classes)


@pytest.mark.parametrize("module", [quickstart_segmentation, camvid, own_masks])
def test_every_scale_of_the_pseudo_labels_is_a_size_of_its_own(module) -> None:
    config = module.get_config()
    sizes = {-(-round(config.image.size_px * scale) // 32) * 32 for scale in config.pseudo.scales}
    assert len(sizes) == len(config.pseudo.scales) == 6


def test_camvid_has_the_eleven_classes_of_its_copy_and_ignores_the_twelfth() -> None:
    config = camvid.get_config("labels=12.5,seed=2")
    names = config.data.classes.split(",")
    assert (names[0], names[3], names[8], names[10]) == ("Sky", "Road", "Car", "Bicyclist")
    assert (len(names), config.data.ignore_value, config.data.mask_values) == (11, 11, "")
    assert (config.data.images, config.data.masks) == ("{split}/images", "{split}/masks")
    assert (config.data.kind, config.data.test, config.unlabeled.kind) == ("folder", "test", "remainder")
    labelled, rest = label_fraction(367, config.data.label_percent, seed=config.seed, fold=0)
    assert (len(labelled), len(rest)) == (45, 322), "as the config's docstring says"
    assert config.seed == 2


def test_quickstart_is_small_and_mirrors_its_materials() -> None:
    config = quickstart_segmentation.get_config("seed=1")
    assert (config.data.kind, config.unlabeled.kind, config.seed) == ("builtin", "builtin", 1)
    assert config.augment.flip_frac == 0.5
    steps = config.teacher.steps + 2 * config.student.steps
    assert f"{steps:,} steps of batch 8 in all" in " ".join(quickstart_segmentation.__doc__.split())
    assert f"{config.data.builtin.train} labelled scenes" in quickstart_segmentation.__doc__
    assert (config.image.size_px, config.model.neck, config.model.separable) == (128, "nas_fpn", True)


def test_own_masks_takes_classes_and_folders_from_the_command_line() -> None:
    config = own_masks.get_config("size=256,steps=10")
    assert (config.data.classes, config.data.dir, config.unlabeled.dir) == ("", "", "")
    assert (config.image.size_px, config.teacher.steps, config.student.steps) == (256, 24, 10)
    assert (config.unlabeled.kind, config.data.ignore_value) == ("folder", 255)
    rates = [
        own_masks.get_config(f"init={init}").optimizer.backbone_rate_factor for init in ("imagenet", "rand")
    ]
    assert rates == [0.1, 1.0]
