"""A run of a minute: the built-in data at 64 px, a ResNet-18 of an eighth of the width, a few steps."""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    config = common.get_config()
    config.name = "tiny"
    config.data.kind = "builtin"
    config.data.builtin = dict(train=8, val=4, test=6, unlabeled=12)
    config.unlabeled.kind = "builtin"
    config.image.update(size_px=64, max_boxes=16)
    config.augment.update(policy="s4", reference_size_px=640)
    config.model.update(backbone="resnet18", width_factor=0.125, max_level=5, head_convs=1)
    config.model.update(fpn_channels=16, head_channels=16, bn_momentum=0.9, dtype="float32")
    config.postprocess.update(pre_nms_top_k=50, max_detections=8)
    config.optimizer.update(warmup_steps=2, clip_norm=10.0)
    config.teacher.update(steps=6, batch_size=4, learning_rate=0.02)
    config.student.update(steps=6, batch_size=4, learning_rate=0.02)
    # An untrained teacher's scores are low; everything above the floor is a label here.
    config.postprocess.score_threshold = 0.0001
    config.pseudo.update(score_floor=0.001, threshold=0.001, images_per_shard=4, max_empty_frac=1.0)
    config.pseudo.min_boxes_per_image = 0.0
    config.pseudo.max_class_frac = 1.0  # it may find one class alone
    config.eval.update(batch_size=4, every_steps=3)
    config.log.update(every_steps=1, tensorboard=False)
    config.checkpoint.every_steps = 2
    return config
