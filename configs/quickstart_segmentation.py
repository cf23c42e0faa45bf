"""Self-training of masks on built-in data: 40 labelled scenes, 1,000 unlabelled ones, two CPU cores.

bash launch/local.sh configs/quickstart_segmentation.py:seed=0

Mosaics of six materials (brick, grass, gravel ...), to be told apart by their texture. The network is the
paper's in small: a ResNet-18 of a quarter of the width under a separable NAS-FPN of 2 repeats. 2,400
steps of batch 16 in all. A teacher of so few labels is right about 5 or 6 pixels in 10, and 6 to 8 in 10 of
those of confidence 0.7 or more: these are what the student learns. It begins with the 40 scenes known by
heart, its human loss less than half of its pseudo loss, so that loss normalization weighs the pseudo masks
down; alpha 4 makes up for that.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arguments: str | None = None) -> ConfigDict:
    """Few labelled scenes, many unlabelled ones; reads `seed=0`."""
    chosen = common.parse_arguments(arguments, seed=0)
    config = common.get_config()
    config.name, config.task, config.seed = "quickstart_segmentation", "segmentation", chosen["seed"]
    config.data.kind = "builtin"
    config.data.builtin = dict(train=40, val=60, test=600, unlabeled=1000)
    config.unlabeled.kind = "builtin"
    config.image.size_px = 128
    config.augment.policy = "s1"
    config.model.update(backbone="resnet18", width_factor=0.25, neck="nas_fpn", fpn_channels=64)
    config.model.update(nas_fpn_repeats=2, separable=True, head_channels=32, head_convs=2)
    config.model.update(bn_momentum=0.9, bn_epsilon=1e-3, dtype="float32")
    config.segmentation.max_side_px = 128
    config.optimizer.update(warmup_steps=50, clip_norm=10.0, ema_decay=0.99)
    config.teacher.update(steps=800, batch_size=16, learning_rate=0.2)
    config.student.update(steps=800, batch_size=16, learning_rate=0.2)
    config.selftrain.alpha, config.pseudo.threshold = 4.0, 0.7
    config.pseudo.images_per_shard = 256
    config.eval.update(batch_size=16, every_steps=400)
    config.log.every_steps = 20
    config.checkpoint.every_steps = 150
    return config
