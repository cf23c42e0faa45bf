"""Pseudo labels at the threshold that a config asks for, where that was moved after they were made.

Records keep what is below the threshold, so that runs of several thresholds share one folder of labels: its
manifest and quality.json say "at threshold" of the one with which it was made. Call `summarize_labels`.
"""

from typing import Any

from selftrain_jax.run_files.fields import JsonObject, Number
from selftrain_jax.run_files.manifest import Manifest
from selftrain_jax.run_files.quality import Quality
from selftrain_jax.run_files.summary import LabelSummary
from selftrain_jax.run_files.variants import pick_number, pick_value

THRESHOLD, BY_CLASS = "pseudo.threshold", "pseudo.per_class_thresholds"


def summarize_labels(
    manifest: Manifest[Any], quality: Quality | None, config: JsonObject | None
) -> LabelSummary:
    """Count the labels that a config's threshold keeps, and say how good they are.

    At a threshold of its own the number is read off the histogram of scores, and quality off its curves:
    exact at the histogram's edges, in proportion between them. The number of each class is then unknown, and
    with thresholds by class so is all but the number of images.
    """
    labels = manifest.labels
    if is_as_made(manifest, config):
        counts, per_class = {labels.unit: labels.num_kept}, labels.kept_per_class
    else:
        threshold = moved_threshold(config)
        kept = None if threshold is None else labels.histogram.count_from(threshold)
        counts, per_class = {} if kept is None else {labels.unit: kept}, {}
    known = labels.summary_of(counts[labels.unit]) if counts else dict.fromkeys(labels.summary_of(0))
    measured = quality_in_use(manifest, quality, config)
    names = {"precision": None, "recall": None, **known}
    return LabelSummary(
        images=manifest.num_images,
        counts=counts,
        per_class=per_class,
        seconds=manifest.seconds,
        quality=names | {name: measured[name] for name in names if name in measured},
    )


def quality_in_use(
    manifest: Manifest[Any], quality: Quality | None, config: JsonObject | None
) -> dict[str, Number | None]:
    """Give precision, recall and what else is measured at a config's threshold; nothing if unknown."""
    if quality is None:
        return {}
    if is_as_made(manifest, config):
        return dict(quality.at_threshold)
    threshold = moved_threshold(config)
    return {} if threshold is None else {"threshold": threshold, **quality.at(threshold)}


def is_as_made(manifest: Manifest[Any], config: JsonObject | None) -> bool:
    """Tell whether a config asks for the thresholds with which the labels were made."""
    made = manifest.provenance.get("config")
    if not isinstance(made, dict) or pick_number(made, THRESHOLD) is None:
        made = {"pseudo": {"threshold": manifest.threshold, "per_class_thresholds": ""}}
    asked = pick_number(config, THRESHOLD)
    same_classes = (pick_value(config, BY_CLASS) or "") == (pick_value(made, BY_CLASS) or "")
    return asked is None or (asked == pick_number(made, THRESHOLD) and same_classes)


def threshold_in_use(manifest: Manifest[Any], config: JsonObject | None) -> Number:
    """Return the threshold of a config for all classes, or else that with which the labels were made."""
    asked = pick_number(config, THRESHOLD)
    return manifest.threshold if asked is None else asked


def moved_threshold(config: JsonObject | None) -> Number | None:
    """Return a config's threshold where it is one for all classes."""
    return None if pick_value(config, BY_CLASS) else pick_number(config, THRESHOLD)
