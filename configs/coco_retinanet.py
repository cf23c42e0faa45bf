r"""RetinaNet on COCO by the paper's recipe, its control factors as arguments (Paper: Tables 2, 3, 12).

python -m selftrain_jax.main --workdir=runs/coco \\
  --config=configs/coco_retinanet.py:backbone=resnet50,aug=s4,labels=100,unlabeled=imagenet,alpha=1.0,init=teacher

Needs TFDS's coco/2017 and, for the unlabelled images, imagenet2012 or open_images_v4, prepared as
array_record files; without them the command says how. 640 px, batch 256 (student 512): a TPU slice
or several GPUs. No run of this config was made on the machine that it was written on.
"""

from ml_collections import ConfigDict

from configs import common

UNLABELED = {"imagenet": "imagenet2012", "openimages": "open_images_v4", "remainder": ""}


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read backbone, aug, labels (percent), unlabeled, alpha, init (of the student), fold and seed."""
    chosen = common.parse_arguments(
        arguments,
        backbone="resnet50",
        aug="s1",
        labels=100.0,
        unlabeled="imagenet",
        alpha=1.0,
        init="teacher",
        fold=0,
        seed=0,
    )
    if chosen["unlabeled"] not in UNLABELED:
        raise ValueError(f"unlabeled={chosen['unlabeled']!r} is not one of {', '.join(UNLABELED)}")
    config = common.get_config()
    config.name, config.seed = "coco_retinanet", chosen["seed"]
    config.data.update(kind="tfds", tfds="coco/2017", train="train", val="validation", test="validation")
    config.data.update(label_percent=chosen["labels"], label_fold=chosen["fold"])
    config.data.bad_boxes = "drop"
    dataset = UNLABELED[chosen["unlabeled"]]
    config.unlabeled.update(kind="tfds" if dataset else "remainder", tfds=dataset, split="train")
    config.model.backbone = chosen["backbone"]
    config.augment.policy = chosen["aug"]
    if chosen["backbone"] == "resnet101":  # Paper: Table 12's caption
        config.augment.magnitude = 15.0
        config.optimizer.decay_bn = True
        config.model.dtype = "float32"
    config.selftrain.alpha = chosen["alpha"]
    config.student.init = chosen["init"]
    config.eval.every_steps = 5000
    return config
