"""A finished folder of pseudo labels: read its manifest, and compare its shards with it.

`read_manifest` opens a folder; `verify_shards` compares the files before they are trained on;
`summarize_shard` describes a shard that has just been written.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import index_shard, read_record
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, read_json
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest, ShardEntry, Totals
from selftrain_jax.types import Example

IMAGE_IDS_FILE = "image_ids.json"
HISTOGRAM_EDGES = np.round(np.linspace(0, 1, 21), 2)


class ShardSummary(NamedTuple):
    """A finished shard and the counts over its images."""

    entry: ShardEntry
    image_ids: tuple[str, ...]
    counts: Any  # what the labeller's `count` returns


def read_manifest(directory: Path, totals: type[Totals]) -> Manifest[Totals]:
    """Read and check the manifest of a folder; `totals` is the kind of labels that is expected.

    Raises:
        InputError: the folder holds no finished pseudo labels, another kind, or a damaged manifest.
    """
    path = directory / MANIFEST_FILE
    value = read_json(path, "the pseudo labels are not finished; run --job=pseudo_label again")
    return Manifest.from_json(value, path, totals)


def summarize_shard(path: Path, count: Callable[[Iterator[Example]], Any]) -> ShardSummary:
    """Read a finished shard back and `count` its examples.

    Raises:
        InputError: the shard is damaged.
    """
    image_ids = []

    def read() -> Iterator[Example]:
        for offset in index_shard(path).tolist():
            example, _ = decode_record(read_record(path, offset), f"{path}@{offset}")
            image_ids.append(example["image_id"])
            yield example

    counts = count(read())
    entry = ShardEntry(
        file=path.name, records=len(image_ids), bytes=path.stat().st_size, sha256=hash_file(path)
    )
    return ShardSummary(entry, tuple(image_ids), counts)


def verify_shards(directory: Path, shards: Sequence[ShardEntry], *, digests: bool = True) -> list[np.ndarray]:
    """Compare every shard with its entry in the manifest; return the records' offsets, shard by shard.

    `digests` reads all bytes to compare their SHA-256; without it only sizes and counts are compared.

    Raises:
        InputError: a shard is missing, or has another size, content or number of records.
    """
    offsets = []
    for shard in shards:
        path = directory / shard.file  # a plain name, which reading the manifest has checked
        if not path.is_file():
            raise _mismatch(path, "is missing")
        if path.stat().st_size != shard.bytes:
            raise _mismatch(path, f"has {path.stat().st_size} bytes; the manifest says {shard.bytes}")
        if digests and (found := hash_file(path)) != shard.sha256:
            raise _mismatch(path, f"has the SHA-256 {found}; the manifest says {shard.sha256}")
        offsets.append(index_shard(path))
        if len(offsets[-1]) != shard.records:
            raise _mismatch(path, f"holds {len(offsets[-1])} records; the manifest says {shard.records}")
    return offsets


def is_unchanged(path: Path, shard: ShardEntry) -> bool:
    """Tell whether a shard's file has the size and the SHA-256 of its entry in the manifest."""
    return path.is_file() and path.stat().st_size == shard.bytes and hash_file(path) == shard.sha256


def _mismatch(path: Path, problem: str) -> InputError:
    return InputError(
        f"{path} {problem}. The shard was changed or lost after it was written: delete it and "
        f"{path.parent / MANIFEST_FILE}, and run --job=pseudo_label again; the other shards are kept."
    )
