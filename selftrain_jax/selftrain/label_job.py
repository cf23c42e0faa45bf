"""The teacher labels the unlabelled images: shards, then a manifest (Paper: Section 3.1).

Call `write_pseudo_labels` with a task's `Labeller`. A call that was killed is repeated with the same
arguments: it continues at the first missing shard. Many hosts divide the shards among themselves.
"""

import dataclasses
import itertools
import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from selftrain_jax import hosts
from selftrain_jax.data.named_sources import source_of
from selftrain_jax.data.records import encode_record
from selftrain_jax.data.shards import write_shard
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.run_files.fields import JsonObject
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest
from selftrain_jax.run_files.quality import QUALITY_FILE
from selftrain_jax.selftrain.checks import SourceThresholds, class_thresholds
from selftrain_jax.selftrain.inference import Inferred, InferredChunk, chunks_in_order
from selftrain_jax.selftrain.label_identity import claim_folder, identify_labels
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, read_manifest
from selftrain_jax.selftrain.source_counts import count_labels, describe_sources
from selftrain_jax.text import FIRST_SOURCE, shorten_list
from selftrain_jax.threads import thread_pool
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
    started = time.monotonic()
    if not len(source):
        raise InputError(f"{source.name} has no image to label; check the unlabelled source")
    identity = identify_labels(source, labeller, categories, provenance, images_per_shard)
    hosts.run_on_host0(lambda: claim_folder(directory, identity, labeller.settings))
    first = SourceThresholds(threshold, dict(per_class_thresholds or {}))
    thresholds = {FIRST_SOURCE: first, **(thresholds_by_source or {})}
    for of_source in thresholds.values():
        class_thresholds(categories, *of_source)
    finished = hosts.run_on_host0(lambda: _read_finished(directory, labeller, thresholds))
    if finished is not None:
        return Manifest.from_json(finished, directory / MANIFEST_FILE, labeller.totals)

    paths = shard_paths(directory, len(source), images_per_shard)
    missing = hosts.run_on_host0(lambda: [shard for shard, path in enumerate(paths) if not path.exists()])
    own = [missing[position] for position in hosts.shard_range(len(missing))]
    plan = _plan(own, len(source), images_per_shard, labeller.batch_size)
    with closing(labeller.infer(plan)) as labelled:
        _write_shards(labelled, paths, len(paths) - len(missing), len(own), max_bad_images)
    hosts.wait_for_all()

    def finish() -> JsonObject:
        counted = count_labels(paths, labeller, categories, thresholds, labeller.settings)
        asked = Counter(source_of(image_id, thresholds) for image_id in source.image_ids)
        manifest = Manifest(
            provenance=provenance,
            source=source.name,
            threshold=threshold,
            per_class_thresholds=first.per_class,
            seconds=round(time.monotonic() - started, 3),
            **_count_images(source, counted.image_ids, max_bad_images),
            labels=counted.labels,
            categories=tuple(categories),
            shards=tuple(shard.entry for shard in counted.shards),
            sources=describe_sources(counted, thresholds, asked, data_sets or {}),
        ).to_json()
        write_json(directory / IMAGE_IDS_FILE, counted.image_ids)
        write_json(directory / MANIFEST_FILE, manifest)
        return manifest

    return Manifest.from_json(hosts.run_on_host0(finish), directory / MANIFEST_FILE, labeller.totals)


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

    def recount() -> JsonObject:
        manifest = read_manifest(directory, labeller.totals)
        first = SourceThresholds(threshold, dict(per_class_thresholds))
        asked = {FIRST_SOURCE: first, **(thresholds_by_source or {})}
        thresholds = {**_counted_at(manifest), **asked}
        if thresholds == _counted_at(manifest):
            return manifest.to_json()
        paths = [directory / shard.file for shard in manifest.shards]
        made_with = manifest.labels.settings
        counted = count_labels(paths, labeller, manifest.categories, thresholds, made_with)
        before = {source.name: source for source in manifest.sources}
        recounted = dataclasses.replace(
            manifest,
            threshold=threshold,
            per_class_thresholds=per_class_thresholds,
            labels=counted.labels,
            sources=describe_sources(
                counted,
                thresholds,
                {name: old.num_images + old.num_bad_images for name, old in before.items()},
                {name: old.data_set for name, old in before.items()},
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
    _check_bad(bad_images, max_bad_images)
    return {
        "num_images": len(labelled),
        "num_bad_images": len(bad_images),
        "bad_images": tuple(bad_images[:MAX_LISTED_BAD]),
    }


def shard_paths(directory: Path, num_images: int, images_per_shard: int) -> list[Path]:
    """Return `pseudo-00000-of-00012.tfrecord` and so on."""
    count = math.ceil(num_images / images_per_shard)
    return [directory / f"pseudo-{shard:05d}-of-{count:05d}.tfrecord" for shard in range(count)]


def _plan(
    missing: Iterable[int], num_images: int, images_per_shard: int, batch_size: int
) -> Iterator[tuple[int, range]]:
    """Cut each missing shard into batches."""
    for shard in missing:
        end = min((shard + 1) * images_per_shard, num_images)
        for start in range(shard * images_per_shard, end, batch_size):
            yield shard, range(start, min(start + batch_size, end))


def _write_shards(
    labelled: Iterable[InferredChunk],
    paths: Sequence[Path],
    num_finished: int,
    num_own: int,
    max_bad_images: int,
) -> None:
    started, images, bad = time.monotonic(), 0, list[str]()
    with thread_pool(os.cpu_count() or 1) as pool:
        for done, (shard, chunks) in enumerate(itertools.groupby(labelled, lambda chunk: chunk[0]), start=1):
            images += write_shard(paths[shard], _records(chunks, pool, bad, max_bad_images))
            seconds = time.monotonic() - started
            print(
                f"pseudo labels: {num_finished + done} of {num_finished + num_own} shards, "
                f"{images / seconds:.1f} images/s, {len(bad)} images do not decode, "
                f"{seconds / done * (num_own - done):.0f} s left",
                flush=True,
            )


def _records(
    chunks: Iterable[InferredChunk], pool: ThreadPoolExecutor, bad: list[str], max_bad_images: int
) -> Iterator[bytes]:
    """Encode the labelled images, in threads, and collect why others were left out into `bad`.

    A batch is waited for when the next one has come from the network.
    """
    encoding: deque[list[Future[bytes]]] = deque()
    for _, images in chunks:
        bad.extend(str(image) for image in images if isinstance(image, InputError))
        _check_bad(bad, max_bad_images)
        encoding.append([pool.submit(_encode, image) for image in images if isinstance(image, Inferred)])
        if len(encoding) > 1:
            yield from (record.result() for record in encoding.popleft())
    yield from (record.result() for records in encoding for record in records)


def _encode(image: Inferred) -> bytes:
    return encode_record(image.labels, image.encoded, *image.size_px)


def _check_bad(bad_images: Sequence[str], max_bad_images: int) -> None:
    if len(bad_images) > max_bad_images:
        raise InputError(
            f"{len(bad_images)} images do not decode, allowed are {max_bad_images}: "
            f"{shorten_list(bad_images)}. Repair or remove them, or raise config.data.max_bad_images."
        )
