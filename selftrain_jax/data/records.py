"""The TFRecord files that pseudo labels are kept in: one schema for human and pseudo labels.

Call `write_shard` on what `encode_record` makes; read with `index_shard`, `read_record` and
`decode_record`. Files are plain TFRecords with the keys of the official detection release, so
its decoder and `tf.data` read them too. Local files only.
"""

import contextlib
import errno
import mmap
import os
import shutil
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.types import Example

_SIDES = ("ymin", "xmin", "ymax", "xmax")
_LENGTH = struct.Struct("<QI")  # a record's length and the checksum of its eight bytes
_CHECKSUM = struct.Struct("<I")


def encode_record(labels: Example, encoded_image: bytes, height: int, width: int) -> bytes:
    """Serialise one labelled image; the same input gives the same bytes.

    `labels` needs `image_id`, `boxes` and `classes`. Boxes are stored as fractions of the image.
    `is_ignore` is not stored: it follows from the scores when they are read.

    Differs: `image/object/score` and `image/is_pseudo` are new; the release has no pseudo labels.
    """
    import tensorflow as tf  # here, so that reading a manifest needs no TensorFlow

    boxes = np.asarray(labels["boxes"], np.float64).reshape(-1, 4)
    areas = labels.get("areas", (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    fractions = boxes / (height, width, height, width)
    features = {
        "image/encoded": _bytes_feature(tf, encoded_image),
        "image/source_id": _bytes_feature(tf, labels["image_id"].encode()),
        "image/height": _int_feature(tf, [height]),
        "image/width": _int_feature(tf, [width]),
        "image/is_pseudo": _int_feature(tf, [labels.get("is_pseudo", False)]),
        "image/object/class/label": _int_feature(tf, labels["classes"]),
        "image/object/is_crowd": _int_feature(tf, labels.get("is_crowd", np.zeros(len(boxes), bool))),
        "image/object/area": _float_feature(tf, areas),
    }
    for side, values in zip(_SIDES, fractions.T, strict=True):
        features[f"image/object/bbox/{side}"] = _float_feature(tf, values)
    if "scores" in labels:
        features["image/object/score"] = _float_feature(tf, labels["scores"])
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def decode_record(record: bytes, where: str = "record") -> tuple[Example, bytes]:
    """Return the labels, boxes in pixels of the original image, and the encoded image.

    Raises:
      InputError: the bytes are no record of this schema; `where` is named.
    """
    import tensorflow as tf

    try:
        feature = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's DecodeError, whose module moves between versions
        raise InputError(f"{where}: not a tf.train.Example ({len(record)} bytes, {error})") from error
    needed = ("image/encoded", "image/source_id", "image/height", "image/width", "image/object/class/label")
    missing = [key for key in (*needed, *_side_keys()) if key not in feature]
    if missing:
        raise InputError(
            f"{where}: no {', '.join(missing)} among the record's keys {sorted(feature)}; "
            "expected a detection record as `encode_record` writes it"
        )
    height, width = (feature[f"image/{axis}"].int64_list.value[0] for axis in ("height", "width"))
    fractions = np.array([feature[key].float_list.value for key in _side_keys()], np.float64).T
    labels: Example = {
        "image_id": feature["image/source_id"].bytes_list.value[0].decode(),
        "boxes": (fractions * (height, width, height, width)).astype(np.float32),
        "classes": np.array(feature["image/object/class/label"].int64_list.value, np.int32),
        "is_crowd": np.array(feature["image/object/is_crowd"].int64_list.value, bool),
        "areas": np.array(feature["image/object/area"].float_list.value, np.float32),
        "is_pseudo": bool(sum(feature["image/is_pseudo"].int64_list.value)),
    }
    if "image/object/score" in feature:
        labels["scores"] = np.array(feature["image/object/score"].float_list.value, np.float32)
    return labels, feature["image/encoded"].bytes_list.value[0]


def write_shard(path: Path, records: Iterable[bytes]) -> int:
    """Write records to `path` at once or not at all; return how many.

    Raises:
      InputError: the disk is full. Neither `path` nor a half-written file is left.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    count = 0
    try:
        with temporary.open("wb") as file:
            for record in records:
                file.write(_frame(record))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _disk_full(path) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def index_shard(path: Path) -> np.ndarray:
    """Return the byte offset of each record, reading only the lengths.

    Raises:
      InputError: the file is missing, cut off or damaged; file, offset and sizes are named.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return np.zeros(0, np.int64)
            with contextlib.closing(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as content:
                return np.fromiter(_walk(content, size, path), np.int64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def read_record(path: Path, offset: int) -> bytes:
    """Return the record at `offset`, which `index_shard` gave.

    Raises:
      InputError: the file is missing, cut off, or its checksums do not agree with its bytes.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            length = _length(file.read(_LENGTH.size), offset, path)
            body = file.read(length + _CHECKSUM.size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(body) < length + _CHECKSUM.size:
        raise _cut_off(path, offset, _LENGTH.size + length + _CHECKSUM.size, _LENGTH.size + len(body))
    record = body[:length]
    if _masked_crc(record) != _CHECKSUM.unpack(body[length:])[0]:
        raise _damaged(path, offset, "data")
    return record


def _walk(content: mmap.mmap, size: int, path: Path) -> Iterator[int]:
    offset = 0
    while offset < size:
        length = _length(content[offset : offset + _LENGTH.size], offset, path)
        end = offset + _LENGTH.size + length + _CHECKSUM.size
        if end > size:
            raise _cut_off(path, offset, end - offset, size - offset)
        yield offset
        offset = end


def _length(header: bytes, offset: int, path: Path) -> int:
    if len(header) < _LENGTH.size:
        raise _cut_off(path, offset, _LENGTH.size, len(header))
    length, checksum = _LENGTH.unpack(header)
    if _masked_crc(header[:8]) != checksum:
        raise _damaged(path, offset, "length")
    return length


def _frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    checksums = (_CHECKSUM.pack(_masked_crc(part)) for part in (length, record))
    return length + next(checksums) + record + next(checksums)


def _masked_crc(data: bytes) -> int:
    """Checksum as TFRecord masks it: crc32c rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _side_keys() -> list[str]:
    return [f"image/object/bbox/{side}" for side in _SIDES]


def _bytes_feature(tf: Any, value: bytes) -> Any:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int_feature(tf: Any, values: Any) -> Any:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.asarray(values, np.int64).tolist()))


def _float_feature(tf: Any, values: Any) -> Any:
    return tf.train.Feature(float_list=tf.train.FloatList(value=np.asarray(values, np.float32).tolist()))


def _disk_full(path: Path) -> InputError:
    free = shutil.disk_usage(path.parent).free / 2**20
    return InputError(
        f"{path}: the disk is full ({free:.0f} MiB free in {path.parent}); the half-written file was "
        "removed. Free some space and run the same command again: it goes on at this shard."
    )


def _cut_off(path: Path, offset: int, expected: int, actual: int) -> InputError:
    return InputError(
        f"{path}: cut off in the record at byte {offset}: expected {expected} bytes, found {actual}. "
        "Delete this shard and the manifest and run the same command again to rewrite it."
    )


def _damaged(path: Path, offset: int, part: str) -> InputError:
    return InputError(
        f"{path}: the {part} of the record at byte {offset} does not match its checksum. "
        "Delete this shard and the manifest and run the same command again to rewrite it."
    )
