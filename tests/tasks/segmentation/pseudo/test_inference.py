"""Class maps of whole images from a network that reads the class off the picture."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.data.source import Source, decode_image, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.segmentation.multi_scale import label_pixels
from selftrain_jax.tasks.segmentation.pseudo.labeller import infer_masks, predict_masks
from selftrain_jax.tasks.segmentation.pseudo.network import (
    MaskNetwork,
    canvas_side,
    check_max_side,
    enlarge_nearest,
    network_sizes,
    reduced_size,
)
from selftrain_jax.types import PixelLogits

NUM_CLASSES, COLOUR_STEP = 4, 60


def make_source(masks, bad=()):
    """Pictures whose grey value is 60 times the class; those in `bad` do not decode."""

    def read_encoded(index):
        if index in bad:
            return b"no image"
        return encode_png(np.repeat(masks[index][:, :, None] * np.uint8(COLOUR_STEP), 3, axis=2))

    return Source(
        name="toy",
        categories=(),
        image_ids=tuple(f"image-{i}" for i in range(len(masks))),
        read_labels=lambda index: {"image_id": f"image-{index}"},
        read_encoded=read_encoded,
        read_image=lambda index: decode_image(read_encoded(index), f"image-{index}"),
    )


def load(image, size_px):
    """Fit the image into the square by nearest."""
    scaled = tuple(max(1, round(side * size_px / max(image.shape[:2]))) for side in image.shape[:2])
    rows, columns = (np.arange(n) * side // n for n, side in zip(scaled, image.shape[:2], strict=True))
    network = np.zeros((size_px, size_px, 3), np.uint8)
    network[: scaled[0], : scaled[1]] = image[rows[:, None], columns]
    return network, np.array(scaled)


class Toy:
    """Logits -4 (value - class)^2 of every 4th pixel; counts calls, and traces as compiles."""

    def __init__(self):
        self.shapes, self.traced, self.canvases = [], [], []
        self._predict = jax.jit(self._logits)
        self._label = jax.jit(self._traced_label, static_argnums=(3, 4))

    def network(self, sizes_px=(32, 64), **kwargs):
        arguments = dict(batch_size=2, sizes_px=sizes_px, flip=False, max_side_px=256)
        return MaskNetwork(load, (self.predict,), self._label, **(arguments | kwargs))

    def predict(self, fitted):
        self.shapes.append(fitted.images.shape)
        return self._predict(fitted.images)

    def _logits(self, images):
        self.traced.append(images.shape)
        difference = images[:, ::4, ::4, :1] / COLOUR_STEP - jnp.arange(NUM_CLASSES)
        return PixelLogits(-4 * difference**2)

    def _traced_label(self, *args):
        self.canvases.append(args[3])
        return label_pixels(*args)


@functools.cache
def shared_toy():
    return Toy()


def chunks_of(count, batch_size=2):
    return [(i // 4, range(i, min(i + batch_size, count))) for i in range(0, count, batch_size)]


def random_mask(seed, height, width, cell_px=16):
    random = np.random.default_rng(seed)
    cells = random.integers(0, NUM_CLASSES, (-(-height // cell_px), -(-width // cell_px)))
    return np.kron(cells, np.ones((cell_px, cell_px))).astype(np.uint8)[:height, :width]


def infer(masks, network, bad=()):
    source = make_source(masks, bad)
    return [
        x for _, images in infer_masks(chunks_of(len(masks)), source=source, network=network) for x in images
    ]


def test_masks_lie_where_the_shapes_are_at_the_image_s_own_size():
    masks = [random_mask(0, 64, 64), random_mask(1, 48, 96), random_mask(2, 100, 60)]
    found = infer(masks, shared_toy().network((64, 96, 128)))
    assert [x.size_px for x in found] == [(64, 64), (48, 96), (100, 60)]
    for index, (image, mask) in enumerate(zip(found, masks, strict=True)):
        labels = image.labels
        assert labels["image_id"] == f"image-{index}"
        assert labels["is_pseudo"] is True
        assert labels["mask"].shape == labels["confidence"].shape == mask.shape
        assert labels["mask"].dtype == labels["confidence"].dtype == np.uint8
        inner = np.arange(max(mask.shape)) % 16
        inner = (inner >= 5) & (inner < 11)  # the logits have a cell of 1.5 to 6.25 px
        inside = inner[: mask.shape[0], None] & inner[None, : mask.shape[1]]
        assert (labels["mask"][inside] == mask[inside]).mean() > 0.99
        assert (labels["mask"] == mask).mean() > 0.75
        assert (labels["confidence"][inside] >= 128).mean() > 0.99


def test_the_probabilities_of_models_are_averaged():
    """With one that knows nothing a pixel's confidence is the mean of its own and 1 / K."""
    toy, masks = shared_toy(), [random_mask(0, 64, 64), random_mask(1, 48, 96)]

    def know_nothing(fitted):
        return PixelLogits(jnp.zeros_like(toy.predict(fitted).logits))

    alone = infer(masks, toy.network((64,)))
    twice = infer(masks, replace(toy.network((64,)), models=(toy.predict,) * 2))
    unsure = infer(masks, replace(toy.network((64,)), models=(toy.predict, know_nothing)))
    for one, two, mean in zip(alone, twice, unsure, strict=True):
        np.testing.assert_array_equal(two.labels["mask"], one.labels["mask"])
        np.testing.assert_array_equal(two.labels["confidence"], one.labels["confidence"])
        np.testing.assert_array_equal(mean.labels["mask"], one.labels["mask"])
        expected = (one.labels["confidence"].astype(float) + 256 / NUM_CLASSES) / 2
        np.testing.assert_allclose(mean.labels["confidence"], expected, atol=1)


