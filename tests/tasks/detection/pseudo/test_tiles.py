"""Labels of large images by tiles: the network sees tiles of one shape, the records are of whole images."""

import dataclasses

import jax
import numpy as np
import pytest

from selftrain_jax.data.source import Source, decode_image, encode_png
from selftrain_jax.data.tile_source import tiled
from selftrain_jax.data.tiles import Tiling
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.label_job import write_pseudo_labels
from selftrain_jax.tasks.detection.pseudo.labeller import Network, box_labeller
from selftrain_jax.tasks.detection.pseudo.source import check_slots, read_pseudo_boxes
from selftrain_jax.tasks.detection.pseudo.views import read_views
from selftrain_jax.types import Category, Detections

pytestmark = pytest.mark.tf

TILE_PX, SIZE_PX = 40, 80  # tiles are enlarged to twice their size
TILING = Tiling(TILE_PX, 12)
CATEGORIES = (Category(1, "one"),)
# Inside a tile, on a border, on the corner of four tiles, wider than a tile.
BOXES = ([[5, 6, 15, 16], [10, 22, 20, 34], [48, 60, 64, 90], [72, 10, 80, 90]], [[2, 2, 20, 20]])
SIZES = ((100, 95), (30, 25))


def make_source(bad=()):
    """Black images with a rectangle of a grey value of its own for each box."""
    ids, encoded = ("large", "small"), []
    for size, boxes in zip(SIZES, BOXES, strict=True):
        image = np.zeros((*size, 3), np.uint8)
        for number, (top, left, bottom, right) in enumerate(boxes, start=1):
            image[top:bottom, left:right] = number * 20
        encoded.append(encode_png(image))

    def read_encoded(index):
        return b"no image" if index in bad else encoded[index]

    def read_image(index):
        return decode_image(read_encoded(index), ids[index])

    return Source("grey", (), ids, lambda index: {"image_id": ids[index]}, read_encoded, read_image)


def load(image, size_px):
    times = size_px // max(image.shape[:2])
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    inputs = np.zeros((size_px, size_px, 3), np.uint8)
    inputs[: large.shape[0], : large.shape[1]] = large
    return inputs, np.array(large.shape[:2])


class Finder:
    """Finds every rectangle, with a score of its grey value, in up to 4 slots."""

    def __init__(self):
        self.shapes = []

    def __call__(self, fitted):
        images = fitted.images
        self.shapes.append(images.shape)
        num = len(images)
        boxes, scores = np.zeros((num, 4, 4), np.float32), np.zeros((num, 4), np.float32)
        for row, image in enumerate(images[..., 0]):
            for slot, value in enumerate(np.unique(image[image > 0])):
                y, x = np.nonzero(image == value)
                boxes[row, slot] = y.min(), x.min(), y.max() + 1, x.max() + 1
                scores[row, slot] = value / 100
        found = Detections(boxes, scores, (scores > 0).astype(np.int32), scores > 0)
        return Detections(*map(jax.numpy.asarray, found))


def make_labeller(source, finder, views="1"):
    network = Network(load, (finder,), 4, SIZE_PX, 0.05, read_views(views, SIZE_PX), TILING)
    return box_labeller(source, network, num_threads=2)


@pytest.mark.parametrize("views", ["1", "1,1f"])
def test_objects_come_back_whole_and_once_and_the_network_has_one_shape(views):
    source, finder = make_source(), Finder()
    labeller = make_labeller(source, finder, views)
    found = [image for _, images in labeller.infer([(0, [0, 1])]) for image in images]
    assert set(finder.shapes) == {(4, SIZE_PX, SIZE_PX, 3)}
    for index, (image, boxes) in enumerate(zip(found, BOXES, strict=True)):
        labels = image.labels
        assert labels["image_id"] == source.image_ids[index]
        assert image.size_px == SIZES[index]
        assert image.encoded == source.read_encoded(index)
        order = np.argsort(labels["scores"])
        np.testing.assert_allclose(labels["boxes"][order], boxes)
        np.testing.assert_allclose(labels["scores"][order], [0.2, 0.4, 0.6, 0.8][: len(boxes)], atol=1e-6)
        assert ("place_std" in labels) == ("," in views)
    assert (labeller.settings.tile_px, labeller.settings.tile_overlap_px) == (TILE_PX, 12)


def write(directory, source, finder=None, **kwargs):
    return write_pseudo_labels(
        directory=directory,
        source=source,
        labeller=make_labeller(source, finder or Finder()),
        categories=CATEGORIES,
        provenance={"teacher": {"digest": "d"}, "nms": {"max_detections": 4}},
        **kwargs,
    )


def test_records_are_of_whole_images_which_the_student_cuts(tmp_path):
    manifest = write(tmp_path, make_source(), threshold=0.1)
    assert (manifest.num_images, manifest.labels.num_boxes) == (2, 5)
    whole = read_pseudo_boxes(tmp_path, threshold=0.5, ignore_below=0.3)
    assert whole.image_ids == ("large", "small")
    tiles = tiled(whole, TILING)
    first = tiles.read(0)
    assert first["image_id"] == "large#0,0"
    np.testing.assert_array_equal(first["boxes"], [[10, 22, 20, 34]])
    np.testing.assert_array_equal(first["is_ignore"], [True])  # between the thresholds
    assert first["is_pseudo"]
    assert sum(len(tiles.read_labels(index)["boxes"]) for index in range(len(tiles))) > 5
    check_slots(whole, manifest, 4)
    check_slots(tiles, manifest, 2, is_tiled=True)
    with pytest.raises(InputError, match=r"tile large#\d+,\d+ has 2 pseudo boxes .*max_boxes=2"):
        check_slots(tiles, manifest, 1, is_tiled=True)


def test_labels_of_other_tiles_are_another_job(tmp_path):
    source = make_source()
    write(tmp_path, source)
    network = Network(load, (Finder(),), 4, SIZE_PX, 0.05, read_views("1", SIZE_PX), None)
    with pytest.raises(
        InputError, match=r"another job \(tile_px: 40 then, 0 now; tile_overlap_px: 12 then, 0"
    ):
        write_pseudo_labels(
            directory=tmp_path,
            source=source,
            labeller=box_labeller(source, network),
            categories=CATEGORIES,
            provenance={"teacher": {"digest": "d"}, "nms": {"max_detections": 4}},
        )


def test_an_image_that_does_not_decode_is_one_bad_image(tmp_path):
    with pytest.raises(InputError, match="1 images do not decode"):
        write(tmp_path / "none", make_source(bad=(0,)))
    manifest = write(tmp_path / "one", make_source(bad=(0,)), max_bad_images=1)
    assert manifest.bad_images == ("large",)
    cut_off = dataclasses.replace(
        make_source(), read_encoded=lambda index: make_source().read_encoded(index)[:-40]
    )
    manifest = write(tmp_path / "cut", cut_off, max_bad_images=2)
    assert manifest.num_bad_images == 2


def test_no_tiles_is_no_change():
    source = make_source()
    labeller = box_labeller(source, Network(load, (Finder(),), 4, 200, 0.05), num_threads=2)
    ((_, images),) = labeller.infer([(0, [0, 1])])
    assert [len(image.labels["boxes"]) for image in images] == [4, 1]
    assert labeller.settings.tile_px == 0
