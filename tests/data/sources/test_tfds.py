"""Real array_record files with the builders' own features; nothing is downloaded."""

import io
import logging
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from selftrain_jax.data.source import decode_image, encode_png
from selftrain_jax.data.sources.tfds import prepare_command, read_tfds
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category
from tests.data.sources.tfds_files import bbox, coco_example, encoded_image, prepare

pytestmark = pytest.mark.tf
NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    data_dir = tmp_path_factory.mktemp("coco")
    whole = bbox(0, 0, 1, 1)
    examples = [
        coco_example(0, (0, bbox(0.25, 0.1, 0.5, 0.2), False), (79, whole, True), (11, whole, False)),
        coco_example(1),
        coco_example(2, (0, bbox(0.5, 0.5, 0.5, 0.75), False), (1, whole, False)),
    ]
    prepare(data_dir, "coco/2017", examples)
    return data_dir


def test_labels_0_to_79_become_the_original_ids_and_fractions_become_pixels(coco: pathlib.Path) -> None:
    source = read_tfds("coco/2017", "train", data_dir=coco)
    labels = source.read_labels(0)
    assert labels["classes"].tolist() == [1, 90, 13]
    expected = [[10, 6, 20, 12], [0, 0, 40, 60], [0, 0, 40, 60]]
    np.testing.assert_allclose(labels["boxes"], expected, rtol=1e-6)
    assert labels["is_crowd"].tolist() == [False, True, False]
    assert dict(source.categories)[13] == "stop sign"
    assert source.read_labels(1)["boxes"].shape == (0, 4)


def test_coco_images_know_their_own_ids_and_names_beside_their_positions(tmp_path: pathlib.Path) -> None:
    examples = [coco_example(number, image_id=coco_id) for number, coco_id in enumerate((397133, 139))]
    prepare(tmp_path, "coco/2017", examples)
    source = read_tfds("coco/2017", "train", data_dir=tmp_path)
    labels = [source.read_labels(index) for index in (0, 1)]
    assert [found["coco_id"] for found in labels] == [397133, 139]
    assert [found["file_name"] for found in labels] == ["000000397133.jpg", "000000000139.jpg"]
    assert [found["image_id"] for found in labels] == list(source.image_ids) == ["0000000", "0000001"]


def test_coco_objects_keep_their_own_areas_beside_the_boxes_that_are_kept(coco: pathlib.Path) -> None:
    source = read_tfds("coco/2017", "train", data_dir=coco)
    areas = [source.read_labels(index)["areas"] for index in range(3)]
    # The last image's first box is bad.
    assert [found.tolist() for found in areas] == [[10, 89, 21], [], [11]]
    assert areas[0].dtype == np.float32


def test_images_are_the_stored_bytes_at_random_access(coco: pathlib.Path) -> None:
    source = read_tfds("coco/2017", "train", data_dir=coco)
    assert source.image_ids == ("0000000", "0000001", "0000002")
    assert source.read_encoded(2) == encoded_image(2).getvalue()
    assert [int(source.read_image(index)[0, 0, 0]) for index in (2, 0, 1)] == [2, 0, 1]


def test_slices_of_a_split_work(coco: pathlib.Path) -> None:
    source = read_tfds("coco/2017", "train[1:]", data_dir=coco)
    assert len(source) == 2
    assert source.read_image(1)[0, 0, 0] == 2


def test_many_threads_read_what_one_does(coco: pathlib.Path) -> None:
    source = read_tfds("coco/2017", "train", data_dir=coco)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: int(source.read(number % 3)["image"][0, 0, 0]), range(60)))
    assert found == [number % 3 for number in range(60)]


