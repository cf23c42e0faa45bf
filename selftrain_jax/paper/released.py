"""The released checkpoints and the numbers that their authors report of them; call `find_released`.

Paper: Tables 5 and 6. The numbers of the other detectors, and those with hard NMS, are the model zoo's of the
authors' code (`models/official/detection/MODEL_ZOO.md`) and comments in its released config files.
"""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from selftrain_jax.errors import InputError


class DataSet(NamedTuple):
    """The images that a number was measured on."""

    name: str
    num_images: int
    num_classes: int  # outputs of the network, with the background
    tolerance: float  # of a difference, in points


class Setting(NamedTuple):
    """A way to evaluate a checkpoint: a folder for its results, and what it sets in config.postprocess."""

    folder: str
    postprocess: Mapping[str, float | str]


class Number(NamedTuple):
    """A number to compare, in points of 100; `published` is None where the authors report none."""

    title: str
    setting: Setting
    key: str  # in evaluation.json
    published: float | None


class Released(NamedTuple):
    """A released checkpoint."""

    name: str  # as configs/released.py takes it
    weights: str  # in pretrain/catalogue.py
    data_set: DataSet
    numbers: tuple[Number, ...]


# The tolerances are chosen, not measured: numbers are published to 0.1, the authors' own files differ by 0.2
# on one checkpoint, and they computed in bfloat16; of VOC's 1,449 images their code leaves one out.
COCO_VAL = DataSet("COCO val2017", 5000, 91, 0.2)
VOC_VAL = DataSet("VOC 2012 val", 1449, 21, 0.3)
HARD = Setting("hard_nms", {"soft_nms_sigma": 0.0})
# The paper's sigma of 0.3 has two readings; both are measured.
SOFT = tuple(
    Setting(f"soft_nms_{convention}", {"soft_nms_sigma": 0.3, "soft_nms_convention": convention})
    for convention in ("tensorflow", "bodla")
)
MASKS = Setting("masks", {})


def _detector(name: str, weights: str, hard: float, soft: float | None = None) -> Released:
    numbers = [Number("AP, hard NMS", HARD, "ap", hard)]
    if soft is not None:
        numbers += [
            Number(f"AP, Soft-NMS 0.3, {setting.postprocess['soft_nms_convention']}", setting, "ap", soft)
            for setting in SOFT
        ]
    return Released(name, weights, COCO_VAL, tuple(numbers))


def _segmenter(name: str, miou: float) -> Released:
    weights = f"efficientnet-{name.replace('_', '-')}"
    resized = Number("mIoU, masks resized as the official code does", MASKS, "miou_resized", miou)
    return Released(name, weights, VOC_VAL, (resized, Number("mIoU, original masks", MASKS, "miou", None)))


RELEASED = (
    _detector("spinenet49s", "spinenet-49S", 39.5),
    _detector("spinenet49", "spinenet-49", 42.8),
    _detector("spinenet96", "spinenet-96", 46.7),
    _detector("spinenet143", "spinenet-143-best", 50.6, 50.9),
    _detector("spinenet190", "spinenet-190-best", 52.0, 52.6),
    # The paper's and the config file's number; the README of the release says 52.6 with Soft-NMS.
    _detector("spinenet143_ssl", "spinenet-143-ssl", 52.2, 52.4),
    _detector("spinenet190_ssl", "spinenet-190-ssl", 53.9, 54.2),
    _detector("r50_fpn", "r50-fpn", 40.4),
    _detector("r50_nasfpn", "r50-nasfpn", 42.4),
    _segmenter("b7_nasfpn_teacher", 85.2),
    _segmenter("b7_nasfpn_ssl", 86.7),
    _segmenter("l2_nasfpn_teacher", 88.7),
    _segmenter("l2_nasfpn_ssl", 90.0),
    _detector("spinenet49s_best", "spinenet-49S-best", 41.5),
    _detector("spinenet49_best", "spinenet-49-best", 44.3),
    _detector("spinenet96_best", "spinenet-96-best", 48.5),
)


def find_released(name: str) -> Released:
    """Return the checkpoint of a name of configs/released.py. Raises: InputError: the nearest names."""
    found = next((released for released in RELEASED if released.name == name), None)
    if found is None:
        names = [released.name for released in RELEASED]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
        raise InputError(f"name={name!r} is no released checkpoint; did you mean {' or '.join(near)}?")
    return found


def released_of_weights(weights: str) -> Released:
    """Return the checkpoint of a row of the catalogue.

    Raises:
        InputError: no number is known of it.
    """
    found = next((released for released in RELEASED if released.weights == weights), None)
    if found is None:
        names = ", ".join(released.name for released in RELEASED)
        raise InputError(
            f"config.import_weights.name={weights!r} has no published number to compare with; use "
            f"--config=configs/released.py:name=NAME with one of {names}"
        )
    return found
