import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment.operations import OPERATIONS
from selftrain_jax.augment.randaugment import RANDAUGMENT, randaugment

pytestmark = pytest.mark.tf


def test_the_ten_operations_are_efficientdets():
    assert sorted(RANDAUGMENT) == [
        "Color",
        "Cutout",
        "Equalize",
        "Rotate_BBox",
        "ShearX_BBox",
        "ShearY_BBox",
        "Solarize",
        "SolarizeAdd",
        "TranslateX_BBox",
        "TranslateY_BBox",
    ]


def marked(monkeypatch):
    """Let operation k add 1 at pixel k, so that an image counts how often each ran."""

    def mark(index):
        def operation(tensors, level, scale, seed):
            assert level == 3
            return tensors | {
                "image": tensors["image"] + tf.one_hot(index, 10, dtype=tf.uint8)[None, :, None]
            }

        return operation

    for index, name in enumerate(RANDAUGMENT):
        monkeypatch.setitem(OPERATIONS, name, mark(index))


def test_operations_are_drawn_uniformly(monkeypatch, over_seeds):
    marked(monkeypatch)
    black = {"image": tf.zeros([1, 10, 3], tf.uint8)}
    counts = over_seeds(lambda seed: randaugment(black, seed, magnitude=3)["image"][0, :, 0], 800)
    assert np.all(counts.sum(1) == 1)
    np.testing.assert_allclose(counts.mean(0), 0.1, atol=0.033)


def test_layers_are_drawn_independently(monkeypatch, over_seeds):
    marked(monkeypatch)
    black = {"image": tf.zeros([1, 10, 3], tf.uint8)}
    counts = over_seeds(
        lambda seed: randaugment(black, seed, magnitude=3, num_layers=2)["image"][0, :, 0], 600
    )
    assert np.all(counts.sum(1) == 2)
    assert np.mean(counts.max(1) == 2) == pytest.approx(0.1, abs=0.037)


def test_no_layers_change_nothing(golden_tensors):
    assert randaugment(golden_tensors, tf.constant([0, 1]), num_layers=0) is golden_tensors


def test_graph_without_known_sizes_equals_eager(golden_tensors, in_dataset):
    examples = [golden_tensors | {"seed": tf.constant([7, index])} for index in range(12)]

    def run(x):
        seed = x.pop("seed")
        return randaugment(x, seed, magnitude=10, num_layers=2, reference_size_px=640)

    for example, result in zip(examples, in_dataset(run, *examples), strict=True):
        eager = randaugment(golden_tensors, example["seed"], num_layers=2, reference_size_px=640)
        for key, value in eager.items():
            np.testing.assert_array_equal(result[key], value)
