r"""RetinaNet on COCO by the paper's recipe, its control factors as arguments (Paper: Tables 2 to 4, 12, 13).

python -m selftrain_jax.main \\
  --config=configs/coco_retinanet.py:backbone=efficientnet_b7,init=imagenet,aug=s4,labels=20,alpha=1.0

Needs TFDS's coco/2017 and, for the unlabelled images, imagenet2012 or open_images_v4, prepared as
array_record files; without them the command says how. 640 px, batch 256 (student 512): a TPU slice
or several GPUs. No run of this config was made on the machine that it was written on.

Backbones: resnet18 to 152, efficientnet_b0 to b8 and l2, efficientnet_lite0 to 2. All share the paper's
settings; an EfficientNet keeps its own swish (Lite: relu6), batch normalisation (0.99, 1e-3) and drop-connect
(0.2) under a relu FPN and heads. SpineNet has another recipe: configs/coco_spinenet.py.

init is the teacher's: rand, imagenet, imagenet_pp, simclr (see config.pretrained.dir) or a checkpoint's
folder; student_init is teacher, or any of those. joint is the weight of joint training on ImageNet (Paper:
Table 7).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read backbone, aug, labels (percent), unlabeled, alpha, init, student_init, joint, fold and seed.

    Raises:
      ValueError: an argument or one of its values does not exist.
    """
    chosen = common.parse_arguments(
        arguments,
        backbone="resnet50",
        aug="s1",
        labels=100.0,
        unlabeled="imagenet",
        alpha=1.0,
        init="rand",
        student_init="teacher",
        joint=0.0,
        fold=0,
        seed=0,
    )
    if chosen["backbone"].startswith("spinenet"):
        size = chosen["backbone"].removeprefix("spinenet")
        raise ValueError(f"SpineNet has its own config: use configs/coco_spinenet.py:size={size}")
    config = common.get_config()
    config.name, config.seed = "coco_retinanet", chosen["seed"]
    common.set_coco(config, chosen)
    config.model.backbone = chosen["backbone"]
    config.augment.policy = chosen["aug"]
    if chosen["backbone"] == "resnet101":  # Paper: Table 12's caption
        config.augment.magnitude = 15.0
        config.optimizer.decay_bn = True
        config.model.dtype = "float32"
    config.selftrain.alpha = chosen["alpha"]
    config.joint.weight = chosen["joint"]
    common.set_init(config, chosen)
    config.eval.every_steps = 5000
    return config
