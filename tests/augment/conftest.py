"""What the augmentation tests share: golden numbers, a dynamic-shape `tf.data` run and painted images."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def golden():
    return json.loads((Path(__file__).parent.parent / "golden" / "augment.json").read_text())


@pytest.fixture(scope="session")
def golden_tensors(golden):
    """The golden image, its boxes in pixels and a mask with a value of its own for every pixel."""
    import tensorflow as tf

    image = np.array(golden["image"], np.uint8)
    boxes = np.array(golden["boxes_frac"], np.float32) * np.array([12, 16, 12, 16], np.float32)
    mask = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    return {"image": tf.constant(image), "boxes": tf.constant(boxes), "mask": tf.constant(mask)}


@pytest.fixture(scope="session")
def in_dataset():
    """Run a function of a dict of tensors inside `tf.data` with all sizes unknown when it is traced."""
    import tensorflow as tf

    def run(function, *examples):
        fixed = {"image": [None, None, 3], "boxes": [None, 4], "seed": [2]}

        def unknown_size(key, value):
            value = tf.convert_to_tensor(value)
            return tf.TensorSpec(fixed.get(key, [None] * value.shape.rank), value.dtype)

        spec = {key: unknown_size(key, value) for key, value in examples[0].items()}
        dataset = tf.data.Dataset.from_generator(lambda: iter(examples), output_signature=spec)
        return list(dataset.map(tf.autograph.experimental.do_not_convert(function)).as_numpy_iterator())

    return run


@pytest.fixture(scope="session")
def over_seeds():
    """Run a function of a seed for seeds (0, 0), (1, 0), ...; results are stacked."""
    import tensorflow as tf

    def run(function, num_seeds):
        dataset = tf.data.Dataset.range(num_seeds)
        dataset = dataset.map(
            tf.autograph.experimental.do_not_convert(
                lambda index: function(tf.stack([tf.cast(index, tf.int32), 0]))
            )
        )
        return next(dataset.batch(num_seeds).as_numpy_iterator())

    return run


@pytest.fixture(scope="session")
def normalized():
    """Normalise the images of what a policy returns as the devices do, one image or a stack of them."""
    from selftrain_jax.models.input_normalization import normalize
    from selftrain_jax.types import FittedImages

    def run(placed):
        image, covered_px = (np.asarray(placed[key]) for key in ("image", "covered_px"))
        fitted = FittedImages(image.reshape(-1, *image.shape[-3:]), covered_px.reshape(-1, 2))
        return np.asarray(normalize(fitted)).reshape(image.shape)

    return run


@pytest.fixture(scope="session")
def paint():
    """Paint one red box on black, the same shape in the mask; all corners are whole pixels."""
    import tensorflow as tf

    def make(height, width, box):
        ymin, xmin, ymax, xmax = box
        image, mask = np.zeros([height, width, 3], np.uint8), np.zeros([height, width], np.uint8)
        image[ymin:ymax, xmin:xmax, 0] = 255
        mask[ymin:ymax, xmin:xmax] = 7
        boxes = tf.constant([box], tf.float32)
        return {"image": tf.constant(image), "boxes": boxes, "mask": tf.constant(mask)}

    return make


@pytest.fixture(scope="session")
def measure():
    """Find the box around the pixels that are set; None where there are none."""

    def box_around(is_set):
        y, x = np.nonzero(np.asarray(is_set))
        if len(y) == 0:
            return None
        return np.array([y.min(), x.min(), y.max() + 1, x.max() + 1], np.float32)

    return box_around
