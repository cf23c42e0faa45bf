"""The data sets behind the paper's rows: images, files to download, and where their sizes are from."""

from collections.abc import Iterable
from typing import NamedTuple

from selftrain_jax.paper.plan.graph import Labels, Stage, Start, Student, Teacher
from selftrain_jax.pretrain.catalogue import find_start

TFDS = "TFDS's checksums"


class Download(NamedTuple):
    """Files to bring; `num_bytes` is None where no source is sure of their size."""

    name: str
    num_bytes: int | None
    source: str  # of the size


class Images(NamedTuple):
    """Unlabelled images: how many there are, and the bytes of their files."""

    num: int
    num_bytes: int
    is_bound: bool  # the bytes are of an archive with more in it


COCO_TRAIN = 19_336_861_798
COCO_UNLABELED = 20_126_613_414
VOC_TRAINVAL = 1_999_639_040
OPEN_IMAGES_TRAIN = 549_475_626_809

# By a row's `unlabeled`; label shards copy the encoded images.
SOURCES = {
    "imagenet": Images(1_281_167, 147_897_477_120, False),  # ILSVRC2012_img_train.tar
    "openimages": Images(1_743_042, OPEN_IMAGES_TRAIN, False),  # V4's 16 archives of train
    "coco_240k": Images(118_287 + 123_403, COCO_TRAIN + COCO_UNLABELED, False),  # train2017, unlabeled2017
    "pascal_aug": Images(9_118, VOC_TRAINVAL, True),  # among VOC 2012's images
}

COCO = (Download("COCO 2017: train, val, test, annotations", 27_052_325_073, TFDS),)
VOC = (
    Download("VOC 2012: trainval", VOC_TRAINVAL, TFDS),
    Download("SBD: benchmark.tgz", 1_419_539_633, "a log of its download"),
)
HUMAN = {"detection": COCO, "segmentation": VOC}
FILES = {
    "imagenet": (Download("ImageNet 2012: train, val", 154_642_401_280, TFDS),),
    "openimages": (Download("Open Images V4: train, validation, test, labels", 606_784_721_640, TFDS),),
    "coco_240k": (
        *COCO,
        Download("COCO 2017: unlabeled", COCO_UNLABELED, "the server's Content-Length, in logs"),
    ),
    "pascal_aug": VOC,
}


def find_downloads(stages: Iterable[Stage]) -> tuple[Download, ...]:
    """Return the files that stages need, each once: data sets first, then weights to start from."""
    found: dict[Download, None] = {}
    stages = tuple(stages)
    for stage in stages:
        found |= dict.fromkeys(_data_of(stage))
    for stage in stages:
        if isinstance(stage, Start):
            found[_weights_of(stage)] = None
    return tuple(found)


def _data_of(stage: Stage) -> tuple[Download, ...]:
    match stage:
        case Teacher(joint_weight=weight):
            return (*HUMAN[stage.network.task], *(FILES["imagenet"] if weight else ()))
        case Labels(source=source):
            return FILES[source]
        case Student(joint_weight=weight):
            return FILES["imagenet"] if weight else ()
    return ()


def _weights_of(start: Start) -> Download:
    """Return a start's published weights, with their size where the catalogue has one."""
    weights = find_start(start.backbone, start.init)
    if weights is None:
        return Download(f"weights: {start.backbone} {start.init}", None, "not published")
    host = weights.addresses[0].split("/")[2]
    return Download(f"weights: {weights.name} from {host}", weights.about_bytes, "pretrain/catalogue.py")
