import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from selftrain_jax.data import records
from selftrain_jax.errors import InputError

pytestmark = pytest.mark.tf


def make_labels(rng, num_boxes, height, width):
    corners = np.sort(rng.uniform(0, 1, (num_boxes, 2, 2)), axis=1) * (height, width)
    return {
        "image_id": "köln/1.jpg",
        "boxes": corners.reshape(-1, 4).astype(np.float32),
        "classes": rng.integers(1, 91, num_boxes).astype(np.int32),
        "scores": rng.uniform(0, 1, num_boxes).astype(np.float32),
        "is_crowd": rng.uniform(size=num_boxes) < 0.5,
        "is_pseudo": True,
    }


@pytest.mark.parametrize("num_boxes", [0, 1, 50])
def test_labels_and_bytes_survive_a_round_trip(num_boxes):
    labels = make_labels(np.random.default_rng(num_boxes), num_boxes, 2999, 4001)
    decoded, encoded = records.decode_record(records.encode_record(labels, b"\xff\xd8\x00", 2999, 4001))
    assert encoded == b"\xff\xd8\x00"
    assert decoded["image_id"] == "köln/1.jpg"
    assert decoded["is_pseudo"] is True
    np.testing.assert_allclose(decoded["boxes"], labels["boxes"], atol=1e-3)
    assert decoded["boxes"].shape == (num_boxes, 4)
    for key in ("classes", "scores", "is_crowd"):
        np.testing.assert_array_equal(decoded[key], labels[key])
        assert decoded[key].dtype == labels[key].dtype


def test_the_image_is_read_without_decoding_its_maps():
    labels = {"image_id": "a", "mask": np.zeros((4, 6), np.uint8), "is_pseudo": True}
    record = records.encode_record(labels, b"image", 4, 6)
    assert records.read_encoded(record) == records.decode_record(record)[1] == b"image"
    feature = tf.train.Example.FromString(record)
    feature.features.feature["image/segmentation/class/encoded"].bytes_list.value[0] = b"no PNG"
    assert records.read_encoded(feature.SerializeToString()) == b"image"
    with pytest.raises(InputError, match=r"here: not a tf\.train\.Example"):
        records.read_encoded(b"nothing", "here")


def test_human_labels_have_no_scores():
    labels = {"image_id": "a", "boxes": np.ones((1, 4), np.float32), "classes": np.array([3], np.int32)}
    decoded, _ = records.decode_record(records.encode_record(labels, b"x", 4, 4))
    assert "scores" not in decoded
    assert decoded["is_pseudo"] is False


def test_record_has_the_keys_and_units_of_the_official_release():
    labels = {
        "image_id": "7",
        "boxes": np.array([[10, 40, 20, 100]], np.float32),
        "classes": np.array([90], np.int32),
    }
    record = records.encode_record(labels, b"jpeg", height=100, width=200)
    feature = tf.train.Example.FromString(record).features.feature
    sides = [
        feature[f"image/object/bbox/{side}"].float_list.value[0] for side in ("ymin", "xmin", "ymax", "xmax")
    ]
    np.testing.assert_allclose(sides, [0.1, 0.2, 0.2, 0.5], rtol=1e-6)
    assert feature["image/object/area"].float_list.value[0] == 600  # 10 x 60 px
    assert feature["image/object/class/label"].int64_list.value[0] == 90
    assert (feature["image/height"].int64_list.value[0], feature["image/width"].int64_list.value[0]) == (
        100,
        200,
    )
    assert feature["image/source_id"].bytes_list.value[0] == b"7"


def test_same_labels_give_same_bytes():
    labels = make_labels(np.random.default_rng(0), 5, 100, 100)
    record = records.encode_record(labels, b"x", 100, 100)
    assert record == records.encode_record(labels, b"x", 100, 100)
    keys = sorted(tf.train.Example.FromString(record).features.feature)
    places = [record.find(key.encode() + b"\x12") for key in keys]  # 0x12 starts the value after its key
    assert -1 not in places
    assert places == sorted(places)  # protobuf leaves the order open unless asked, also between processes


