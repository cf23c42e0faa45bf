"""What config.postprocess says of NMS; call `build_postprocess`."""

from ml_collections import ConfigDict

from selftrain_jax.detection.nms import HardNMS, SoftNMS
from selftrain_jax.detection.postprocess import Postprocess


def build_postprocess(settings: ConfigDict, score_threshold: float) -> Postprocess:
    """Return how config.postprocess selects boxes, from a score on."""
    nms: HardNMS | SoftNMS = HardNMS(settings.iou_threshold)
    if settings.soft_nms_sigma > 0:
        nms = SoftNMS(settings.soft_nms_sigma, settings.soft_nms_convention)
    return Postprocess(
        score_threshold=score_threshold,
        pre_nms_top_k=settings.pre_nms_top_k,
        max_detections=settings.max_detections,
        nms=nms,
    )


def nms_score_threshold(config: ConfigDict) -> float:
    """Return the score from which NMS keeps boxes: for pseudo labels as well as for evaluation.

    A box is lowered or dropped by boxes of higher scores only, and the best are kept first, so that what an
    evaluation leaves out at its own, higher threshold changes nothing else.
    """
    return min(config.postprocess.score_threshold, config.pseudo.score_floor)
