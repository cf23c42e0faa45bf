"""Resampling of logits against loops and TensorFlow; averaging of views; the same on two devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from selftrain_jax.segmentation import multi_scale
from selftrain_jax.segmentation.multi_scale import label_pixels, quantise

SIZES_PX = (32, 64)
SCALED_PX = np.array([[[32, 20], [64, 40]], [[13, 32], [26, 64]], [[32, 32], [64, 64]]], np.int32)
TARGET_PX = np.array([[48, 30], [9, 22], [50, 50]], np.int32)
CANVAS_PX, NUM_CLASSES = 50, 5
interpolation_matrix = jax.jit(multi_scale.interpolation_matrix, static_argnames=("num_cells", "is_mirrored"))


def between(values, position):
    """Interpolate along the first axis; the last value reaches on."""
    position = min(position, len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (position - low) * (values[high] - values[low])


def resample(cells, scaled, target):
    """Enlarge by 4, cut, resize, along the first axis, sample by sample."""
    pixels = [between(cells, y / 4) for y in range(4 * len(cells))][:scaled]
    return np.array([between(pixels, p * scaled / target) for p in range(target)])


def resample_both(logits, scaled, target):
    rows = resample(logits, scaled[0], target[0])
    return np.moveaxis(resample(np.moveaxis(rows, 1, 0), scaled[1], target[1]), 0, 1)


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def make_logits(seed=0, sizes_px=SIZES_PX):
    random = np.random.default_rng(seed)
    return [random.normal(size=(3, s // 4, s // 4, NUM_CLASSES)).astype(np.float32) * 3 for s in sizes_px]


def jit_label():
    """Compile anew: the cache of `jax.jit` does not know of changed constants."""
    return jax.jit(lambda *args: label_pixels(*args), static_argnums=(3, 4))


def check_labels(found, logits, are_mirrored):
    """Hold classes and confidence against loops, leaving out near ties."""
    for image, target in enumerate(TARGET_PX):
        views = [
            softmax(resample_both(view[image].astype(np.float64), SCALED_PX[image, i], target))
            for i, view in enumerate(logits)
        ]
        flipped = [
            view[:, ::-1] if mirrored else view for view, mirrored in zip(views, are_mirrored, strict=True)
        ]
        mean = np.mean(flipped, axis=0)
        second, best = np.sort(mean, axis=-1)[..., -2:].transpose(2, 0, 1)
        clear = best - second > 1e-5
        assert clear.mean() > 0.99
        classes, confidence = (np.asarray(x[image])[: target[0], : target[1]] for x in found[:2])
        np.testing.assert_array_equal(classes[clear], mean.argmax(axis=-1)[clear])
        exact = np.abs(256 * best - np.round(256 * best)) > 1e-2
        np.testing.assert_array_equal(confidence[exact], np.floor(256 * best)[exact])


@pytest.mark.parametrize(
    ("scaled", "target", "expected"),
    [
        (8, 8, [0, 1, 2, 3, 4, 4, 4, 4]),  # enlarged by 4, the last cell reaches on
        (6, 3, [0, 2, 4]),  # every second of the first 6
        (6, 4, [0, 1.5, 3, 4]),
        (2, 4, [0, 0.5, 1, 1]),  # cut before pixel 2: the last pixel is 1
    ],
)
def test_rows_of_the_matrix_are_enlargement_cut_and_resize(scaled, target, expected):
    matrix = interpolation_matrix(jnp.arange(8), 2, jnp.array([scaled]), jnp.array([target]))
    found = matrix[0] @ np.array([0.0, 4.0])
    np.testing.assert_allclose(found, expected + [0] * (8 - target), atol=1e-6)
    np.testing.assert_allclose(matrix[0].sum(axis=1), [1] * target + [0] * (8 - target), atol=1e-6)


def test_mirrored_matrix_counts_from_the_image_s_own_last_column():
    sizes = jnp.array([20, 32]), jnp.array([30, 7])
    straight = interpolation_matrix(jnp.arange(40), 8, *sizes)
    mirrored = interpolation_matrix(jnp.arange(40), 8, *sizes, is_mirrored=True)
    for image, width in enumerate((30, 7)):
        np.testing.assert_allclose(mirrored[image, :width], straight[image, :width][::-1], atol=1e-6)
        assert not mirrored[image, width:].any()


@pytest.mark.parametrize("seed", range(5))
def test_matrix_is_a_loop_s_for_random_sizes(seed):
    random = np.random.default_rng(seed)
    num_cells, target = int(random.integers(1, 20)), int(random.integers(1, 90))
    scaled = int(random.integers(1, 4 * num_cells + 1))
    cells = random.normal(size=num_cells)
    matrix = interpolation_matrix(jnp.arange(90), num_cells, jnp.array([scaled]), jnp.array([target]))
    np.testing.assert_allclose(matrix[0, :target] @ cells, resample(cells, scaled, target), atol=2e-5)


@pytest.mark.tf
def test_resampling_is_tensorflow_s_legacy_path():
    import tensorflow as tf

    def resize(x, size):
        return tf.compat.v1.image.resize_bilinear(x, size, align_corners=False, half_pixel_centers=False)

    (logits,) = make_logits(sizes_px=(64,))
    for scaled, target in (((64, 41), (50, 32)), ((30, 64), (101, 215)), ((64, 64), (64, 64))):
        theirs = resize(resize(logits, (64, 64))[:, : scaled[0], : scaled[1]], target)
        rows, columns = (
            interpolation_matrix(jnp.arange(target[i]), 16, jnp.full(3, scaled[i]), jnp.full(3, target[i]))
            for i in (0, 1)
        )
        ours = np.einsum("bph,bqw,bhwk->bpqk", rows, columns, logits, optimize=True)
        np.testing.assert_allclose(ours, theirs, atol=2e-4)  # of float32 positions up to 215


@pytest.mark.parametrize("rows_a_block", [50, 16, 1])
def test_probabilities_are_averaged_over_views_at_each_image_s_size(monkeypatch, rows_a_block):
    monkeypatch.setattr(multi_scale, "BLOCK_BYTES", rows_a_block * 3 * CANVAS_PX * NUM_CLASSES * 4)
    logits = make_logits()
    found = jit_label()(logits, SCALED_PX, TARGET_PX, CANVAS_PX, (False, True))
    assert found.classes.shape == found.confidence.shape == (3, CANVAS_PX, CANVAS_PX)
    check_labels(found, logits, (False, True))


def test_one_view_at_its_own_size_is_the_argmax_of_enlarged_logits():
    (logits,) = make_logits(sizes_px=(32,))
    whole = np.full((3, 2), 32, np.int32)
    found = jit_label()([logits], whole[:, None], whole, 32, (False,))
    enlarged = np.array([resample_both(image, (32, 32), (32, 32)) for image in logits])
    np.testing.assert_array_equal(found.classes, enlarged.argmax(axis=-1))


def test_probabilities_and_not_logits_are_averaged():
    sure, unsure = [20.0, 0, 0], [0.0, 3, 0]  # logits would average to class 0 of probability 0.9998
    logits = [jnp.broadcast_to(jnp.array(x), (1, 8, 8, 3)) for x in (sure, unsure, unsure)]
    whole = np.full((1, 2), 32, np.int32)
    found = jit_label()(logits, np.repeat(whole[:, None], 3, axis=1), whole, 32, (False,) * 3)
    probability = 2 / 3 * np.exp(3) / (np.exp(3) + 2)
    assert (np.asarray(found.classes) == 1).all()
    assert (np.asarray(found.confidence) == int(256 * probability)).all()


def test_two_devices_label_as_one_does():
    logits = [np.concatenate([view, view[:1]]) for view in make_logits()]
    scaled, target = (np.concatenate([x, x[:1]]) for x in (SCALED_PX, TARGET_PX))
    label = jit_label()
    split = jax.sharding.NamedSharding(jax.make_mesh((2,), ("data",)), jax.sharding.PartitionSpec("data"))
    placed = jax.device_put((logits, scaled, target), split)
    found, alone = (
        label(*placed, CANVAS_PX, (False,) * 2),
        label(logits, scaled, target, CANVAS_PX, (False,) * 2),
    )
    assert found.classes.sharding.is_equivalent_to(split, 3)
    for ours, theirs in zip(found, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_told_of_their_image_alone(value):
    logits = make_logits()
    logits[1][1, 15, 15, 0] = value
    label = jit_label()
    found = label(logits, SCALED_PX, TARGET_PX, CANVAS_PX, (False, False))
    np.testing.assert_array_equal(found.is_finite, [True, False, True])
    logits[1][1] = 0
    clean = label(logits, SCALED_PX, TARGET_PX, CANVAS_PX, (False, False))
    np.testing.assert_array_equal(found.classes[0], clean.classes[0])
    np.testing.assert_array_equal(found.classes[2], clean.classes[2])


def test_quantised_probabilities_keep_thresholds_of_whole_256ths():
    probability = jnp.array([0.0, 0.4999, 0.5, 0.50001, 255 / 256, 1.0])
    np.testing.assert_array_equal(quantise(probability), [0, 127, 128, 128, 255, 255])


def test_no_canvas_of_all_classes_is_held():
    """2 images of 2048 px, 21 classes: 705 MB if it were; the program's own memory is a tenth."""
    shapes = [jax.ShapeDtypeStruct((2, s // 4, s // 4, 21), jnp.float32) for s in (256, 512)]
    sizes = jax.ShapeDtypeStruct((2, 2, 2), jnp.int32), jax.ShapeDtypeStruct((2, 2), jnp.int32)
    label = jit_label()
    memory = label.lower(shapes, *sizes, 2048, (False,) * 2).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 150e6
