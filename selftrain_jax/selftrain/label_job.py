"""The teacher labels the unlabelled images: shards, then a manifest (Paper: Section 3.1).

Call `write_pseudo_labels` with a task's `Labeller`. A call that was killed is repeated with the same
arguments: it continues at the first missing shard. Many hosts divide the shards among themselves.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import jax

from selftrain_jax import hosts
from selftrain_jax.cost.meter import Meter
from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.run_files.cost import Cost
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest, ShardEntry
from selftrain_jax.run_files.quality import QUALITY_FILE
from selftrain_jax.selftrain.checks import SourceThresholds
from selftrain_jax.selftrain.inference import chunks_in_order
from selftrain_jax.selftrain.label_identity import claim_folder, identify_labels
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, check_unchanged, read_manifest
from selftrain_jax.selftrain.shard_index import complete_indexes, count_with
from selftrain_jax.selftrain.source_counts import count_labels, describe_sources
from selftrain_jax.selftrain.write_shards import check_bad, plan_chunks, shard_paths, write_shards
from selftrain_jax.text import FIRST_SOURCE
from selftrain_jax.types import Category, Example

MAX_LISTED_BAD = 20  # of the images in the manifest that do not decode


def write_pseudo_labels(
    *,
    directory: Path,
    source: Source,
    labeller: Labeller,
    categories: Sequence[Category],
    provenance: JsonObject,
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    thresholds_by_source: Mapping[str, SourceThresholds] | None = None,
    data_sets: Mapping[str, str] | None = None,
    images_per_shard: int = 1024,
    max_bad_images: int = 0,
) -> Manifest:
    """Let the teacher label `source`, which `labeller` was made for; return the manifest.

    `provenance` goes into the manifest: `teacher` (checkpoint, digest, step), `foreign` (of each other model
    name, file, digest, weights), `config`, `versions`, of boxes `nms`. Shard k holds images k*n to
    (k+1)*n - 1 of the source, less those that do not decode. Batches end with their shard: let
    `images_per_shard` be a multiple of the batch. The thresholds only count boxes or pixels; when they have
    changed, a finished folder is counted again without inference. Of several sources (`named_sources`) the
    further ones have thresholds of their own, by name; `data_sets` names what each is.

    Raises:
        InputError: the source is empty, the folder belongs to another job or is damaged, more than
            `max_bad_images` images do not decode, the disk is full, or the teacher's output is not finite.

    Paper: Section 3.1. Differs: boxes and pixels below the threshold stay in the records, with their
    scores, so that moving the threshold needs no new inference.
    """
    started, meter = time.monotonic(), Meter(jax.devices())
    if not len(source):
        raise InputError(f"{source.name} has no image to label; check the unlabelled source")
    identity = identify_labels(source, labeller, categories, provenance, images_per_shard)
    hosts.run_on_host0(lambda: claim_folder(directory, identity, labeller.settings))
    first = SourceThresholds(threshold, dict(per_class_thresholds or {}))
    thresholds = {FIRST_SOURCE: first, **(thresholds_by_source or {})}
    counting = count_with(labeller, categories, thresholds)
    finished = hosts.run_on_host0(lambda: _read_finished(directory, labeller, thresholds))
    if finished is not None:
        return Manifest.from_json(finished, directory / MANIFEST_FILE, labeller.totals)

    paths = shard_paths(directory, len(source), images_per_shard)
    missing = hosts.run_on_host0(lambda: [shard for shard, path in enumerate(paths) if not path.exists()])
    own = [missing[position] for position in hosts.shard_range(len(missing))]
    plan = plan_chunks(own, len(source), images_per_shard, labeller.batch_size)
    with meter.compilations.listening(), closing(labeller.infer(plan)) as labelled:
        write_shards(labelled, paths, counting, len(paths) - len(missing), len(own), max_bad_images)
    hosts.wait_for_all()
    if damage := complete_indexes(paths, counting):
        raise InputError(damage[0])
    meter.read_energy()

    def finish() -> JsonObject:
        counted = count_labels(paths, counting, categories, labeller.settings)
        asked = Counter(source_of(image_id, thresholds) for image_id in source.image_ids)
        manifest = Manifest(
            provenance=provenance,
            source=source.name,
            threshold=threshold,
            per_class_thresholds=first.per_class,
            seconds=round(time.monotonic() - started, 3),
            cost=_session_cost(meter, [counted.shards[shard] for shard in missing]),
            **_count_images(source, counted.image_ids, max_bad_images),
            labels=counted.labels,
            categories=tuple(categories),
            shards=counted.shards,
            sources=describe_sources(counted, thresholds, asked, data_sets or {}),
        ).to_json()
        write_json(directory / IMAGE_IDS_FILE, counted.image_ids)
        write_json(directory / MANIFEST_FILE, manifest)
        return manifest

    return Manifest.from_json(hosts.run_on_host0(finish), directory / MANIFEST_FILE, labeller.totals)


def _session_cost(meter: Meter, made: Sequence[ShardEntry]) -> Cost | None:
    """Return what this session cost, which made these shards; waiting for images is not measured."""
    meter.count_time("working")
    meter.count_images(sum(shard.records for shard in made))
    cost = meter.cost()
    return cost and dataclasses.replace(cost, waiting_device_seconds=None)


def pair_with_found(source: Source, labeller: Labeller) -> Iterator[tuple[Example, Example]]:
    """Give the (truth, found) labels of each image of a labelled source, which `labeller` was made for.

    Raises:
        InputError: an image does not decode.
    """
    batches = labeller.infer(chunks_in_order(len(source), labeller.batch_size))
    for index, image in enumerate(image for _, images in batches for image in images):
        if isinstance(image, InputError):
            raise image
        yield source.read_labels(index), image.labels


def recount_labels(
    directory: Path,
    labeller: Labeller,
    *,
    threshold: float,
    per_class_thresholds: Mapping[str, float],
    thresholds_by_source: Mapping[str, SourceThresholds] | None = None,
) -> Manifest:
    """Return the manifest of finished labels with counts at these thresholds; nothing is inferred.

    Where they have changed, the manifest is written anew, and what compared the labels with the truth at the
    old ones is removed. Sources that only the set has keep their thresholds.

    Raises:
        InputError: the manifest or a shard is damaged.
    """
    manifest = read_manifest(directory, labeller.totals)
    first = SourceThresholds(threshold, dict(per_class_thresholds))
    before = _counted_at(manifest)
    thresholds = {**before, FIRST_SOURCE: first, **(thresholds_by_source or {})}
    counting = count_with(labeller, manifest.categories, thresholds)
    paths = [directory / shard.file for shard in manifest.shards]
    damage = complete_indexes(paths, counting)
    if thresholds == before:
        return manifest
    if damage:
        raise InputError(damage[0])

    def recount() -> JsonObject:
        counted = count_labels(paths, counting, manifest.categories, manifest.labels.settings)
        check_unchanged(directory, manifest.shards, counted.shards)
        known = {source.name: source for source in manifest.sources}
        recounted = dataclasses.replace(
            manifest,
            threshold=threshold,
            per_class_thresholds=per_class_thresholds,
            labels=counted.labels,
            sources=describe_sources(
                counted,
                thresholds,
                {name: old.num_images + old.num_bad_images for name, old in known.items()},
                {name: old.data_set for name, old in known.items()},
            ),
        ).to_json()
        (directory / QUALITY_FILE).unlink(missing_ok=True)
        write_json(directory / MANIFEST_FILE, recounted)
        return recounted

    return Manifest.from_json(hosts.run_on_host0(recount), directory / MANIFEST_FILE, labeller.totals)


def _counted_at(manifest: Manifest) -> dict[str, SourceThresholds]:
    """Return at which thresholds each source of a finished folder was counted."""
    first = SourceThresholds(manifest.threshold, dict(manifest.per_class_thresholds))
    further = {
        own.name: SourceThresholds(own.threshold, dict(own.per_class_thresholds)) for own in manifest.sources
    }
    return {FIRST_SOURCE: first, **further}


def _read_finished(
    directory: Path, labeller: Labeller, thresholds: Mapping[str, SourceThresholds]
) -> JsonObject | None:
    """Return the manifest of a finished folder, unless its counts are at other thresholds."""
    if not (directory / MANIFEST_FILE).exists():
        return None
    manifest = read_manifest(directory, labeller.totals)
    return manifest.to_json() if _counted_at(manifest) == thresholds else None


def _count_images(source: Source, labelled: Sequence[str], max_bad_images: int) -> JsonObject:
    """Count the images with labels, and those without, which are those that did not decode."""
    labelled_ids = set(labelled)
    bad_images = [image_id for image_id in source.image_ids if image_id not in labelled_ids]
    check_bad(bad_images, max_bad_images)
    return {
        "num_images": len(labelled),
        "num_bad_images": len(bad_images),
        "bad_images": tuple(bad_images[:MAX_LISTED_BAD]),
    }
