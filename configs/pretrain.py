r"""Classification, to make "ImageNet Init" instead of downloading it: ResNet-50 on ImageNet by default.

python -m selftrain_jax.main --job=pretrain --config=configs/pretrain.py
python -m selftrain_jax.main --job=pretrain --workdir=runs/mine \\
  --config=configs/pretrain.py:network=resnet18,size=64,batch=32,steps=2000 --config.data.dir=DIR

DIR holds train/<class>/*.jpg and val/<class>/*.jpg; without it TFDS's `imagenet2012` is read. A detector
starts from the result by --config.teacher.init=runs/mine/pretrain, with the same model.width_factor.

The recipe is the usual one of ResNet-50 (90 epochs of batch 256, learning rate 0.1 and half a cosine, 5
epochs of warm-up, weight decay 1e-4, smoothing 0.1). The learning rate goes with the batch. EfficientNet's
authors used RMSProp over 350 epochs with an average of the weights; here it is trained like ResNet.
"""

from ml_collections import ConfigDict

from configs import common

IMAGENET_IMAGES = 1_281_167
EPOCHS, WARMUP_FRAC = 90, 5 / 90


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read `network=resnet50`, `size=224` (px), `batch=256`, `steps=0`, `aug=none`, `seed=0`.

    0 steps stand for 90 epochs of ImageNet.
    """
    chosen = common.parse_arguments(
        arguments, network="resnet50", size=224, batch=256, steps=0, aug="none", seed=0
    )
    steps = chosen["steps"] or round(EPOCHS * IMAGENET_IMAGES / chosen["batch"])
    config = common.get_config()
    config.name, config.seed = "pretrain", chosen["seed"]
    config.data.update(kind="auto", tfds="imagenet2012", train="train", val="val", test="val")
    config.image.size_px = chosen["size"]
    config.model.update(backbone=chosen["network"], bn_momentum=0.9)
    config.pretrain = ConfigDict(
        dict(
            steps=steps,
            batch_size=chosen["batch"],
            learning_rate=0.1 * chosen["batch"] / 256,
            label_smoothing=0.1,
            augment=chosen["aug"],  # none | randaugment, after a random window and a flip
            min_area_frac=0.08,  # of the random window
        )
    )
    config.optimizer.update(warmup_steps=int(WARMUP_FRAC * steps), warmup_start_frac=0.0)
    config.eval.update(batch_size=chosen["batch"], every_steps=max(steps // 18, 1))
    config.checkpoint.every_steps = max(steps // 90, 1)
    return config