def test_foreign_record_is_named(tmp_path):
    with pytest.raises(InputError, match=r"f@0: no image/encoded, image/source_id"):
        records.decode_record(tf.train.Example().SerializeToString(), "f@0")
    with pytest.raises(InputError, match=r"f@0: not a tf.train.Example"):
        records.decode_record(b"\xff\xff\xff", "f@0")


CLASS_KEY, CONFIDENCE_KEY = "image/segmentation/class/encoded", "image/segmentation/confidence/encoded"


def make_maps(height, width, seed=0):
    """Every value of a byte, in no order."""
    maps = np.random.default_rng(seed).permutation(np.arange(2 * height * width) % 256).astype(np.uint8)
    mask, confidence = maps.reshape(2, height, width)
    return {"image_id": "köln/1.jpg", "mask": mask, "confidence": confidence, "is_pseudo": True}


def encode_map(pixels, mode=None):
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(buffer, "PNG")
    return buffer.getvalue()


def replace_features(record, **kwargs):
    """Set or, by None, remove features; names are those after `image/`, with _ for /."""
    example = tf.train.Example.FromString(record)
    for name, value in kwargs.items():
        key = "image/" + name.replace("__", "/")
        example.features.feature.pop(key)
        if isinstance(value, bytes):
            example.features.feature[key].bytes_list.value.append(value)
        elif value is not None:
            example.features.feature[key].float_list.value.append(value)
    return example.SerializeToString()


@pytest.mark.parametrize("size_px", [(1, 1), (37, 53), (300, 2)])
def test_masks_and_confidences_survive_a_round_trip_bit_by_bit(size_px):
    labels = make_maps(*size_px)
    decoded, encoded = records.decode_record(records.encode_record(labels, b"\xff\xd8\x00", *size_px))
    assert encoded == b"\xff\xd8\x00"
    assert set(decoded) == set(labels)
    assert (decoded["image_id"], decoded["is_pseudo"]) == ("köln/1.jpg", True)
    for key in ("mask", "confidence"):
        np.testing.assert_array_equal(decoded[key], labels[key])
        assert decoded[key].dtype == np.uint8


def test_human_mask_has_no_confidence_and_may_come_with_boxes():
    labels = {"image_id": "a", "mask": make_maps(4, 6)["mask"]}
    decoded, _ = records.decode_record(records.encode_record(labels, b"x", 4, 6))
    assert set(decoded) == {"image_id", "mask", "is_pseudo"}
    boxes = {"boxes": np.array([[1, 2, 3, 4]], np.float32), "classes": np.array([3], np.int32)}
    both, _ = records.decode_record(records.encode_record({**labels, **boxes}, b"x", 4, 6))
    np.testing.assert_array_equal(both["mask"], labels["mask"])
    np.testing.assert_allclose(both["boxes"], boxes["boxes"], rtol=1e-6)


def test_mask_is_stored_as_the_official_release_reads_it():
    labels = make_maps(5, 7)
    record = records.encode_record(labels, b"jpeg", 5, 7)
    feature = tf.train.Example.FromString(record).features.feature
    encoded = feature[CLASS_KEY].bytes_list.value[0]
    np.testing.assert_array_equal(tf.io.decode_image(encoded, channels=1)[..., 0], labels["mask"])
    assert not any(key.startswith("image/object") for key in feature)
    assert record == records.encode_record(labels, b"jpeg", 5, 7)


