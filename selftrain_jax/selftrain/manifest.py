"""What a folder of pseudo labels says of itself: its manifest, and whether its shards fit it.

`summarise_shard` reads a shard back, `make_manifest` puts the shards together (`box_manifest.py` and
`mask_manifest.py` count what they hold); `verify_shards` holds the files against the manifest before
they are trained on.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import index_shard, read_record
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.selftrain.manifest_form import BOXES as BOXES
from selftrain_jax.selftrain.manifest_form import MASKS as MASKS
from selftrain_jax.selftrain.manifest_form import Manifest, check_manifest
from selftrain_jax.types import Category, Example

MANIFEST_FILE = "manifest.json"
IMAGE_IDS_FILE = "image_ids.json"
HISTOGRAM_EDGES = np.round(np.linspace(0, 1, 21), 2)


class ShardSummary(NamedTuple):
    """A finished shard and the counts over its images."""

    file: str
    bytes: int
    sha256: str
    image_ids: tuple[str, ...]
    counts: Any  # BoxCounts or MaskCounts

    def describe(self) -> dict[str, Any]:
        """Return the manifest's entry for this shard."""
        return {"file": self.file, "records": len(self.image_ids), "bytes": self.bytes, "sha256": self.sha256}


def class_thresholds(
    categories: Sequence[Category], threshold: float, per_class: Mapping[str, float] | None
) -> np.ndarray:
    """Return the score threshold of each class, indexed by Category.id.

    Raises:
      InputError: a threshold for a class that does not exist, or one outside [0, 1].
    """
    per_class = per_class or {}
    ids = {category.name: category.id for category in categories}
    unknown = sorted(set(per_class) - set(ids))
    if unknown:
        raise InputError(
            f"thresholds for unknown classes {unknown[:5]} ({len(unknown)}); expected names "
            f"among {sorted(ids)[:20]}"
        )
    wrong = {name: value for name, value in {"": threshold, **per_class}.items() if not 0 <= value <= 1}
    if wrong:
        raise InputError(f"score thresholds must lie between 0 and 1; got {wrong} ('' is the common one)")
    thresholds = np.full(1 + max((category.id for category in categories), default=0), threshold, np.float32)
    for name, value in per_class.items():
        thresholds[ids[name]] = value
    return thresholds


def summarise_shard(path: Path, count: Callable[[Iterator[Example]], Any]) -> ShardSummary:
    """Read a finished shard back and `count` its examples. Raises: InputError when it is damaged."""
    image_ids = []

    def read() -> Iterator[Example]:
        for offset in index_shard(path).tolist():
            example, _ = decode_record(read_record(path, offset), f"{path}@{offset}")
            image_ids.append(example["image_id"])
            yield example

    counts = count(read())
    return ShardSummary(path.name, path.stat().st_size, _sha256(path), tuple(image_ids), counts)


def make_manifest(
    shards: Sequence[ShardSummary],
    *,
    categories: Sequence[Category],
    bad_images: Sequence[str],
    facts: Mapping[str, Any],
    totals: Mapping[str, Any],
) -> Manifest:
    """Describe a folder: `facts` of its making (teacher, threshold, source, ...), `totals` of its labels."""
    return {
        **facts,
        "num_images": sum(len(shard.image_ids) for shard in shards),
        "num_bad_images": len(bad_images),
        "bad_images": list(bad_images[:20]),
        **totals,
        "categories": [category._asdict() for category in categories],
        "shards": [shard.describe() for shard in shards],
    }


def read_manifest(directory: Path, kind: str | None = None) -> Manifest:
    """Read and check the manifest of a folder.

    Raises:
      InputError: the folder holds no finished pseudo labels, others than of `kind`, or a damaged manifest.
    """
    path = directory / MANIFEST_FILE
    manifest = read_json(path, "the pseudo labels are not finished; run --job=pseudo_label again")
    check_manifest(manifest, path)
    if kind is not None:
        require_kind(manifest, kind, str(directory))
    return manifest


def require_kind(manifest: Manifest, kind: str, where: str) -> None:
    """Raises: InputError when the manifest is not of pseudo `kind`, BOXES or MASKS."""
    found = manifest.get("kind", BOXES)  # the first manifests do not say it
    if found != kind:
        raise InputError(
            f"{where} holds pseudo {found}, expected pseudo {kind}. config.task says which: detection makes "
            "boxes, segmentation masks. Name a workdir of this task."
        )


def verify_shards(directory: Path, manifest: Manifest, *, digests: bool = True) -> list[np.ndarray]:
    """Hold every shard against the manifest; return the records' offsets, shard by shard.

    `digests` reads all bytes to compare their SHA-256; without it sizes and counts are compared.

    Raises:
      InputError: a shard is missing, or has another size, content or number of records.
    """
    offsets = []
    for shard in manifest["shards"]:
        path = directory / shard["file"]  # a plain name, as `check_manifest` sees to
        if not path.is_file():
            raise _mismatch(path, "is missing")
        if path.stat().st_size != shard["bytes"]:
            raise _mismatch(path, f"has {path.stat().st_size} bytes; the manifest says {shard['bytes']}")
        if digests and _sha256(path) != shard["sha256"]:
            raise _mismatch(path, f"has the SHA-256 {_sha256(path)}; the manifest says {shard['sha256']}")
        offsets.append(index_shard(path))
        if len(offsets[-1]) != shard["records"]:
            raise _mismatch(path, f"holds {len(offsets[-1])} records; the manifest says {shard['records']}")
    return offsets


def is_unchanged(path: Path, shard: Mapping[str, Any]) -> bool:
    """Tell whether a shard's file has the size and the SHA-256 of the manifest's entry."""
    return path.is_file() and path.stat().st_size == shard["bytes"] and _sha256(path) == shard["sha256"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mismatch(path: Path, problem: str) -> InputError:
    return InputError(
        f"{path} {problem}. The shard was changed or lost after it was written: delete it and "
        f"{path.parent / MANIFEST_FILE}, and run --job=pseudo_label again; the other shards are kept."
    )
