"""Class maps by tiles: of a network that looks at one pixel at a time they are those of the whole image."""

import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.augment.policies import make_inference_resize
from selftrain_jax.data.tiles import Tiling, tile_cores, tile_grid
from selftrain_jax.tasks.segmentation.pseudo.labeller import infer_masks, predict_masks
from selftrain_jax.tasks.segmentation.pseudo.network import MaskNetwork, enlarge_nearest
from selftrain_jax.tasks.segmentation.pseudo.tiles import fitted_size, paste_tiles
from selftrain_jax.types import PixelLogits
from tests.tasks.segmentation.pseudo.test_inference import COLOUR_STEP, chunks_of, make_source

pytestmark = pytest.mark.tf

SIDE_PX = 48


def load(image, size_px):
    """Leave the image as it is, in the corner of the input."""
    inputs = np.zeros((size_px, size_px, 3), np.uint8)
    inputs[: image.shape[0], : image.shape[1]] = image
    return inputs, np.array(image.shape[:2])


class Pointwise:
    """Says of each pixel its colour as its class, and the class and the place as its confidence."""

    def __init__(self):
        self.shapes = []

    def network(self, tiling, side_px=SIDE_PX, top_k=1):
        return MaskNetwork(load, (self.predict,), self.label, 3, (side_px,), False, 512, top_k, tiling=tiling)

    def predict(self, fitted):
        self.shapes.append(fitted.images.shape)
        return PixelLogits(jnp.asarray(fitted.images / COLOUR_STEP))

    def label(self, logits, scaled_px, target_px, canvas_px, are_mirrored):
        shown = np.zeros((len(scaled_px), canvas_px, canvas_px), np.uint8)
        for row, (height, width) in enumerate(target_px):
            shown[row, :height, :width] = np.round(logits[0][row, :height, :width, 0])
        return jnp.asarray(shown), jnp.asarray(shown * 50 + 3), jnp.ones(len(shown), bool)


def random_masks():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 4, size).astype(np.uint8) for size in ((100, 130), (30, 40), (48, 200))]


def test_maps_of_a_pointwise_network_are_the_whole_image_s():
    masks, pointwise = random_masks(), Pointwise()
    source = make_source(masks)
    chunks = chunks_of(len(masks))
    by_tile = infer_masks(chunks, source=source, network=pointwise.network(Tiling(SIDE_PX, 10)))
    found = [image for _, images in by_tile for image in images]
    assert set(pointwise.shapes) == {(3, SIDE_PX, SIDE_PX, 3)}
    whole = infer_masks(chunks, source=source, network=Pointwise().network(None, 256))
    for image, expected, mask in zip(found, (i for _, images in whole for i in images), masks, strict=True):
        np.testing.assert_array_equal(image.labels["mask"], mask)
        assert image.labels["image_id"] == expected.labels["image_id"]
        for key in ("mask", "confidence"):
            np.testing.assert_array_equal(image.labels[key], expected.labels[key])
        assert image.encoded == expected.encoded
        assert image.size_px == expected.size_px == mask.shape


def test_evaluation_sees_the_whole_image_in_both_frames():
    masks = random_masks()
    network = Pointwise().network(Tiling(SIDE_PX, 10))
    found = list(predict_masks(source=make_source(masks), network=network, frame_size_px=64))
    for predicted, mask in zip(found, masks, strict=True):
        np.testing.assert_array_equal(predicted.original, mask)
        np.testing.assert_array_equal(predicted.resized, enlarge_nearest(mask, predicted.resized.shape))
        assert max(predicted.resized.shape) == 64


@pytest.mark.parametrize("size_px", [(100, 130), (333, 77), (64, 64), (1, 999), (427, 640), (500, 375)])
def test_the_frame_is_as_large_as_the_resize_makes_it(size_px):
    _, covered_px = make_inference_resize(64)(np.zeros((*size_px, 3), np.uint8))
    assert fitted_size(size_px, 64) == tuple(covered_px)


def test_each_pixel_is_taken_from_the_tile_whose_core_it_is_in():
    tiles, size_px = tile_grid((70, 90), Tiling(40, 10)), (70, 90)
    shape = (40, 40)
    by_tile = [
        {"image_id": "", "mask": np.full(shape, i, np.uint8), "runners_up": np.full((*shape, 2), i, np.uint8)}
        for i in range(len(tiles))
    ]
    pasted = paste_tiles(by_tile, tiles, size_px)
    assert pasted["runners_up"].shape == (70, 90, 2)
    for index, (top, left, bottom, right) in enumerate(tile_cores(tiles)):
        assert (pasted["mask"][top:bottom, left:right] == index).all()
        assert (pasted["runners_up"][top:bottom, left:right] == index).all()
