r"""Pre-training, to make "ImageNet Init" instead of downloading it: ResNet-50 on ImageNet by default.

python -m selftrain_jax.main --job=pretrain --config=configs/pretrain.py
python -m selftrain_jax.main --job=pretrain --workdir=runs/mine \\
  --config=configs/pretrain.py:network=resnet18,size=64,batch=32,steps=2000 --config.data.dir=DIR

DIR holds train/<class>/*.jpg and val/<class>/*.jpg; without it TFDS's `imagenet2012` is read. A detector
starts from the result by --config.teacher.init=runs/mine/pretrain, with the same model.width_factor.

The recipe is the usual one of ResNet-50 (90 epochs of batch 256, learning rate 0.1 and half a cosine, 5
epochs of warm-up, weight decay 1e-4, smoothing 0.1). The learning rate goes with the batch. EfficientNet's
authors used RMSProp over 350 epochs with an average of the weights; here it is trained like ResNet.

objective=simclr learns without labels, "SimCLR Init": DIR/train and DIR/val hold images, in class folders or
not. The recipe is that of SimCLR's paper: LARS, learning rate 0.3 for batch 256, weight decay 1e-6, 100
epochs, 10 of them warm-up. Its batch of 4,096 has more to compare than the 256 here: batch=4096 where it
fits. Up to 32 px the settings are those for CIFAR-10.
"""

from ml_collections import ConfigDict

from configs import common

IMAGENET_IMAGES = 1_281_167
EPOCHS, WARMUP_FRAC = {"classification": 90, "simclr": 100}, {"classification": 5 / 90, "simclr": 0.1}
CIFAR_PX = 32


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read `network=resnet50`, `size=224` (px), `batch=256`, `steps=0`, `aug=none`, `seed=0`, `objective`.

    0 steps stand for 90 epochs of ImageNet, 100 of SimCLR. `objective` is classification or simclr.
    """
    chosen = common.parse_arguments(
        arguments,
        network="resnet50",
        size=224,
        batch=256,
        steps=0,
        aug="none",
        seed=0,
        objective="classification",
    )
    objective = chosen["objective"]
    common.check_choice("objective", objective, EPOCHS)
    steps = chosen["steps"] or round(EPOCHS[objective] * IMAGENET_IMAGES / chosen["batch"])
    is_large = chosen["size"] > CIFAR_PX
    config = common.get_config()
    config.name, config.seed = "pretrain", chosen["seed"]
    config.data.update(kind="auto", tfds="imagenet2012", train="train", val="val", test="val")
    config.image.size_px = chosen["size"]
    config.model.update(backbone=chosen["network"], bn_momentum=0.9)
    config.pretrain = ConfigDict(
        dict(
            objective=objective,  # classification | simclr: without labels
            steps=steps,
            batch_size=chosen["batch"],
            learning_rate=0.1 * chosen["batch"] / 256,
            label_smoothing=0.1,
            augment=chosen["aug"],  # none | randaugment, after a random window and a flip
            min_area_frac=0.08,  # of the random window
            simclr=dict(
                temperature=0.1 if is_large else 0.5,  # by which similarities are divided
                projection_dim=128,
                jitter_strength=1.0 if is_large else 0.5,  # of the colours
                blur_frac=0.5 if is_large else 0.0,  # share of the views that are blurred
            ),
        )
    )
    config.optimizer.update(warmup_steps=int(WARMUP_FRAC[objective] * steps), warmup_start_frac=0.0)
    if objective == "simclr":
        config.optimizer.update(name="lars", weight_decay=1e-6)
        config.pretrain.learning_rate = 0.3 * chosen["batch"] / 256
    config.eval.update(batch_size=chosen["batch"], every_steps=max(steps // 18, 1))
    config.checkpoint.every_steps = max(steps // 90, 1)
    return config
