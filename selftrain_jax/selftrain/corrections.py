"""How often the teacher was wrong in what people reviewed, with an interval; call `error_rate`.

The rate is of the images that were reviewed. Where they were chosen, as those that the teacher is least sure
of, the whole set's is another.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.run_files.corrections import OUTCOMES, StoredLayer, count_outcomes, reviewed_images
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.selftrain.calibration import wilson_interval
from selftrain_jax.text import percent


class ErrorRate(NamedTuple):
    """The share of the teacher's boxes that a person moved, relabelled or removed."""

    wrong: int
    boxes: int
    interval: tuple[float, float]  # Wilson's, 90 %


def error_rate(counts: Mapping[str, int]) -> ErrorRate | None:
    """Return how often the teacher was wrong, from the number of each outcome; None without a box of its own.

    What was added is no box of the teacher's: it was missed.
    """
    wrong = counts["moved"] + counts["relabelled"] + counts["removed"]
    boxes = wrong + counts["kept"]
    return ErrorRate(wrong, boxes, wilson_interval(wrong / boxes, boxes)) if boxes else None


def format_rate(rate: ErrorRate) -> str:
    """Write a rate with its interval."""
    low, high = rate.interval
    return f"{percent(rate.wrong / rate.boxes)} ({percent(low)} to {percent(high)})"


def sum_outcomes(by_class: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """Add up the outcomes of all classes."""
    return {outcome: sum(counts[outcome] for counts in by_class.values()) for outcome in OUTCOMES}


def summarize_corrections(layers: Sequence[StoredLayer], names: Mapping[int, str]) -> JsonObject:
    """Return what summary.json says of all layers: images, and the outcomes and error rate of each class."""
    images = reviewed_images([stored.layer for stored in layers])
    by_class = count_outcomes(images)
    return {
        "layers": len(layers),
        "digest": layers[-1].digest,
        "images": len(images),
        **_to_json(sum_outcomes(by_class)),
        "per_class": {
            names.get(class_id, str(class_id)): _to_json(own) for class_id, own in by_class.items()
        },
    }


def _to_json(counts: Mapping[str, int]) -> JsonObject:
    rate = error_rate(counts)
    if rate is None:
        return {**counts, "error_rate": None, "interval": None}
    return {**counts, "error_rate": rate.wrong / rate.boxes, "interval": list(rate.interval)}
