r"""A released checkpoint, evaluated beside its published number (Paper: Tables 5 and 6).

python -m selftrain_jax.main --job=evaluate_released --config=configs/released.py:name=spinenet143_ssl \\
  --config.data.dir=COCO
python -m selftrain_jax.main --job=evaluate_released --config=configs/released.py:name=b7_nasfpn_ssl \\
  --config.data.dir=VOCdevkit

COCO is the folder with annotations/instances_val2017.json and val2017/; VOCdevkit that of VOC 2012. No other
split is read. The weights are downloaded into config.pretrained.dir, unless they are there;
docs/pretrained.md says how to bring them by hand. None of these checkpoints has been evaluated so far: the
machine that this was written on reaches no such address.

Networks, image sizes and post-processing are those of the authors' config files. The `_best` SpineNets,
143, 190 and the students have swish, the others, of 350 epochs, ReLU; the students of 143 and 190 have
BatchNorm's epsilon 1e-3, the other detectors 1e-4. Activations are float32, the authors' bfloat16.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common
from configs.coco_spinenet import SIZES
from selftrain_jax.errors import InputError
from selftrain_jax.paper.released import VOC_VAL, find_released

NAS_FPN: dict[str, Any] = dict(neck="nas_fpn", nas_fpn_repeats=7)
RESNETS: dict[str, dict[str, Any]] = {
    "r50_fpn": dict(neck="fpn"),
    "r50_nasfpn": NAS_FPN,  # 7 repeats: only with these the model zoo's 60.3 million parameters come about
}
RELU = ("spinenet49s", "spinenet49", "spinenet96")


def get_config(arguments: str | None = None) -> ConfigDict:
    """Read name.

    Raises:
      ValueError: there is no such checkpoint, with the nearest names, or an argument does not exist.
    """
    name = common.parse_arguments(arguments, name="spinenet49s")["name"]
    try:
        released = find_released(name)
    except InputError as error:
        raise ValueError(f"config argument {error}") from None
    config = common.get_config()
    config.name = "released"
    config.import_weights.name = released.weights
    config.unlabeled.kind = "none"
    config.model.dtype = "float32"
    if released.data_set == VOC_VAL:
        _set_segmenter(config, name)
    else:
        _set_detector(config, name)
    return config


def _set_detector(config: ConfigDict, name: str) -> None:
    """Set COCO's folder as it is published, and the network."""
    config.data.update(kind="coco", train="train", val="val", test="val", bad_boxes="drop")
    config.data.update(annotations="annotations/instances_{split}2017.json", images="{split}2017")
    if name in RESNETS:
        config.model.update(backbone="resnet50", anchor_size=4.0, **RESNETS[name])
        return
    backbone, _, kind = name.partition("_")
    size = SIZES[backbone.removeprefix("spinenet")]
    config.image.size_px = size.image_size_px
    config.model.update(
        backbone=backbone,
        anchor_size=size.anchor_size,
        activation="relu" if name in RELU else "swish",
        bn_epsilon=1e-3 if kind == "ssl" else 1e-4,
    )


def _set_segmenter(config: ConfigDict, name: str) -> None:
    """Set VOC 2012's folder and the network."""
    config.task = "segmentation"
    config.data.update(kind="voc", train="train", val="val", test="val")
    config.image.size_px = 512
    backbone = name.partition("_")[0]
    config.model.update(backbone=f"efficientnet_{backbone}", bn_epsilon=1e-3, separable=True, **NAS_FPN)