def test_images_that_do_not_decode_come_as_errors_in_order():
    masks = [random_mask(i, 40, 40) for i in range(5)]
    clean = infer(masks, shared_toy().network())
    found = infer(masks, shared_toy().network(), bad=(1, 4))
    assert [isinstance(x, InputError) for x in found] == [False, True, False, False, True]
    assert "image-1" in str(found[1])
    for i in (0, 2, 3):
        np.testing.assert_array_equal(found[i].labels["mask"], clean[i].labels["mask"])
        np.testing.assert_array_equal(found[i].labels["confidence"], clean[i].labels["confidence"])


def test_shards_pass_through():
    source = make_source([random_mask(i, 40, 40) for i in range(5)])
    found = infer_masks(chunks_of(5), source=source, network=shared_toy().network())
    assert [(shard, len(images)) for shard, images in found] == [(0, 2), (0, 2), (1, 1)]


def test_with_flip_a_mirrored_image_gets_the_mirrored_mask():
    masks = [random_mask(0, 52, 80)]
    network = shared_toy().network(flip=True)
    (straight,) = infer(masks, network)
    (mirrored,) = infer([masks[0][:, ::-1]], network)
    # a float32 sum of views in another order may tip a confidence over to the next 256th
    np.testing.assert_allclose(
        mirrored.labels["confidence"][:, ::-1].astype(int), straight.labels["confidence"], atol=1
    )
    assert (mirrored.labels["mask"][:, ::-1] == straight.labels["mask"]).mean() > 0.999
    (plain,) = infer(masks, shared_toy().network())
    assert (plain.labels["confidence"] != straight.labels["confidence"]).any()


def test_shapes_are_few_counted_and_each_compiled_once():
    sizes = [(40, 50), (128, 20), (100, 129), (90, 90), (190, 20), (20, 200), (256, 30), (60, 60)]
    masks = [random_mask(i, *size) for i, size in enumerate(sizes)]
    toy = Toy()
    network = toy.network()
    infer(masks, network)
    infer(masks[::-1], network)
    assert toy.shapes[:2] == [(2, 32, 32, 3), (2, 64, 64, 3)]
    assert len(toy.shapes) == 2 * 2 * 4
    assert sorted(toy.traced) == [(2, 32, 32, 3), (2, 64, 64, 3)]
    assert sorted(toy.canvases) == [128, 192, 256]
    assert str(network.shapes_used) == "network shapes 2, canvases 3"


def test_the_next_batch_is_dispatched_before_the_last_is_read():
    toy = Toy()
    source = make_source([random_mask(0, 40, 40)] * 8)
    stream = infer_masks(chunks_of(8), source=source, network=toy.network())
    next(stream)
    assert len(toy.shapes) == 2 * 2
    next(stream)
    assert len(toy.shapes) == 3 * 2


def test_images_above_the_largest_canvas_are_labelled_smaller_and_enlarged():
    masks = [random_mask(0, 90, 180)]
    (found,) = infer(masks, shared_toy().network(max_side_px=128))
    assert found.labels["mask"].shape == (90, 180)
    source = make_source(masks)
    (framed,) = predict_masks(source=source, network=shared_toy().network(), frame_size_px=128)
    np.testing.assert_array_equal(found.labels["mask"], enlarge_nearest(framed.resized, (90, 180)))


