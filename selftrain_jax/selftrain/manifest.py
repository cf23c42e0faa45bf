"""A finished folder of pseudo labels: read its manifest, and compare its shards with it.

`read_manifest` opens a folder; `check_unchanged` compares its shards, as their indexes describe them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, read_json
from selftrain_jax.run_files.manifest import MANIFEST_FILE, Manifest, ShardEntry, Totals

IMAGE_IDS_FILE = "image_ids.json"
HISTOGRAM_EDGES = np.round(np.linspace(0, 1, 21), 2)


def read_manifest(directory: Path, totals: type[Totals]) -> Manifest[Totals]:
    """Read and check the manifest of a folder; `totals` is the kind of labels that is expected.

    Raises:
        InputError: the folder holds no finished pseudo labels, another kind, or a damaged manifest.
    """
    path = directory / MANIFEST_FILE
    value = read_json(path, "the pseudo labels are not finished; run --job=pseudo_label again")
    return Manifest.from_json(value, path, totals)


def check_unchanged(directory: Path, expected: Sequence[ShardEntry], found: Sequence[ShardEntry]) -> None:
    """Compare the shards of a finished folder with its manifest.

    Raises:
        InputError: one has another size, content or number of records.
    """
    for entry, own in zip(expected, found, strict=True):
        for key, unit in (("bytes", "bytes"), ("records", "records"), ("sha256", "as its SHA-256")):
            if getattr(own, key) != getattr(entry, key):
                problem = f"has {getattr(own, key)} {unit}; the manifest says {getattr(entry, key)}"
                raise shard_mismatch(directory / entry.file, problem)


def shard_mismatch(path: Path, problem: str) -> InputError:
    """Return the error for a shard that is not what the manifest says."""
    return InputError(
        f"{path} {problem}. The shard was changed or lost after it was written: delete it and "
        f"{path.parent / MANIFEST_FILE}, and run --job=pseudo_label again; the other shards are kept."
    )


def is_unchanged(path: Path, shard: ShardEntry) -> bool:
    """Tell whether a shard's file has the size and the SHA-256 of its entry in the manifest."""
    return path.is_file() and path.stat().st_size == shard.bytes and hash_file(path) == shard.sha256
