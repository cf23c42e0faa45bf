"""Self-training on built-in data, on two CPU cores in under ten minutes."""

from ml_collections import ConfigDict

from configs import common


def get_config(arguments: str | None = None) -> ConfigDict:
    """Handwritten digits on photographs, few labelled scenes, many unlabelled; reads `seed=0`."""
    chosen = common.parse_arguments(arguments, seed=0)
    config = common.get_config()
    config.name, config.seed = "quickstart", chosen["seed"]
    config.data.kind = "builtin"
    config.data.builtin = dict(train=100, val=60, test=300, unlabeled=1000)
    config.unlabeled.kind = "builtin"
    config.image = dict(size_px=128, max_boxes=16)
    config.augment.policy = "s3"
    config.augment.reference_size_px = 640
    config.model.update(
        backbone="resnet18", width_factor=0.25, max_level=6, fpn_channels=64, head_channels=64, head_convs=2
    )
    config.model.update(bn_momentum=0.9, dtype="float32", anchor_size=3.0)
    config.postprocess.update(pre_nms_top_k=200, max_detections=20)
    config.optimizer.update(warmup_steps=50, clip_norm=10.0)
    config.teacher.update(steps=600, batch_size=16, learning_rate=0.08)
    config.student.update(steps=500, batch_size=16, learning_rate=0.08)
    config.pseudo.images_per_shard = 256
    config.eval.update(batch_size=20, every_steps=100)
    config.log.every_steps = 20
    config.checkpoint.every_steps = 100
    return config
