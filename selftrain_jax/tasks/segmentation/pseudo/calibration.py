"""How often pixels are right from each confidence on, where the truth is known; call `count_right_pixels`."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Int

from selftrain_jax.run_files.calibration import ClassCurve
from selftrain_jax.selftrain.calibration import CUTS, Counted
from selftrain_jax.tasks.segmentation.pseudo.quality import check_truth, count_agreement
from selftrain_jax.tasks.segmentation.pseudo.source import confidence_levels
from selftrain_jax.tasks.segmentation.run_files import MaskSettings
from selftrain_jax.types import IGNORED, Category, Example


def count_right_pixels(
    pairs: Iterable[tuple[Example, Example]], categories: Sequence[Category], settings: MaskSettings
) -> Counted:
    """Count pixels and right ones of (truth, found) masks; an image is one trial.

    Pixels of an image are right and wrong together, so that intervals over pixels would be far too narrow.

    Raises:
        InputError: a true mask does not fit its image or its classes.
    """
    num_classes = 1 + max(category.id for category in categories)
    surest: list[Int[np.ndarray, " K"]] = []  # of each image: every class's highest level, -1 without pixels
    agreement = count_agreement(_watch(pairs, num_classes, surest), num_classes)
    from_level = agreement[::-1].cumsum(axis=0)[::-1]
    levels = confidence_levels(CUTS.astype(np.float32))
    from_cut = from_level[levels]  # rows by true and columns by found class
    tops = np.array(surest, np.int64).reshape(-1, num_classes)
    num_images = (tops[None] >= levels[:, None, None]).sum(axis=1)
    curves = {
        name: ClassCurve(
            num_truth=int(from_level[0][class_id].sum()),
            num_labels=tuple(from_cut[:, :, class_id].sum(axis=1).tolist()),
            num_right=tuple(from_cut[:, class_id, class_id].tolist()),
            num_trials=tuple(num_images[:, class_id].tolist()),
        )
        for class_id, name in categories
    }
    return Counted("pixels", "images", True, CUTS, {"pixels": curves})


def _watch(
    pairs: Iterable[tuple[Example, Example]], num_classes: int, surest: list[Int[np.ndarray, " K"]]
) -> Iterator[tuple[Example, Example]]:
    """Pass pairs on, checked, and note the highest level of each class."""
    for truth, found in pairs:
        check_truth(truth, found, num_classes)
        known = truth["mask"] != IGNORED
        top = np.full(num_classes, -1, np.int64)
        np.maximum.at(top, found["mask"][known].astype(np.intp), found["confidence"][known].astype(np.int64))
        surest.append(top)
        yield truth, found
