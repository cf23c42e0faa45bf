"""The schema of records: human and pseudo labels, boxes and masks.

Call `encode_record` and `decode_record`; `data/shards.py` keeps the records in files. The keys are
those of the official release's detection and segmentation records, so its decoders read them too.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from selftrain_jax.data.source import MAX_IMAGE_PIXELS
from selftrain_jax.errors import InputError
from selftrain_jax.types import MAX_CLASS_ID, Example

_IMAGE_KEYS = ("image/encoded", "image/source_id", "image/height", "image/width")
_SIDE_KEYS = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
_BOX_KEYS = ("image/object/class/label", *_SIDE_KEYS)
_SCORE_KEY = "image/object/score"
_PLACE_KEY = "image/object/place_std"
_COLUMN_KINDS = {
    _BOX_KEYS[0]: "int64_list",
    **dict.fromkeys(_SIDE_KEYS, "float_list"),
    "image/object/is_crowd": "int64_list",
    "image/object/area": "float_list",
    _SCORE_KEY: "float_list",
    _PLACE_KEY: "float_list",
}
_MASK_KEY = "image/segmentation/class/encoded"
_CONFIDENCE_KEY = "image/segmentation/confidence/encoded"
# Ours alone: the second class of every pixel and its probability, and the third's.
_RUNNER_UP_KEYS = tuple(
    f"image/segmentation/{name}_{rank}/encoded" for rank in (2, 3) for name in ("class", "confidence")
)

_Values = dict[str, bytes | np.ndarray]
_Features = Mapping[str, Any]  # of protobuf's Feature


def encode_record(labels: Example, encoded_image: bytes, height: int, width: int) -> bytes:
    """Serialise one labelled image; the same input gives the same bytes.

    `labels` needs `image_id` and `boxes` with `classes`, or `mask`, or both. Boxes are stored as
    fractions of the image, masks and confidences as PNG of one channel, without loss. `is_ignore` is
    not stored: it follows from the scores when they are read.

    Raises:
        InputError: the mask or its confidence is not of the image's size.

    Differs: the scores and `place_std` of boxes, the confidence of masks and `image/is_pseudo` are new; the
    release has no pseudo labels.
    """
    import tensorflow as tf  # here, so that reading a manifest needs no TensorFlow

    assert "boxes" in labels or "mask" in labels, f"image {labels['image_id']} has nothing to store"
    values: _Values = {
        "image/encoded": encoded_image,
        "image/source_id": labels["image_id"].encode(),
        "image/height": np.array([height]),
        "image/width": np.array([width]),
        "image/is_pseudo": np.array([labels.get("is_pseudo", False)]),
    }
    if "boxes" in labels:
        values |= _box_values(labels, height, width)
    if "mask" in labels:
        values |= _mask_values(labels, height, width)
    features = tf.train.Features(feature={key: _feature(tf, value) for key, value in values.items()})
    return tf.train.Example(features=features).SerializeToString(deterministic=True)


def decode_record(record: bytes, where: str = "record") -> tuple[Example, bytes]:
    """Return the labels, in pixels of the original image, and the encoded image.

    Raises:
        InputError: the bytes are no record of this schema; `where` and the key at fault are named.
    """
    feature = _parse(record, where)
    size_px = _value(feature, "image/height", where), _value(feature, "image/width", where)
    if min(size_px) < 1 or size_px[0] * size_px[1] > MAX_IMAGE_PIXELS:
        raise InputError(
            f"{where}: image/height and image/width are {size_px[0]} and {size_px[1]}; expected at least 1 "
            f"and at most {MAX_IMAGE_PIXELS} pixels"
        )
    labels: Example = {
        "image_id": _text(feature, "image/source_id", where),
        "is_pseudo": "image/is_pseudo" in feature and bool(_value(feature, "image/is_pseudo", where)),
    }
    if _BOX_KEYS[0] in feature:
        labels |= _read_boxes(feature, size_px, where)
    if _MASK_KEY in feature:
        labels["mask"] = _read_map(feature, _MASK_KEY, size_px, where)
    if _CONFIDENCE_KEY in feature:
        labels["confidence"] = _read_map(feature, _CONFIDENCE_KEY, size_px, where)
    if runners_up := [_read_map(feature, key, size_px, where) for key in _RUNNER_UP_KEYS if key in feature]:
        labels["runners_up"] = np.stack(runners_up, axis=-1)
    return labels, _value(feature, "image/encoded", where, "bytes_list")


def read_encoded(record: bytes, where: str = "record") -> bytes:
    """Return a record's encoded image alone; labels, and maps that take long to decode, stay as they are.

    Raises:
        InputError: as `decode_record`, but for what is wrong with the labels' values.
    """
    return _value(_parse(record, where), "image/encoded", where, "bytes_list")


def _box_values(labels: Example, height: int, width: int) -> _Values:
    boxes = np.asarray(labels["boxes"], np.float64).reshape(-1, 4)
    areas = labels.get("areas", (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    values: _Values = {
        "image/object/class/label": np.asarray(labels["classes"], np.int64),
        "image/object/is_crowd": labels.get("is_crowd", np.zeros(len(boxes), bool)),
        "image/object/area": areas,
    }
    values |= zip(_SIDE_KEYS, (boxes / (height, width, height, width)).T, strict=True)
    if "scores" in labels:
        values[_SCORE_KEY] = labels["scores"]
    if "place_std" in labels:
        values[_PLACE_KEY] = labels["place_std"]
    return values


def _mask_values(labels: Example, height: int, width: int) -> _Values:
    maps = {_MASK_KEY: labels["mask"]}
    if "confidence" in labels:
        maps[_CONFIDENCE_KEY] = labels["confidence"]
    if "runners_up" in labels:
        planes = np.moveaxis(labels["runners_up"], -1, 0)
        maps |= zip(_RUNNER_UP_KEYS[: len(planes)], planes, strict=True)
    for key, pixels in maps.items():
        if pixels.shape != (height, width):
            raise _other_size(f"image {labels['image_id']}: {key}", pixels.shape, (height, width))
    return {key: _encode_map(pixels) for key, pixels in maps.items()}


def _parse(record: bytes, where: str) -> _Features:
    """Read the features and check that those of an image with boxes, a mask or both are there."""
    import tensorflow as tf

    try:
        feature = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf's DecodeError, whose module moves between versions
        raise InputError(f"{where}: not a tf.train.Example ({len(record)} bytes, {error})") from error
    needed = list(_IMAGE_KEYS)
    if _MASK_KEY not in feature or any(key in feature for key in _BOX_KEYS):
        needed += _BOX_KEYS
    if _CONFIDENCE_KEY in feature:
        needed.append(_MASK_KEY)
    if last := max((index + 1 for index, key in enumerate(_RUNNER_UP_KEYS) if key in feature), default=0):
        needed += [_MASK_KEY, _CONFIDENCE_KEY, *_RUNNER_UP_KEYS[: last + last % 2]]  # in pairs
    missing = [key for key in dict.fromkeys(needed) if key not in feature]
    if missing:
        raise InputError(
            f"{where}: no {', '.join(missing)} among the record's keys {sorted(feature)}; expected a record "
            f"as `encode_record` writes it, with boxes or {_MASK_KEY}"
        )
    return feature


def _read_boxes(feature: _Features, size_px: tuple[int, int], where: str) -> Example:
    columns = _read_columns(feature, where)
    sides = np.array([columns[key] for key in _SIDE_KEYS], np.float64)
    classes = np.array(columns[_BOX_KEYS[0]], np.int64)
    scores, place_std = (np.array(columns.get(key, []), np.float32) for key in (_SCORE_KEY, _PLACE_KEY))
    is_class = (classes >= 0) & (classes <= MAX_CLASS_ID)
    if not (is_class.all() and all(np.isfinite(x).all() for x in (sides, scores, place_std))):
        raise InputError(
            f"{where}: a box without finite sides, score or place_std, or a label outside 0 to "
            f"{MAX_CLASS_ID}; the record is damaged or not one of ours"
        )
    with np.errstate(over="ignore"):
        boxes = (sides.T * (*size_px, *size_px)).astype(np.float32)
    labels: Example = {
        "boxes": boxes,
        "classes": classes.astype(np.int32),
        "is_crowd": np.array(columns.get("image/object/is_crowd", np.zeros(len(classes))), bool),
    }
    if "image/object/area" in columns:
        labels["areas"] = np.array(columns["image/object/area"], np.float32)
    if _SCORE_KEY in columns:
        labels["scores"] = scores
    if _PLACE_KEY in columns:
        labels["place_std"] = place_std
    return labels


def _read_columns(feature: _Features, where: str) -> dict[str, list[Any]]:
    """Read the columns of the boxes that are there, all of one length."""
    columns = {
        key: list(getattr(feature[key], kind).value) for key, kind in _COLUMN_KINDS.items() if key in feature
    }
    lengths = [len(values) for values in columns.values()]
    if len(set(lengths)) > 1:
        raise InputError(
            f"{where}: {', '.join(columns)} hold {lengths} values; expected as many of each, labels and "
            "crowds as integers, the others as floats"
        )
    return columns


def _read_map(feature: _Features, key: str, size_px: tuple[int, int], where: str) -> UInt8[np.ndarray, "H W"]:
    """Decode a PNG of one channel of 8 bits, whose size must be the image's."""
    encoded = _value(feature, key, where, "bytes_list")
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
            if image.mode != "L":
                raise InputError(
                    f"{where}: {key} is a PNG of mode {image.mode}; expected one channel of 8 bits (mode L), "
                    "a class id or a confidence a pixel"
                )
            if (image.height, image.width) != size_px:
                raise _other_size(f"{where}: {key}", (image.height, image.width), size_px)
            return np.array(image)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on damaged bytes
        raise InputError(f"{where}: {key} is no whole PNG ({len(encoded)} bytes, {error})") from error


