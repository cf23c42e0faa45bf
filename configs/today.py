r"""The paper's Table 3 asked of backbones of today: starts, shares of labels, augmentation, self-training.

python -m selftrain_jax.main --config=configs/today.py:backbone=convnext_tiny,init=imagenet,labels=20,aug=s1
python -m selftrain_jax.main --config=configs/today.py:backbone=vit_small_dinov2,data=own,frozen=True \\
  --config.data.dir=DATA --config.unlabeled.dir=FOLDER_OF_IMAGES

Not in the paper. Each run is a teacher, its labels, its student and the student's control, so that one cell
of the table is one run; `list_cells()` has the arguments of all. data=coco is configs/coco_retinanet.py with
another backbone, data=own is configs/own_data.py, where 0 for size or steps is its preset.

Backbones: convnext_tiny, small, base (init=imagenet: supervised on ImageNet-1k), vit_small_dinov2 and
vit_base_dinov2, also with _reg4 (init=imagenet: DINOv2's own images, 142 million without labels), and
vit_small_dinov3, vit_base_dinov3 (their weights have terms of their own: import them by name, and init is the
folder). resnet50 is for comparison.

AdamW, weight decay and the layers' rates are those of the ConvNeXt and ViTDet papers for detection. Their
learning rates, 2e-4 at batch 32 and 1e-4 at batch 64, are kept whatever the batch: nothing here was tuned,
and no run of data=coco has been made. frozen=True trains neck and heads alone, at ten times the rate.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import coco_retinanet, common, own_data

DATA = ("coco", "own")
FROZEN_FACTOR = 10.0
# Paper: Table 3.
STARTS, LABELS, POLICIES = ("rand", "imagenet"), (20.0, 50.0, 100.0), ("s1", "s4")


class Recipe(NamedTuple):
    """How a family of backbones is fine-tuned for detection in its paper."""

    learning_rate: float
    weight_decay: float
    layer_decay: float


RECIPES = {
    "convnext": Recipe(2e-4, 0.05, 0.7),  # Liu et al. 2022, appendix A.3
    "vit": Recipe(1e-4, 0.1, 0.7),  # Li et al. 2022, ViTDet, section 4; 0.7 is that of ViT-B
}


def list_cells() -> Iterator[str]:
    """Yield the arguments of the table's cells for one backbone."""
    for init, labels, policy in itertools.product(STARTS, LABELS, POLICIES):
        yield f"init={init},labels={labels:g},aug={policy}"


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read backbone, data, init, labels (percent), aug, frozen, size, steps, fold and seed.

    Raises:
      ValueError: an argument or one of its values does not exist, or a random backbone is frozen.
    """
    chosen = common.parse_arguments(
        arguments,
        backbone="convnext_tiny",
        data="coco",
        init="imagenet",
        labels=100.0,
        aug="s1",
        frozen="False",
        size=0,
        steps=0,
        fold=0,
        seed=0,
    )
    common.check_choice("data", chosen["data"], DATA)
    common.check_choice("frozen", chosen["frozen"], ("True", "False"))
    is_frozen = chosen["frozen"] == "True"
    if is_frozen and chosen["init"] == "rand":
        raise ValueError("config argument frozen=True keeps what a backbone knows; init=rand knows nothing")
    config = (_coco if chosen["data"] == "coco" else _own)(chosen)
    config.name, config.student.control = "today", "full"
    family = chosen["backbone"].partition("_")[0]
    if family in RECIPES:
        _set_recipe(config, RECIPES[family], is_frozen)
    elif is_frozen:
        config.optimizer.freeze_backbone = True
    if chosen["init"] == "rand":
        config.optimizer.update(layer_decay=1.0, backbone_rate_factor=1.0)
    return config


def _coco(chosen: dict) -> ConfigDict:
    for key in ("size", "steps"):
        if chosen[key]:
            raise ValueError(f"config argument {key} is for data=own; COCO's are the paper's")
    shared = ",".join(f"{key}={chosen[key]}" for key in ("backbone", "aug", "labels", "init", "fold", "seed"))
    return coco_retinanet.get_config(shared)


def _own(chosen: dict) -> ConfigDict:
    shared = ",".join(f"{key}={chosen[key]}" for key in ("backbone", "aug", "init", "size", "steps", "seed"))
    config = own_data.get_config(shared)
    config.data.update(label_percent=chosen["labels"], label_fold=chosen["fold"])
    return config


def _set_recipe(config: ConfigDict, recipe: Recipe, is_frozen: bool) -> None:
    rate = recipe.learning_rate * (FROZEN_FACTOR if is_frozen else 1.0)
    config.optimizer.update(
        name="adamw",
        weight_decay=recipe.weight_decay,
        layer_decay=1.0 if is_frozen else recipe.layer_decay,
        backbone_rate_factor=1.0,
        freeze_backbone=is_frozen,
        clip_norm=1.0,
    )
    config.teacher.learning_rate = config.student.learning_rate = rate