@pytest.mark.parametrize("key", ["mask", "confidence"])
def test_map_of_another_size_than_its_image_is_not_stored(key):
    labels = {**make_maps(5, 7), key: np.zeros((7, 5), np.uint8)}
    with pytest.raises(InputError, match=r"image köln/1.jpg: .*encoded has 7 x 5 pixels, its image 5 x 7"):
        records.encode_record(labels, b"x", 5, 7)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"segmentation__class__encoded": encode_map(np.zeros((7, 5), np.uint8))},
            r"f@0: image/segmentation/class/encoded has 7 x 5 pixels, its image 5 x 7",
        ),
        (
            {"segmentation__class__encoded": encode_map(np.zeros((5, 7, 3), np.uint8))},
            "class/encoded is a PNG of mode RGB; expected one channel",
        ),
        (
            {"segmentation__confidence__encoded": encode_map(np.zeros((5, 7), np.uint8), "P")},
            "confidence/encoded is a PNG of mode P; expected one channel",
        ),
        ({"segmentation__class__encoded": b"no image"}, r"class/encoded is no whole PNG \(8 bytes"),
        (
            {"segmentation__class__encoded": encode_map(make_maps(5, 7)["mask"])[:60]},
            r"class/encoded is no whole PNG \(60 bytes",
        ),
        (
            {"segmentation__class__encoded": None},
            r"f@0: no .*class/label, .*image/segmentation/class/encoded",
        ),
        ({"segmentation__class__encoded": 1.0}, "class/encoded holds a float_list of 1; expected one string"),
        ({"height": 5.0}, "image/height holds a float_list of 1; expected one integer"),
        ({"source_id": None}, "f@0: no image/source_id among"),
        ({"object__bbox__ymin": 0.5}, "no image/object/class/label, image/object/bbox/xmin"),
    ],
)
def test_wrong_and_missing_keys_of_a_mask_record_are_named(features, message):
    record = replace_features(records.encode_record(make_maps(5, 7), b"x", 5, 7), **features)
    with pytest.raises(InputError, match=message):
        records.decode_record(record, "f@0")


def test_boxes_whose_columns_differ_in_length_are_refused():
    labels = make_labels(np.random.default_rng(0), 2, 10, 10)
    record = replace_features(records.encode_record(labels, b"x", 10, 10), object__bbox__ymin=0.5)
    with pytest.raises(InputError, match=r"hold \[2, 1, 2, 2, 2, 2, 2, 2\] values"):
        records.decode_record(record, "f@0")


def set_feature(record, key, kind, *values):
    example = tf.train.Example.FromString(record)
    example.features.feature.pop(key)
    getattr(example.features.feature[key], kind).value.extend(values)
    return example.SerializeToString()


@pytest.mark.parametrize(
    ("key", "kind", "values", "message"),
    [
        (
            "image/height",
            "int64_list",
            [0],
            r"f@0: image/height and image/width are 0 and 10; expected at least 1",
        ),
        ("image/width", "int64_list", [-10], "expected at least 1"),
        ("image/width", "int64_list", [2**62], "at most 67108864 pixels"),
        ("image/source_id", "bytes_list", [b"k\xf6ln"], "f@0: image/source_id is not UTF-8"),
        ("image/object/class/label", "int64_list", [1, 2**40], "a label outside 0 to 9999"),
        ("image/object/class/label", "int64_list", [1, -1], "a label outside 0 to 9999"),
        ("image/object/bbox/ymin", "float_list", [0.5, np.nan], "a box without finite sides, score or"),
        ("image/object/score", "float_list", [0.5, np.inf], "a box without finite sides, score or"),
        ("image/object/place_std", "float_list", [0.5, np.nan], "a box without finite sides, score or"),
        ("image/object/score", "float_list", [0.5], r"hold \[2, 2, 2, 2, 2, 2, 2, 1\] values"),
        ("image/object/is_crowd", "int64_list", [0] * 3, r"hold \[2, 2, 2, 2, 2, 3, 2, 2\] values"),
        ("image/object/area", "int64_list", [4, 4], r"hold \[2, 2, 2, 2, 2, 2, 0, 2\] values"),
    ],
)
def test_values_that_no_image_has_are_refused(key, kind, values, message):
    record = records.encode_record(make_labels(np.random.default_rng(0), 2, 10, 10), b"x", 10, 10)
    with pytest.raises(InputError, match=message):
        records.decode_record(set_feature(record, key, kind, *values), "f@0")


def test_a_foreign_record_without_crowds_and_areas_has_no_crowds_and_no_areas():
    record = records.encode_record(make_labels(np.random.default_rng(0), 2, 10, 10), b"x", 10, 10)
    example = tf.train.Example.FromString(record)
    for name in ("is_crowd", "area"):
        example.features.feature.pop(f"image/object/{name}")
    decoded, _ = records.decode_record(example.SerializeToString())
    assert decoded["is_crowd"].tolist() == [False, False]
    assert "areas" not in decoded