@pytest.mark.parametrize("sizes_px", [(64,), (32, 64), (32, 96)], ids=["one", "several", "frame-apart"])
def test_both_frames_come_from_the_same_logits(sizes_px):
    masks = [random_mask(0, 50, 70), random_mask(1, 70, 50), random_mask(2, 20, 64)]
    toy = Toy()
    network = toy.network(sizes_px)
    source = make_source(masks)
    found = list(predict_masks(source=source, network=network, frame_size_px=64))
    assert len(toy.shapes) == 2 * len(sizes_px)
    assert [x.image_id for x in found] == list(source.image_ids)
    assert [x.resized.shape for x in found] == [(46, 64), (64, 46), (20, 64)]
    for image, inferred in zip(found, infer(masks, network), strict=True):
        assert image.size_px == image.original.shape
        np.testing.assert_array_equal(image.original, inferred.labels["mask"])
        expected = enlarge_nearest(image.original, image.resized.shape)
        assert (image.resized == expected).mean() > 0.85


def test_the_frame_of_one_scale_is_the_official_argmax_of_enlarged_logits():
    masks = [random_mask(0, 50, 70)]
    (found,) = predict_masks(source=make_source(masks), network=Toy().network((64,)), frame_size_px=64)
    image, (height, width) = load(np.repeat(masks[0][:, :, None] * np.uint8(COLOUR_STEP), 3, axis=2), 64)
    logits = -4 * (image[::4, ::4, :1] / COLOUR_STEP - np.arange(NUM_CLASSES)) ** 2
    for axis in (0, 1):
        cell = np.minimum(np.arange(64) / 4, 15)
        low = np.floor(cell).astype(int)
        below, above = (np.take(logits, index, axis) for index in (low, np.minimum(low + 1, 15)))
        share = (cell - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        logits = below * (1 - share) + above * share
    best = logits[:height, :width]
    ordered = np.sort(best, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > 1e-4
    np.testing.assert_array_equal(found.resized[clear], best.argmax(axis=-1)[clear])


def test_evaluation_stops_at_an_image_that_does_not_decode():
    source = make_source([random_mask(0, 40, 40)] * 2, bad=(1,))
    with pytest.raises(InputError, match="image-1"):
        list(predict_masks(source=source, network=shared_toy().network(), frame_size_px=64))


def test_logits_that_are_not_finite_name_their_image():
    toy = Toy()
    network = toy.network()

    def predict(fitted):
        logits = toy.predict(fitted).logits
        return PixelLogits(logits.at[1, 0, 0, 0].set(jnp.nan))

    broken = MaskNetwork(load, (predict,), network.label, 2, network.sizes_px, False, 256)
    with pytest.raises(InputError, match="image-1: the network's logits are not finite"):
        infer([random_mask(0, 40, 40)] * 2, broken)
    (alone,) = infer([random_mask(0, 40, 40)], broken)  # unused places do not count
    assert alone.labels["mask"].shape == (40, 40)


def test_network_sizes_are_multiples_of_32_from_the_scaled_size_up_but_the_size_itself_at_scale_1():
    assert network_sizes(512, (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)) == (256, 384, 512, 640, 768, 896)
    assert network_sizes(240, (0.5, 1, 1.25)) == (128, 240, 320)  # 120 and 300 up
    assert network_sizes(64, (0.1, 0.5, 0.75, 1.0)) == (32, 64)  # 0.75 comes to 64 too


@pytest.mark.parametrize("scales", [(), (0.5, 0.0), (-1.0,), (float("nan"),), (float("inf"),)])
def test_scales_that_mean_nothing_are_refused(scales):
    keys = r"config\.pseudo\.scales, config\.evaluate\.scales or config\.predict\.scales"
    with pytest.raises(InputError, match=keys):
        network_sizes(512, scales)


@pytest.mark.parametrize("max_side_px", [31, 0, -1])
def test_a_largest_side_below_the_smallest_input_is_refused_by_the_network_too(max_side_px):
    for check in (check_max_side, lambda side: shared_toy().network(max_side_px=side)):
        with pytest.raises(InputError, match=rf"config\.segmentation\.max_side_px is {max_side_px}; .* 32"):
            check(max_side_px)
    check_max_side(32)


def test_canvases_are_a_small_set_that_holds_every_side():
    assert {canvas_side(side, 2048) for side in range(1, 2049)} == {
        128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
    }  # fmt: skip
    for cap in (100, 500, 2048, 5000):
        assert all(side <= canvas_side(side, cap) <= cap for side in range(1, cap + 1))


def test_reduced_sizes_fit_and_keep_the_ratio():
    assert reduced_size((3000, 4000), 2048) == (1536, 2048)
    assert reduced_size((100, 2048), 2048) == (100, 2048)
    assert reduced_size((5, 9000), 2048) == (1, 2048)


def test_nearest_takes_the_pixel_at_the_floor():
    mask = np.arange(8, dtype=np.uint8)[None]
    np.testing.assert_array_equal(enlarge_nearest(mask, (1, 3)), [[0, 2, 5]])
    np.testing.assert_array_equal(enlarge_nearest(mask[:, :2], (2, 4)), [[0, 0, 1, 1]] * 2)
