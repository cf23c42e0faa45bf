"""The paper's networks as the plan counts them: batches, the size of a checkpoint, the name of their speeds.

`tests/paper/plan/test_networks.py` compares the numbers with the configs and with the shapes of the states.
"""

from typing import NamedTuple

from selftrain_jax.paper.plan.graph import Network

CHECKPOINTS = 4  # that a training holds at most: two of the last, the best, the one being written
JOINT_BATCH, JOINT_SIZE_PX = 256, 224  # joint training's images a step
# Pseudo masks are made over six scales (Paper: section 3.1), which have so many times the image's pixels.
SIX_SCALES = sum(scale**2 for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75))


class NetworkFacts(NamedTuple):
    """What the plan knows of a network."""

    name: str  # as in launch/compile_for_tpu/paper_runs.json and in files of measured speeds
    teacher_batch: int
    student_batch: int  # half human, half pseudo labels
    checkpoint_bytes: int  # weights, momentum, BatchNorm's statistics
    label_views: float = 1.0  # how many times the pixels of its input it sees of an image that it labels


FACTS = {
    Network("detection", "resnet50", 640): NetworkFacts("coco_retinanet resnet50", 256, 512, 273_033_940),
    Network("detection", "resnet101", 640): NetworkFacts("coco_retinanet resnet101", 256, 512, 425_179_860),
    Network("detection", "efficientnet_b7", 640): NetworkFacts(
        "coco_retinanet efficientnet_b7", 256, 512, 577_720_404
    ),
    Network("detection", "spinenet143", 1280): NetworkFacts(
        "coco_spinenet spinenet143", 128, 256, 536_423_124
    ),
    Network("detection", "spinenet190", 1280): NetworkFacts(
        "coco_spinenet spinenet190", 128, 256, 1_310_431_764
    ),
    Network("segmentation", "efficientnet_b7", 512): NetworkFacts(
        "voc_nasfpn efficientnet_b7", 256, 512, 541_553_604, SIX_SCALES
    ),
    Network("segmentation", "efficientnet_l2", 512): NetworkFacts(
        "voc_nasfpn efficientnet_l2", 256, 256, 3_787_497_700, SIX_SCALES
    ),
}


def joint_share(network: Network) -> float:
    """Return a joint step's further images, in images of the network's own size, by their pixels."""
    return JOINT_BATCH * (JOINT_SIZE_PX / network.image_size_px) ** 2
