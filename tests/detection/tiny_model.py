"""The smallest detector: four classes, levels 3 and 4, two anchors a place."""

from selftrain_jax.models.retinanet import make_retinanet

MODEL = make_retinanet(
    backbone="resnet18",
    num_classes=4,
    width_factor=0.125,
    fpn_channels=8,
    head_channels=8,
    head_convs=1,
    max_level=4,
    num_anchors=2,
)
ANCHORS = {"num_scales": 1, "aspect_ratios": (1.0, 2.0)}
