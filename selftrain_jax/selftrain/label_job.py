"""The teacher labels the unlabelled images: shards, then a manifest (Paper: Section 3.1).

Call `write_pseudo_labels` until it returns; a killed call is repeated with the same arguments and
goes on at the first missing shard. `pseudo_source.read_pseudo_labels` reads boxes back,
`mask_source.read_pseudo_masks` masks. Many hosts share the shards out; one run a folder.
"""

import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from selftrain_jax import hosts
from selftrain_jax.data.records import encode_record
from selftrain_jax.data.shards import write_shard
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json
from selftrain_jax.selftrain.inference import Inferred, InferredChunk
from selftrain_jax.selftrain.labeller import Labeller
from selftrain_jax.selftrain.manifest import (
    BOXES,
    IMAGE_IDS_FILE,
    MANIFEST_FILE,
    Manifest,
    class_thresholds,
    make_manifest,
    read_manifest,
    summarise_shard,
)
from selftrain_jax.types import Category

JOB_FILE = "job.json"


def write_pseudo_labels(
    *,
    directory: Path,
    source: Source,
    labeller: Labeller,
    categories: Sequence[Category],
    provenance: Mapping[str, Any],
    threshold: float = 0.5,
    per_class_thresholds: Mapping[str, float] | None = None,
    images_per_shard: int = 1024,
    max_bad_images: int = 0,
) -> Manifest:
    """Let the teacher label `source`, which `labeller` was made for; return the manifest.

    `provenance` goes into the manifest: `teacher` (checkpoint, digest, step), `config`, `versions`, of
    boxes `nms`. Shard k holds images k*n to (k+1)*n - 1 of the source, less those that do not
    decode. Batches end with their shard: let `images_per_shard` be a multiple of the batch. The
    thresholds only count boxes or pixels; when they have changed, a finished folder is counted anew
    without inference.

    Raises:
      InputError: the source is empty, the folder belongs to another job or is damaged, more than
        `max_bad_images` images do not decode, the disk is full, or the teacher's output is not finite.

    Paper: Section 3.1. Differs: boxes and pixels below the threshold stay in the records, with their
    scores, so that moving the threshold needs no new inference.
    """
    started = time.monotonic()
    if not len(source):
        raise InputError(f"{source.name} has no image to label; check the unlabelled source")
    identity = _identity(source, labeller, categories, provenance, images_per_shard)
    hosts.run_on_host0(lambda: claim_folder(directory, identity))
    counted_at = {"threshold": threshold, "per_class_thresholds": dict(per_class_thresholds or {})}
    thresholds = class_thresholds(categories, threshold, per_class_thresholds)
    manifest = hosts.run_on_host0(lambda: _finished_before(directory, counted_at))
    if manifest is not None:
        return manifest

    paths = shard_paths(directory, len(source), images_per_shard)
    missing = hosts.run_on_host0(lambda: [shard for shard, path in enumerate(paths) if not path.exists()])
    own = [missing[place] for place in hosts.shard_range(len(missing))]
    labelled = labeller.infer(_plan(own, len(source), images_per_shard, labeller.batch_size))
    _write_shards(labelled, paths, len(paths) - len(missing), len(own), max_bad_images)
    hosts.wait_for_all()

    def finish() -> Manifest:
        facts = {**provenance, **labeller.identity, "source": source.name, **counted_at}
        shards = [
            summarise_shard(path, lambda examples: labeller.summarise(examples, thresholds)) for path in paths
        ]
        image_ids = [image_id for shard in shards for image_id in shard.image_ids]
        bad_images = _left_out(source, image_ids, max_bad_images)
        manifest = make_manifest(
            shards,
            categories=categories,
            bad_images=bad_images,
            facts={**facts, "seconds": round(time.monotonic() - started, 3)},
            totals=labeller.tally([shard.counts for shard in shards], categories),
        )
        write_json(directory / IMAGE_IDS_FILE, image_ids)
        write_json(directory / MANIFEST_FILE, manifest)
        return manifest

    return hosts.run_on_host0(finish)


