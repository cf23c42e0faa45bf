"""Blood cells under a microscope (BCCD): a share of train is labelled, the rest is unlabelled.

bash launch/local.sh configs/bccd.py:labels=20,seed=0 --config.data.dir=VOC_FOLDER

Without the folder, TFDS's `bccd` is read. Takes 11 to 16 minutes beside another run on two cores. The labels
are incomplete: many plain cells have no box.

Scores, mean (sd) of seeds 0, 1 and 2 (docs/results.md): teacher 35.6 (0.5), control 36.7 (0.5),
student 36.9 (0.2) AP; +0.2 (0.7) over control, +1.3 (0.6) over teacher. The gain over the control is
within the spread of the seeds.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read labels (percent of train that keeps its labels), aug, backbone, init, student_init, seed."""
    chosen = common.parse_arguments(
        arguments, labels=20.0, aug="s1", backbone="resnet18", init="rand", student_init="teacher", seed=0
    )
    config = common.get_config()
    config.name, config.seed = "bccd", chosen["seed"]
    config.data.update(kind="auto", tfds="bccd", classes="RBC,WBC,Platelets", bad_boxes="drop")
    config.data.update(label_percent=chosen["labels"], val="val", test="test")
    config.image.update(size_px=256, max_boxes=64)
    config.augment.policy = chosen["aug"]
    config.model.update(
        backbone=chosen["backbone"], max_level=6, fpn_channels=64, head_channels=64, head_convs=1
    )
    config.model.update(bn_momentum=0.9, dtype="float32")
    config.model.backbone_bn_momentum = common.short_run_momentum(chosen["backbone"])
    if chosen["backbone"] == "resnet18":
        config.model.width_factor = 0.25
    common.set_init(config, chosen)
    # Short runs: positives count more and box regression less than in the paper's long ones.
    config.loss.update(focal_alpha=0.5, focal_gamma=0.5, box_weight=10.0)
    config.postprocess.update(pre_nms_top_k=300, max_detections=50)
    config.optimizer.update(warmup_steps=50, clip_norm=10.0)
    config.teacher.update(steps=300, batch_size=8, learning_rate=0.05)
    config.student.update(steps=400, batch_size=8, learning_rate=0.05)
    config.pseudo.images_per_shard = 64
    config.eval.update(batch_size=8, every_steps=100)
    config.log.every_steps = 20
    config.checkpoint.every_steps = 100
    return config