def _encode_map(pixels: UInt8[np.ndarray, "H W"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)  # 5 % larger than 6, 2.5 times as fast
    return buffer.getvalue()


def _feature(tf: Any, value: bytes | np.ndarray) -> Any:
    """Floats become a float list, integers and booleans an int64 list."""
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if value.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=value.astype(np.float32).tolist()))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value.astype(np.int64).tolist()))


def _text(feature: _Features, key: str, where: str) -> str:
    try:
        return _value(feature, key, where, "bytes_list").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: {key} is not UTF-8 ({error})") from error


def _value(feature: _Features, key: str, where: str, kind: str = "int64_list") -> Any:
    """Return the one integer or string of bytes that a key holds."""
    values = getattr(feature[key], kind).value
    if len(values) != 1:
        other = feature[key].WhichOneof("kind")
        found = f"a {other} of {len(getattr(feature[key], other).value)}" if other else "nothing"
        expected = "one integer" if kind == "int64_list" else "one string of bytes"
        raise InputError(f"{where}: {key} holds {found}; expected {expected}, as `encode_record` writes it")
    return values[0]


def _other_size(where: str, size_px: tuple[int, ...], image_size_px: tuple[int, int]) -> InputError:
    found, expected = (" x ".join(map(str, size)) for size in (size_px, image_size_px))
    return InputError(
        f"{where} has {found} pixels, its image {expected} (height x width). Give every image the mask that "
        "was made for it, at its full size."
    )
