r"""NAS-FPN on PASCAL VOC 2012, the paper's segmentation (Paper: Tables 6, 8, 11, 14, section 3.2).

python -m selftrain_jax.main --config.data.dir=VOCdevkit --config.data.sbd=SBD \\
  --config=configs/voc_nasfpn.py:backbone=b7,settings=paper,init=imagenet_pp,labels=train,unlabeled=aug

Needs VOC 2012's folder; for labels=train_aug and unlabeled=aug SBD's too, or VOC2012/SegmentationClassAug;
weights in config.pretrained.dir unless init=rand; and a TPU slice or several GPUs. unlabeled=imagenet reads
TFDS's imagenet2012; unlabeled=coco reads --config.unlabeled.dir, a folder over the 240,000 images of COCO's
train2017 and unlabeled2017, and nothing else. No run of this config was made on the machine that it was
written on.

settings=paper is the paper's text, settings=released the authors' configuration files:

|                         | paper                              | released                  |
|-------------------------|------------------------------------|---------------------------|
| steps                   | 40,000 (l2: 20,000)                | 20,000                    |
| augmentation            | S4 (RandAugment, scale 0.5-2.0)    | flip and crop, 0.2-1.5    |
| student's batch, human  | 256 (l2: 128)                      | no student                |
| student's batch, pseudo | 256 (l2: 128)                      | no student                |
| teacher's batch         | as released                        | 256                       |
| image size              | as released (not in the text)      | 512 px                    |
| learning rate           | as released                        | 0.08 (l2: 0.2), cosine    |
| warm-up                 | as released                        | 500 steps from 0.001      |
| weight decay            | as released                        | 1e-5                      |
| gradient clip           | as released                        | 10                        |
| NAS-FPN                 | 7 repeats                          | 7, separable, 256 channels|
| BatchNorm, neck, head   | as released                        | 0.997, 1e-3               |
| BatchNorm, backbone     | as released                        | 0.99, 1e-3                |

The released files have no self-training: batch, alpha and start of a student are the paper's in both
settings. aug is the policy; left out it is the settings' own, s4 or s1, whose scale jitter stays 0.2-1.5 with
settings=released. Weights of L2 are published as imagenet_pp (Noisy Student) alone.

Curves and results are both measured on val, as in the paper; the last checkpoint counts, so nothing is chosen
by it. labels=trainval trains on val too: then the run's mIoU is of images that it was trained on, and the
number that counts is the test server's, for which --job=predict writes the masks of VOC's test images.
"""

from typing import NamedTuple

from ml_collections import ConfigDict

from configs import common


class Size(NamedTuple):
    """What depends on the backbone; `*_steps` are of one of the settings, the rest is of both."""

    learning_rate: float
    paper_steps: int
    student_batch_size: int
    released_steps: int = 20_000


SIZES = {"b7": Size(0.08, 40_000, 512), "l2": Size(0.2, 20_000, 256)}
SETTINGS = {"paper": "s4", "released": "s1"}  # and their policies
RELEASED_JITTER = (0.2, 1.5)
LABELS = ("train", "trainval", "train_aug")
UNLABELED = {
    "aug": dict(kind="voc", split="aug"),  # train_aug without train; in config.data.dir and config.data.sbd
    "imagenet": dict(kind="tfds", tfds="imagenet2012", split="train"),
    "coco": dict(kind="folder"),
    "none": dict(kind="none"),
}


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read backbone, settings, aug, init, labels, unlabeled, alpha, student_init and seed.

    Raises:
      ValueError: an argument or one of its values does not exist, or `aug` would be labelled and unlabelled.
    """
    chosen = common.parse_arguments(
        arguments,
        backbone="b7",
        settings="paper",
        aug="",
        init="imagenet_pp",
        labels="train",
        unlabeled="aug",
        alpha=1.0,
        student_init="teacher",
        seed=0,
    )
    _check(chosen)
    config = common.get_config()
    config.name, config.task, config.seed = "voc_nasfpn", "segmentation", chosen["seed"]
    config.data.update(kind="voc", train=chosen["labels"], val="val", test="val")
    config.unlabeled.update(UNLABELED[chosen["unlabeled"]])
    config.image.size_px = 512
    config.model.update(backbone=f"efficientnet_{chosen['backbone']}", neck="nas_fpn", bn_epsilon=1e-3)
    config.model.update(nas_fpn_repeats=7, separable=True)
    config.selftrain.alpha = chosen["alpha"]
    common.set_init(config, chosen)
    config.eval.every_steps = 2000
    _set_stages(config, SIZES[chosen["backbone"]], chosen["settings"])
    config.augment.policy = chosen["aug"] or SETTINGS[chosen["settings"]]
    if chosen["settings"] == "released":
        config.augment.jitter_min, config.augment.jitter_max = RELEASED_JITTER
    return config


def _check(chosen: dict) -> None:
    for axis, known in (
        ("backbone", SIZES),
        ("settings", SETTINGS),
        ("labels", LABELS),
        ("unlabeled", UNLABELED),
    ):
        common.check_choice(axis, chosen[axis], known)
    if (chosen["labels"], chosen["unlabeled"]) == ("train_aug", "aug"):
        raise ValueError(
            "labels=train_aug has labels for the images of unlabeled=aug; use unlabeled=none (Paper: Table "
            "8), imagenet or coco, or labels=train"
        )


def _set_stages(config: ConfigDict, size: Size, settings: str) -> None:
    """Set steps, batch and learning rate of the teacher and of the student, and their optimizer."""
    steps = size.paper_steps if settings == "paper" else size.released_steps
    peak = size.learning_rate
    config.teacher.update(steps=steps, batch_size=256, learning_rate=peak)
    config.student.update(steps=steps, batch_size=size.student_batch_size, learning_rate=peak)
    config.optimizer.update(warmup_steps=500, warmup_start_frac=0.001 / peak)
    config.optimizer.update(weight_decay=1e-5, clip_norm=10.0)
