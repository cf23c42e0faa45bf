"""The segmentation tables on PASCAL VOC 2012: Tables 6, 8, 11, 14, with the steps of appendix H."""

import functools
from typing import Any

from selftrain_jax.paper.row import Row, line

_voc = functools.partial(
    line,
    task="segmentation",
    backbone="efficientnet_b7",
    init="imagenet_pp",
    labels="train",
    image_size_px=512,
    metric="VOC2012 val mIoU",
)
_BOTH = ["S1", "S4"]


def _student(unlabeled: str, steps: int = 40_000) -> dict[str, Any]:
    return {"unlabeled": unlabeled, "student_init": "teacher", "steps": steps, "alpha": 1.0}


def _table_6() -> list[Row]:
    b7 = functools.partial(_voc, "6", augment="S4", note="7 repeats of NAS-FPN; one scale at inference")
    l2 = functools.partial(b7, backbone="efficientnet_l2")
    return [
        *b7("Eff-B7", steps=40_000, value=85.2),
        *b7("Eff-B7 w/ Self-training", **_student("pascal_aug"), value=86.7),
        *l2("Eff-L2", steps=20_000, value=88.7),
        *l2(
            "Eff-L2 w/ Self-training",
            **_student("pascal_aug", 20_000),
            labels=["train", "train+val"],
            metric=["VOC2012 val mIoU", "VOC2012 test mIoU"],
            value=[90.0, 90.5],
        ),
    ]


def _table_8() -> list[Row]:
    note = "called ImageNet Init in the table, but the numbers are those of Table 11's ImageNet++"
    rows = []
    for augment, values in (("S1", (83.9, 84.7, 85.6)), ("S4", (85.2, 84.8, 86.7))):
        b7 = functools.partial(_voc, "8", note=note, augment=augment)
        rows += b7("train", steps=40_000, value=values[0])
        rows += b7("train + aug", labels="train+aug (human)", steps=40_000, value=values[1])
        rows += b7("train + aug w/ Self-training", **_student("pascal_aug"), value=values[2])
    return rows


def _table_11() -> list[Row]:
    b7 = functools.partial(_voc, "11", augment=_BOTH)
    return [
        *b7("Rand Init", init="rand", value=[28.4, 41.5]),
        *b7("ImageNet Init", init="imagenet", value=[80.2, 81.4]),
        *b7("ImageNet++ Init", steps=40_000, value=[83.9, 85.2]),
    ]


def _table_14() -> list[Row]:
    b7 = functools.partial(_voc, "14", augment=_BOTH)
    return [
        *b7("Supervised", value=[83.9, 85.2]),
        *b7("Self-training w/ ImageNet", **_student("imagenet"), value=[85.0, 86.0]),
        *b7("Self-training w/ COCO", **_student("coco_240k"), value=[85.3, 86.6]),
        *b7("Self-training w/ PASCAL (aug set)", **_student("pascal_aug"), value=[85.6, 86.7]),
    ]


VOC_TABLES: list[Row] = [*_table_6(), *_table_8(), *_table_11(), *_table_14()]
