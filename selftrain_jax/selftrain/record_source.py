"""The records of a finished folder as a source, labels as they are stored (Paper: Section 3.1).

`pseudo_source.py` and `mask_source.py` apply thresholds to what `open_records` gives.
"""

from pathlib import Path

from selftrain_jax.data.records import decode_record
from selftrain_jax.data.shards import read_record
from selftrain_jax.data.source import Source, decode_image
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.manifest import IMAGE_IDS_FILE, Manifest, read_json, verify_shards
from selftrain_jax.types import Category, Example


def open_records(directory: Path, manifest: Manifest, *, verify_digests: bool = True) -> Source:
    """Give random access over all shards.

    Raises:
      InputError: the folder is damaged.
    """
    offsets = verify_shards(directory, manifest, digests=verify_digests)
    places = [
        (directory / shard["file"], int(offset))
        for shard, shard_offsets in zip(manifest["shards"], offsets, strict=True)
        for offset in shard_offsets
    ]

    def read(index: int) -> tuple[Example, bytes]:
        path, offset = places[index]
        return decode_record(read_record(path, offset), f"{path}@{offset}")

    return Source(
        name=f"pseudo:{directory}",
        categories=tuple(Category(entry["id"], entry["name"]) for entry in manifest["categories"]),
        image_ids=_read_image_ids(directory, len(places)),
        read_labels=lambda index: read(index)[0],
        read_encoded=lambda index: read(index)[1],
        read_image=lambda index: decode_image(read(index)[1], f"{places[index][0]}@{places[index][1]}"),
    )


def _read_image_ids(directory: Path, num_records: int) -> tuple[str, ...]:
    path = directory / IMAGE_IDS_FILE
    hint = "delete manifest.json and run --job=pseudo_label again; the shards are kept"
    image_ids = tuple(read_json(path, hint))
    if len(image_ids) != num_records:
        raise InputError(f"{path} names {len(image_ids)} images, the shards hold {num_records}: {hint}")
    return image_ids
