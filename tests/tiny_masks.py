"""Segmentation in a minute: built-in data at 64 px, a ResNet-18 of an eighth of the width, a few steps."""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.name, config.task = "tiny_masks", "segmentation"
    config.data.kind = "builtin"
    config.data.builtin = dict(train=8, val=4, test=6, unlabeled=12)
    config.unlabeled.kind = "builtin"
    config.image.size_px = 64
    config.augment.update(policy="s4", reference_size_px=640)
    config.model.update(backbone="resnet18", width_factor=0.125, neck="nas_fpn", nas_fpn_repeats=1)
    config.model.update(separable=True, fpn_channels=16, head_channels=16, head_convs=1)
    config.model.update(bn_momentum=0.9, bn_epsilon=1e-3, dtype="float32")
    config.optimizer.update(warmup_steps=2, clip_norm=10.0)
    config.teacher.update(steps=6, batch_size=4, learning_rate=0.02)
    config.student.update(steps=6, batch_size=4, learning_rate=0.02)
    # An untrained teacher is sure of little; two scales are enough to average over.
    config.pseudo.update(threshold=0.0625, scales=(0.5, 1.0), images_per_shard=4, max_class_frac=1.0)
    config.eval.update(batch_size=4, every_steps=3)
    config.log.update(every_steps=1, tensorboard=False)
    config.checkpoint.every_steps = 2
    return config
