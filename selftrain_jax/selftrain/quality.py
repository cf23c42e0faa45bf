"""The quality of pseudo labels of any task: find the truth of each image, compare scores with precision.

`tasks/<task>/pseudo/quality.py` measures and writes quality.json.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from selftrain_jax.data.named_sources import of_known_sources
from selftrain_jax.data.source import Source, subset
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.quality import Calibration, Quality
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Example

CALIBRATION_EDGES = np.round(np.linspace(0, 1, 11), 1)


def pair_with_truth(pseudo: Source, truth: Source) -> Iterator[tuple[Example, Example]]:
    """Give the (truth, pseudo) labels of each pseudo-labelled image.

    Raises:
        InputError: as `find_truth`. At once, not at the first pair.
    """
    positions = find_truth(pseudo, truth)
    return (
        (truth.read_labels(position), pseudo.read_labels(index)) for index, position in enumerate(positions)
    )


def of_known_truth(pseudo: Source, truth: Source, names: Collection[str]) -> Source:
    """Keep the pseudo-labelled images of those sources, of several (`names`), that `truth` has images of."""
    known = set(of_known_sources(pseudo.image_ids, truth.image_ids, names))
    if len(known) == len(pseudo):
        return pseudo
    kept = [index for index, image_id in enumerate(pseudo.image_ids) if image_id in known]
    return subset(pseudo, kept, pseudo.name)


def find_truth(pseudo: Source, truth: Source) -> list[int]:
    """Find the position in `truth` of each pseudo-labelled image.

    Raises:
        InputError: `truth` has other categories or lacks one of the images.
    """
    if set(truth.categories) != set(pseudo.categories):
        raise InputError(
            f"{truth.name} has the categories {truth.categories[:5]}, {pseudo.name} has "
            f"{pseudo.categories[:5]}; the quality can only be measured against the same categories"
        )
    position = {image_id: index for index, image_id in enumerate(truth.image_ids)}
    missing = [image_id for image_id in pseudo.image_ids if image_id not in position]
    if missing:
        raise InputError(
            f"{truth.name} has no labels for {len(missing)} images of {pseudo.name}: "
            f"{shorten_list(missing)}. Pass the labels of the images that were labelled by the teacher."
        )
    return [position[image_id] for image_id in pseudo.image_ids]


def calibrate(
    count: np.ndarray, score_sum: Sequence[float] | np.ndarray, num_true: np.ndarray
) -> Calibration:
    """Compare the mean score with the precision in the bins between CALIBRATION_EDGES.

    Expected error = sum over bins of count / all * |mean score - precision|.
    """
    return Calibration(
        edges=tuple(CALIBRATION_EDGES.tolist()),
        mean_score=tuple(ratio(*pair) for pair in zip(score_sum, count, strict=True)),
        precision=tuple(ratio(*pair) for pair in zip(num_true, count, strict=True)),
        count=tuple(count.tolist()),
        expected_calibration_error=ratio(np.abs(score_sum - num_true).sum(), count.sum()),
    )


def suggest_thresholds(quality: Quality) -> dict[str, float]:
    """Return the threshold of each class with the best F1 = 2 P R / (P + R), the lowest of equals.

    Classes that are never true are left out. Not used by default: the paper has one threshold.
    """
    best = {}
    for name, curves in quality.per_class.items():
        precision, recall = (np.array(curves[key], float) for key in ("precision", "recall"))  # None -> nan
        with np.errstate(invalid="ignore"):
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        if f1.any():
            best[name] = quality.thresholds[int(f1.argmax())]
    return best


def ratio(part: Any, whole: Any) -> float | None:
    """Divide; None where there is nothing to divide by."""
    return float(part) / float(whole) if whole else None
