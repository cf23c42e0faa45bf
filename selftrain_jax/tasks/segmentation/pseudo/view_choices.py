"""The views that `--job=views` compares for masks, and how good labels are."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from selftrain_jax.geometry import confusion_matrix, mean_iou
from selftrain_jax.tasks.spec import ViewChoices
from selftrain_jax.types import Category, Example

PAPER_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def measure_masks(
    pairs: Iterable[tuple[Example, Example]], categories: Sequence[Category]
) -> Mapping[str, float]:
    """Return mIoU and the share of right pixels of (truth, found) labels, whatever their confidence.

    -1 where no pixel's truth is known.
    """
    num_classes = 1 + max(category.id for category in categories)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for truth, found in pairs:
        confusion += confusion_matrix(truth["mask"], found["mask"], num_classes)
    miou = mean_iou(confusion)
    right = float(np.trace(confusion) / max(confusion.sum(), 1))
    return {"mIoU": -1.0, "pixels right": -1.0} if miou is None else {"mIoU": miou, "pixels right": right}


MASK_VIEWS = ViewChoices(
    keys=("pseudo.scales", "pseudo.flip"),
    choices=(
        ((1.0,), False),
        ((1.0,), True),
        (PAPER_SCALES, False),
        ((1.0, 1.25, 1.5), True),
        ((1.0, 1.5, 2.0), True),
    ),
    measure=measure_masks,
)
