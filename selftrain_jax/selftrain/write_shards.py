"""Shards of pseudo labels are written as they come from the network; call `write_shards`."""

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from selftrain_jax.data.records import encode_record
from selftrain_jax.data.shards import write_shard
from selftrain_jax.errors import InputError
from selftrain_jax.io import write_json
from selftrain_jax.run_files.shard_index import index_path
from selftrain_jax.selftrain.inference import Inferred, InferredChunk
from selftrain_jax.selftrain.shard_index import Counting, ImageCounts, Tally
from selftrain_jax.text import shorten_list
from selftrain_jax.threads import thread_pool


def shard_paths(directory: Path, num_images: int, images_per_shard: int) -> list[Path]:
    """Return `pseudo-00000-of-00012.tfrecord` and so on."""
    count = math.ceil(num_images / images_per_shard)
    return [directory / f"pseudo-{shard:05d}-of-{count:05d}.tfrecord" for shard in range(count)]


def plan_chunks(
    missing: Iterable[int], num_images: int, images_per_shard: int, batch_size: int
) -> Iterator[tuple[int, range]]:
    """Cut each missing shard into batches."""
    for shard in missing:
        end = min((shard + 1) * images_per_shard, num_images)
        for start in range(shard * images_per_shard, end, batch_size):
            yield shard, range(start, min(start + batch_size, end))


def write_shards(
    labelled: Iterable[InferredChunk],
    paths: Sequence[Path],
    counting: Counting,
    num_finished: int,
    num_own: int,
    max_bad_images: int,
) -> None:
    """Write the shards of a host, each with its index, and print how far it is.

    Raises:
        InputError: the disk is full, or more than `max_bad_images` images do not decode.
    """
    started, images, bad = time.monotonic(), 0, list[str]()
    with thread_pool(os.cpu_count() or 1) as pool:
        for done, (shard, chunks) in enumerate(itertools.groupby(labelled, lambda chunk: chunk[0]), start=1):
            tally, index = Tally(counting), index_path(paths[shard])
            index.unlink(missing_ok=True)  # of an earlier file under this name
            written = write_shard(paths[shard], _records(chunks, pool, tally, bad, max_bad_images))
            write_json(index, tally.index(written).to_json())
            images += len(tally.image_ids)
            seconds = time.monotonic() - started
            print(
                f"pseudo labels: {num_finished + done} of {num_finished + num_own} shards, "
                f"{images / seconds:.1f} images/s, {len(bad)} images do not decode, "
                f"{seconds / done * (num_own - done):.0f} s left",
                flush=True,
            )


def _records(
    chunks: Iterable[InferredChunk],
    pool: ThreadPoolExecutor,
    tally: Tally,
    bad: list[str],
    max_bad_images: int,
) -> Iterator[bytes]:
    """Encode and count the labelled images, in threads; collect why others were left out into `bad`.

    A batch is waited for when the next one has come from the network.
    """
    encoding: deque[list[Future[tuple[bytes, ImageCounts]]]] = deque()
    for _, images in chunks:
        bad.extend(str(image) for image in images if isinstance(image, InputError))
        check_bad(bad, max_bad_images)
        inferred = [image for image in images if isinstance(image, Inferred)]
        encoding.append([pool.submit(_encode, image, tally.counting) for image in inferred])
        if len(encoding) > 1:
            yield from _collect(encoding.popleft(), tally)
    for records in encoding:
        yield from _collect(records, tally)


def _encode(image: Inferred, counting: Counting) -> tuple[bytes, ImageCounts]:
    return encode_record(image.labels, image.encoded, *image.size_px), counting.of_image(image.labels)


def _collect(records: Iterable[Future[tuple[bytes, ImageCounts]]], tally: Tally) -> Iterator[bytes]:
    for future in records:
        record, counts = future.result()
        tally.add(counts)
        yield record


def check_bad(bad_images: Sequence[str], max_bad_images: int) -> None:
    """Raises: InputError: too many images do not decode."""
    if len(bad_images) > max_bad_images:
        raise InputError(
            f"{len(bad_images)} images do not decode, allowed are {max_bad_images}: "
            f"{shorten_list(bad_images)}. Repair or remove them, or raise config.data.max_bad_images."
        )