def _finished_before(directory: Path, counted_at: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest of a finished folder, unless its counts are of other thresholds."""
    if not (directory / MANIFEST_FILE).exists():
        return None
    manifest = read_manifest(directory)
    return manifest if all(manifest.get(key) == value for key, value in counted_at.items()) else None


def _left_out(source: Source, labelled: Sequence[str], max_bad_images: int) -> list[str]:
    """Return the ids of images without labels, which are those that did not decode."""
    labelled_ids = set(labelled)
    bad_images = [image_id for image_id in source.image_ids if image_id not in labelled_ids]
    _check_bad(bad_images, max_bad_images)
    return bad_images


def shard_paths(directory: Path, num_images: int, images_per_shard: int) -> list[Path]:
    """Return `pseudo-00000-of-00012.tfrecord` and so on."""
    count = math.ceil(num_images / images_per_shard)
    return [directory / f"pseudo-{shard:05d}-of-{count:05d}.tfrecord" for shard in range(count)]


def claim_folder(directory: Path, identity: Mapping[str, Any]) -> None:
    """Write what makes the labels what they are, or check that the folder was begun with the same.

    Raises:
      InputError: the folder was begun with something else, which is named.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / JOB_FILE
    hint = "the shards beside it cannot be told apart from another teacher's; delete the folder to start anew"
    if not path.exists() and not any(directory.glob("pseudo-*.tfrecord")):
        write_json(path, identity)
    begun = {"kind": BOXES, **read_json(path, hint)}  # the first jobs do not say it
    asked = json.loads(json.dumps(identity))
    differing = [key for key in asked if begun.get(key) != asked[key]]
    if differing:
        changes = "; ".join(f"{key}: {begun.get(key)!r} then, {asked[key]!r} now" for key in differing)
        raise InputError(
            f"{directory} holds pseudo labels of another job ({changes}). Delete the folder to label anew, "
            "or choose another workdir."
        )


def _identity(
    source: Source,
    labeller: Labeller,
    categories: Sequence[Category],
    provenance: Mapping[str, Any],
    images_per_shard: int,
) -> dict[str, Any]:
    """Collect what makes the labels what they are; labels of another identity may not be mixed in."""
    return {
        "teacher_digest": provenance["teacher"]["digest"],
        **({"nms": provenance["nms"]} if "nms" in provenance else {}),
        "source": source.name,
        "image_ids_sha256": hashlib.sha256("\n".join(source.image_ids).encode()).hexdigest(),
        "num_images": len(source),
        "categories": [category._asdict() for category in categories],
        "images_per_shard": images_per_shard,
        **labeller.identity,
    }


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
    for done, (shard, chunks) in enumerate(itertools.groupby(labelled, lambda chunk: chunk[0]), start=1):
        images += write_shard(paths[shard], _records(chunks, bad, max_bad_images))
        seconds = time.monotonic() - started
        print(
            f"pseudo labels: {num_finished + done} of {num_finished + num_own} shards, "
            f"{images / seconds:.1f} images/s, {len(bad)} images do not decode, "
            f"{seconds / done * (num_own - done):.0f} s left",
            flush=True,
        )


def _records(chunks: Iterable[InferredChunk], bad: list[str], max_bad_images: int) -> Iterator[bytes]:
    """Encode the labelled images and collect why others were left out into `bad`."""
    for _, images in chunks:
        bad.extend(str(image) for image in images if isinstance(image, InputError))
        _check_bad(bad, max_bad_images)
        for image in images:
            if isinstance(image, Inferred):
                yield encode_record(image.labels, image.encoded, *image.size_px)


def _check_bad(bad_images: Sequence[str], max_bad_images: int) -> None:
    if len(bad_images) > max_bad_images:
        raise InputError(
            f"{len(bad_images)} images do not decode, allowed are {max_bad_images}: "
            f"{'; '.join(bad_images[:5])}. Repair or remove them, or raise config.data.max_bad_images."
        )
