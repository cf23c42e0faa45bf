"""The views that `--job=views` compares for boxes, and how good labels are."""

from collections.abc import Iterable, Mapping, Sequence

from selftrain_jax.detection.coco_eval import ImageDetections, evaluate_detections
from selftrain_jax.tasks.spec import ViewChoices
from selftrain_jax.types import Category, Example


def measure_boxes(
    pairs: Iterable[tuple[Example, Example]], categories: Sequence[Category]
) -> Mapping[str, float]:
    """Return COCO's AP, AP50 and AP75 of (truth, found) labels; -1 where there is no true box."""
    truth, found = [list(labels) for labels in zip(*pairs, strict=True)]
    detections = [ImageDetections(x["image_id"], x["boxes"], x["scores"], x["classes"]) for x in found]
    result = evaluate_detections(truth, detections, categories)
    return {"AP": result["ap"], "AP50": result["ap50"], "AP75": result["ap75"]}


# docs/few_labels.md: animals that fill their pictures want views a little smaller, blood cells larger ones.
BOX_VIEWS = ViewChoices(
    keys=("pseudo.views",),
    choices=tuple(
        (views,)
        for views in (
            "1",
            "1,1f",
            "1,1f,0.94,0.94f",
            "1,1f,1.06,1.06f",
            "1,1f,1.25,1.25f",
            "1,1f,1.25,1.25f,1.5,1.5f",
        )
    ),
    measure=measure_boxes,
)
