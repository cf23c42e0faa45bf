r"""SpineNet on COCO with Open Images unlabelled, the paper's best detectors (Paper: Table 5, section 3.2).

python -m selftrain_jax.main \\
  --config=configs/coco_spinenet.py:size=143,settings=paper,labels=100,unlabeled=openimages

Needs TFDS's coco/2017 and, for the unlabelled images, open_images_v4 or imagenet2012, prepared as
array_record files; without them the command says how. 640 px (49s, 49), 1024 (96) or 1280 (143, 190) and a
TPU slice or several GPUs. No run of this config was made on the machine that it was written on.

settings=paper is the paper's text, settings=released the authors' configuration files:

|                         | paper                              | released                                  |
|-------------------------|------------------------------------|-------------------------------------------|
| human images a batch    | 128                                | 256                                       |
| learning rate           | 0.16, cosine                       | 0.28 (190: 0.3), a tenth at 94 % and 98 % |
|                         |                                    | of the steps (190: 92.5 %, 97.5 %)        |
| warm-up                 | 1000 steps from 0.0016             | 2000 steps from 0.0067                    |
| steps                   | 472,000 (190: 370,000)             | 231,500 (190: 185,200)                    |
| weight decay            | 1e-4                               | 4e-5                                      |
| gradient clip           | 10 (silent: as released)           | 10                                        |
| teacher's augmentation  | S1's flip and crop, scale 0.5-2.0  | S1's, 0.5-2.0 (143, 190: 0.1-1.9)         |
| student's augmentation  | S3 (AutoAugment, scale 0.5-2.0)    | as the teacher's                          |
| BatchNorm's epsilon     | 1e-4 (silent: SpineNet's own)      | 1e-4 (143, 190: 1e-3)                     |
| suppression             | Soft-NMS, 0.3                      | hard NMS                                  |

Chosen where the paper is silent: its learning rate is half of the 0.32 of its other detectors. The student's
batch has as many pseudo-labelled images beside the human ones, as theirs has. The teacher does not have S3,
with which the paper found supervised training unstable; it keeps S3's scale jitter, without AutoAugment, as
the released files do. Sizes below 143 are not in the paper and have 143's steps and alpha. Alpha 0.25 (190:
0.5) is the paper's in both settings, for the released files have no self-training. Their epsilon of 1e-3 is
the students'; released teachers of 143 and 190 were trained with 1e-4 (--config.model.bn_epsilon=1e-4).
"""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs import common


class Size(NamedTuple):
    """What depends on the size; `released_*` are the authors' files', the rest is of both settings."""

    image_size_px: int
    anchor_size: float
    alpha: float = 0.25
    paper_steps: int = 472_000
    released_learning_rate: float = 0.28
    released_steps: int = 231_500
    released_drop_fracs: tuple[float, float] = (0.94, 0.98)
    released_jitter: tuple[float, float] = (0.5, 2.0)
    released_bn_epsilon: float = 1e-4


LARGE: dict[str, Any] = dict(released_jitter=(0.1, 1.9), released_bn_epsilon=1e-3)
SIZES = {
    "49s": Size(640, 3.0),
    "49": Size(640, 3.0),
    "96": Size(1024, 3.0),
    "143": Size(1280, 4.0, **LARGE),
    "190": Size(1280, 4.0, 0.5, 370_000, 0.3, 185_200, (0.925, 0.975), **LARGE),
}
SETTINGS = ("paper", "released")


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read size, settings, labels (percent), unlabeled, alpha, init, student_init, fold and seed.

    alpha=-1 is the size's. init is rand or a checkpoint's folder: no weights of SpineNet on ImageNet are
    published.

    Raises:
      ValueError: an argument or one of its values does not exist.
    """
    chosen = common.parse_arguments(
        arguments,
        size="143",
        settings="paper",
        labels=100.0,
        unlabeled="openimages",
        alpha=-1.0,
        init="rand",
        student_init="teacher",
        fold=0,
        seed=0,
    )
    common.check_choice("size", chosen["size"], SIZES)
    common.check_choice("settings", chosen["settings"], SETTINGS)
    size = SIZES[chosen["size"]]
    config = common.get_config()
    config.name, config.seed = "coco_spinenet", chosen["seed"]
    common.set_coco(config, chosen)
    config.image.size_px = size.image_size_px
    config.model.update(
        backbone=f"spinenet{chosen['size']}", activation="swish", anchor_size=size.anchor_size
    )
    config.optimizer.clip_norm = 10.0
    config.selftrain.alpha = size.alpha if chosen["alpha"] < 0 else chosen["alpha"]
    common.set_init(config, chosen)
    config.eval.every_steps = 5000
    if chosen["settings"] == "paper":
        _set_paper(config, size)
    else:
        _set_released(config, size)
    return config


def _set_paper(config: ConfigDict, size: Size) -> None:
    """Set what the paper's text says."""
    config.augment.update(policy="s3", jitter_min=0.5, jitter_max=2.0)
    config.teacher.policy = "s1"
    config.postprocess.soft_nms_sigma = 0.3
    _set_stages(config, steps=size.paper_steps, human_images=128, learning_rate=0.16)


def _set_released(config: ConfigDict, size: Size) -> None:
    """Set what the authors' configuration files say."""
    low, high = size.released_jitter
    config.augment.update(policy="s1", jitter_min=low, jitter_max=high)
    config.model.bn_epsilon = size.released_bn_epsilon
    peak = size.released_learning_rate
    config.optimizer.update(schedule="step", drop_fracs=size.released_drop_fracs, weight_decay=4e-5)
    config.optimizer.update(warmup_steps=2000, warmup_start_frac=0.0067 / peak)
    _set_stages(config, steps=size.released_steps, human_images=256, learning_rate=peak)


def _set_stages(config: ConfigDict, *, steps: int, human_images: int, learning_rate: float) -> None:
    """Give teacher and student the same steps and learning rate, and the student as many pseudo labels."""
    config.teacher.update(steps=steps, batch_size=human_images, learning_rate=learning_rate)
    config.student.update(steps=steps, batch_size=2 * human_images, learning_rate=learning_rate)
