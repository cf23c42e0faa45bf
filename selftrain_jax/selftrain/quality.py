"""What the quality of pseudo boxes and of pseudo masks have in common: truth found for each image, shares.

`pseudo_quality.py` and `mask_quality.py` measure; both write quality.json.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.types import Example

QUALITY_FILE = "quality.json"
CALIBRATION_EDGES = np.round(np.linspace(0, 1, 11), 1)


def pair_with_truth(pseudo: Source, truth: Source) -> Iterator[tuple[Example, Example]]:
    """Give the (truth, pseudo) labels of each pseudo-labelled image.

    Raises:
      InputError: as `find_truth`. At once, not at the first pair.
    """
    places = find_truth(pseudo, truth)
    return ((truth.read_labels(place), pseudo.read_labels(index)) for index, place in enumerate(places))


def find_truth(pseudo: Source, truth: Source) -> list[int]:
    """Find the place in `truth` of each pseudo-labelled image.

    Raises:
      InputError: `truth` has other categories or lacks one of the images.
    """
    if set(truth.categories) != set(pseudo.categories):
        raise InputError(
            f"{truth.name} has the categories {truth.categories[:5]}, {pseudo.name} has "
            f"{pseudo.categories[:5]}; the quality can only be measured against the same categories"
        )
    place = {image_id: index for index, image_id in enumerate(truth.image_ids)}
    missing = [image_id for image_id in pseudo.image_ids if image_id not in place]
    if missing:
        raise InputError(
            f"{truth.name} has no labels for {len(missing)} images of {pseudo.name}, such as {missing[:5]}; "
            "pass the labels of the images that were labelled by the teacher"
        )
    return [place[image_id] for image_id in pseudo.image_ids]


def describe_calibration(
    count: np.ndarray, score_sum: Sequence[float] | np.ndarray, num_true: np.ndarray
) -> dict[str, Any]:
    """Mean score against precision in the bins between CALIBRATION_EDGES.

    Expected error = sum over bins of count / all * |mean score - precision|.
    """
    return {
        "edges": CALIBRATION_EDGES.tolist(),
        "mean_score": [ratio(*pair) for pair in zip(score_sum, count, strict=True)],
        "precision": [ratio(*pair) for pair in zip(num_true, count, strict=True)],
        "count": count.tolist(),
        "expected_calibration_error": ratio(np.abs(score_sum - num_true).sum(), count.sum()),
    }


def ratio(part: Any, whole: Any) -> float | None:
    """Divide; None where there is nothing to divide by."""
    return float(part) / float(whole) if whole else None
