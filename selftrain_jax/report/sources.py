"""The pseudo labels of several sources of unlabelled images beside one another; call `source_blocks`."""

from collections.abc import Mapping
from typing import Any

from selftrain_jax.html.blocks import Block, Details, Note, Table
from selftrain_jax.report.workdir import RunFiles, stage_points
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.manifest import SourceEntry
from selftrain_jax.run_files.variants import differing_values, pick_number, pick_value
from selftrain_jax.text import FIRST_SOURCE, NO_VALUE, number, percent

NO_KIND = "none"


def source_blocks(run: RunFiles, unit: str, key: str, label: str) -> list[Block]:
    """List each source's images, labels, quality, share of the batches and gain, and its labels by class.

    `unit` is what is labelled, `key` the metric of an evaluation that is called `label`. Nothing where there
    is one source.
    """
    if run.manifest is None or not run.manifest.sources:
        return []
    sources = run.manifest.sources
    text = (
        "By source of the images. The share of a source in the pseudo-labelled images of a step is by its "
        "weight, however many images it has. A gain is the student's less that of the variant that leaves "
        "the source out (--variant=NAME --config.unlabeled.also.SOURCE.kind=none), with all else as here."
    )
    head = ["", "images", "share of a step", "threshold", f"{unit} at it", "of all", "precision", "recall"]
    rows = [_row(run, source, key) for source in sources]
    by_class = [
        [name, *(number(source.per_class.get(name, 0), 0) for source in sources)]
        for name in run.manifest.labels.kept_per_class
    ]
    return [
        Note(text),
        Table([*head, f"gain in {label}"], rows),
        Details("Every class by source", Table(["", *(source.name for source in sources)], by_class)),
    ]


def source_shares(config: JsonObject | None) -> dict[str, float]:
    """Return each source's share of the pseudo-labelled images, by the config that a run stores."""
    also = pick_value(config, "unlabeled.also") or {}
    further = {name: also[name] for name in sorted(also) if also[name].get("kind") != NO_KIND}
    weights = {
        FIRST_SOURCE: pick_number(config, "unlabeled.weight") or 1.0,
        **{name: pick_number(group, "weight") or 1.0 for name, group in further.items()},
    }
    return {name: float(weight) / sum(weights.values()) for name, weight in weights.items()}


def find_gain(run: RunFiles, name: str, key: str) -> float | None:
    """Subtract the student's score without a source from that with it, in points; None where unknown.

    The run without it is the variant whose config has kind=none for the source and is the same otherwise.
    """
    group = f"unlabeled.also.{name}"
    for variant in run.variants.values():
        differing = differing_values(run.config or {}, variant.config or {})
        is_without = pick_value(variant.config, f"{group}.kind") == NO_KIND
        if is_without and all(changed.startswith(f"{group}.") for changed in differing):
            gain = stage_points(run.stages["student"], key) - stage_points(variant.stages["student"], key)
            return None if gain != gain else float(gain)
    return None


def _row(run: RunFiles, source: SourceEntry, key: str) -> list[Any]:
    known: Mapping[str, Any] = (run.quality.sources or {}) if run.quality else {}
    quality, share = known.get(source.name, {}), source_shares(run.config).get(source.name)
    gain = find_gain(run, source.name, key)
    return [
        source.name,
        number(source.num_images, 0),
        NO_VALUE if share is None else percent(share),
        f"{source.threshold:g}" + (" and by class" if source.per_class_thresholds else ""),
        number(source.num_labels_at_threshold, 0),
        percent(source.num_labels_at_threshold / max(source.num_labels, 1)),
        *(number(quality.get(name), 3) for name in ("precision", "recall")),
        NO_VALUE if gain is None else number(gain, signed=True),
    ]
