"""Digests of what goes into a stage: images by their ids, labels by their values, sets of pseudo labels.

Where a data set lies does not count; what it holds does.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import ShardEntry


def images_digest(source: Source) -> str:
    """Identify the images of a source by number, ids and, where ids are positions, the data set's name."""
    return _name(len(source), "\n".join((*filter(None, [source.fingerprint]), *source.image_ids)).encode())


def labels_digest(source: Source) -> str:
    """Identify a source by its classes, image ids and labels; a label that cannot be read counts by that.

    Where a source has a `fingerprint` it stands for the labels, which then are not read.
    """
    hasher = hashlib.sha256(repr([tuple(category) for category in source.categories]).encode())
    hasher.update(images_digest(source).encode())
    for index in range(0 if source.fingerprint else len(source)):
        hasher.update(_label_bytes(source, index))
    return _name(len(source), hasher.digest())


def label_set_digest(shards: Iterable[ShardEntry], num_images: int) -> str:
    """Identify a finished set of pseudo labels by the content of its shards, in order."""
    return _name(num_images, "".join(shard.sha256 for shard in shards).encode())


def _label_bytes(source: Source, index: int) -> bytes:
    try:
        labels = source.read_labels(index)
    except InputError:
        return b"unreadable"
    parts = []
    for key, value in sorted(labels.items()):
        array = np.asarray(value)
        is_text = array.dtype.kind in "US"
        parts.append(f"{key} {'' if is_text else array.dtype} {array.shape}".encode())
        parts.append(str(value).encode() if is_text else array.tobytes())
    return b"\n".join(parts)


def _name(num_images: int, content: bytes) -> str:
    return f"{num_images} images, {hashlib.sha256(content).hexdigest()}"