def test_boxes_without_area_are_dropped_with_one_warning_or_refused(
    coco: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = read_tfds("coco/2017", "train", data_dir=coco)
    with caplog.at_level(logging.WARNING, logger="selftrain_jax"):
        for _ in range(3):
            assert source.read_labels(2)["classes"].tolist() == [2]
    assert len(caplog.records) == 1
    strict = read_tfds("coco/2017", "train", data_dir=coco, bad_boxes="error")
    with pytest.raises(InputError, match=r"image 0000002: the box .* has no area"):
        strict.read_labels(2)


def test_unlabelled_gives_only_ids(coco: pathlib.Path) -> None:
    source = read_tfds("coco/2017", "train", data_dir=coco, labelled=False)
    assert source.categories == ()
    assert set(source.read(0)) == {"image", "image_id"}


def test_voc_corners_are_shifted_and_difficult_objects_flagged(tmp_path: pathlib.Path) -> None:
    common = {"pose": "left", "is_truncated": False}
    objects = [  # TFDS divides VOC's corners, counted from 1, by the size
        {"label": "cat", "bbox": bbox(1 / 40, 1 / 60, 1, 1), "is_difficult": False, **common},
        {"label": "aeroplane", "bbox": bbox(5 / 40, 3 / 60, 11 / 40, 7 / 60), "is_difficult": True, **common},
    ]
    example = {"image": encoded_image(3), "image/filename": "x.jpg", "objects": objects}
    prepare(tmp_path, "voc/2007", [{**example, "labels": ["cat"], "labels_no_difficult": ["cat"]}])
    source = read_tfds("voc/2007", "train", data_dir=tmp_path)
    labels = source.read_labels(0)
    np.testing.assert_allclose(labels["boxes"], [[0, 0, 40, 60], [4, 2, 11, 7]], atol=1e-5)
    assert labels["classes"].tolist() == [8, 1]
    assert labels["is_crowd"].tolist() == [False, True]
    assert "areas" not in labels
    assert source.categories[:2] == (Category(1, "aeroplane"), Category(2, "bicycle"))


def test_bccd_has_boxes_and_no_crowds(tmp_path: pathlib.Path) -> None:
    objects = [{"label": "Platelets", "bbox": bbox(1 / 480, 11 / 640, 240 / 480, 20 / 640)}]
    image = encoded_image(3, size=(480, 640))
    prepare(tmp_path, "bccd", [{"image": image, "image/filename": "x", "objects": objects}])
    source = read_tfds("bccd", "train", data_dir=tmp_path)
    labels = source.read_labels(0)
    np.testing.assert_allclose(labels["boxes"], [[0, 10, 240, 20]], atol=1e-4)
    assert dict(source.categories)[int(labels["classes"][0])] == "Platelets"
    assert labels["is_crowd"].tolist() == [False]
    assert "areas" not in labels


def test_open_images_groups_are_crowds(tmp_path: pathlib.Path) -> None:
    flags = dict.fromkeys(("is_occluded", "is_truncated", "is_depiction", "is_inside"), 0)
    common = {"label": "/m/011k07", "source": "xclick", **flags}
    boxes = [{**common, "bbox": bbox(0, 0, 0.5, 1), "is_group_of": group} for group in (1, 0, -1)]
    example = {
        "image": encoded_image(1, "PNG"),
        "image/filename": "x.jpg",
        "objects": [],
        "objects_trainable": [],
    }
    prepare(tmp_path, "open_images_v4/original", [{**example, "bobjects": boxes}])
    source = read_tfds("open_images_v4/original", "train", data_dir=tmp_path)
    labels = source.read_labels(0)
    assert labels["is_crowd"].tolist() == [True, False, False]
    assert labels["boxes"][0].tolist() == [0, 0, 20, 60]
    assert dict(source.categories)[int(labels["classes"][0])] == "/m/011k07"
    assert len(source.categories) == 601


def test_imagenet_is_read_from_mocked_records_without_labels() -> None:
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=3):
        source = read_tfds("imagenet2012", "train", labelled=False)
        assert len(source) == 3
        image = source.read_image(1)
        assert np.array_equal(decode_image(source.read_encoded(1), "test"), image)
        assert source.read_labels(1) == {"image_id": "0000001"}


def test_imagenet_has_no_boxes_to_train_on(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="imagenet2012 has no boxes"):
        read_tfds("imagenet2012", "train", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["coco/2017", "voc/2012", "bccd", "open_images_v4/300k", "imagenet2012"])
def test_absent_data_is_answered_with_size_and_command(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_tfds(name, "train", data_dir=tmp_path, labelled=False)
    message = str(caught.value)
    assert name in message
    assert "does not exist" in message
    assert " GB" in message or " MB" in message
    assert prepare_command(name, tmp_path) in message
    assert ("manual" in message) == (name == "imagenet2012")


def test_the_command_is_python_that_asks_for_array_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code between the quotes, without the download itself."""
    import tensorflow_datasets as tfds

    asked = []
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "download_and_prepare",
        lambda builder, **options: asked.append((builder.info.full_name, options)),
    )
    code = prepare_command("coco/2017", "/tmp/x y").removeprefix('python -c "').removesuffix('"')
    exec(code, {})
    assert asked == [("coco/2017/1.1.0", {"file_format": "array_record"})]


def test_data_prepared_as_tfrecord_is_told_apart(tmp_path: pathlib.Path) -> None:
    prepare(tmp_path, "coco/2017", [coco_example(0)], kind="tfrecord")
    with pytest.raises(InputError, match="prepared in another format than array_record"):
        read_tfds("coco/2017", "train", data_dir=tmp_path)


def test_unknown_names_and_splits_are_answered_with_the_known_ones(coco: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"'cocoo' is not supported \(nearest: coco"):
        read_tfds("cocoo", "train", data_dir=coco)
    with pytest.raises(InputError, match=r"TFDS has no 'coco/2039'"):
        read_tfds("coco/2039", "train", data_dir=coco)
    with pytest.raises(InputError, match=r"'tran'.*\['train'\]"):
        read_tfds("coco/2017", "tran", data_dir=coco)
    with pytest.raises(InputError, match="not supported"):
        read_tfds("coco/2017_panoptic", "train", data_dir=coco)


def test_damaged_image_is_named_when_read(tmp_path: pathlib.Path) -> None:
    example = coco_example(0, (0, bbox(0, 0, 1, 1), False))
    example["image"] = io.BytesIO(encode_png(NOISE)[:-100])
    prepare(tmp_path, "coco/2017", [example])
    source = read_tfds("coco/2017", "train", data_dir=tmp_path)
    with pytest.raises(InputError, match=r"tfds:coco/2017/train, image 0000000: .*damaged"):
        source.read_image(0)
