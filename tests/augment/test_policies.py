import numpy as np
import pytest
import tensorflow as tf

from selftrain_jax.augment import policies
from selftrain_jax.augment.policies import POLICIES, augment_policy, augment_uint8, resize_for_inference
from selftrain_jax.errors import InputError

pytestmark = pytest.mark.tf
SEEDS = [tf.constant([11, index]) for index in range(6)]


@pytest.fixture(scope="module")
def labelled():
    """Three images of different sizes with 2, 1 and 0 boxes."""
    rng = np.random.default_rng(0)
    boxes = [[[5, 6, 40, 50], [1, 1, 20, 90]], [[10, 10, 60, 30]], []]
    return [
        {
            "image": tf.constant(rng.integers(0, 256, [height, width, 3], dtype=np.uint8)),
            "boxes": tf.reshape(tf.constant(own, tf.float32), [-1, 4]),
            "classes": tf.range(len(own), dtype=tf.int32),
            "scores": tf.range(len(own), dtype=tf.float32),
            "mask": tf.constant(rng.integers(0, 21, [height, width], dtype=np.uint8)),
        }
        for (height, width), own in zip([(60, 100), (90, 70), (33, 47)], boxes, strict=True)
    ]


def test_table_1():
    assert {name: (row.operations, row.jitter) for name, row in POLICIES.items()} == {
        "s1": ("none", (0.8, 1.2)),
        "s2": ("autoaugment", (0.8, 1.2)),
        "s3": ("autoaugment", (0.5, 2.0)),
        "s4": ("randaugment", (0.5, 2.0)),
    }


@pytest.mark.parametrize("name", POLICIES)
def test_in_tf_data_shapes_are_static_and_values_equal_the_eager_ones(name, labelled, in_dataset):
    augment = augment_policy(name, output_size_px=64)

    def run(x):
        seed = x.pop("seed")
        placed = augment(x, seed)
        assert placed["image"].shape == (64, 64, 3)
        assert placed["mask"].shape == (64, 64)
        assert placed["boxes"].shape[1] == 4
        assert placed["scale"].shape == placed["offset"].shape == placed["covered_px"].shape == (2,)
        return placed

    examples = [example | {"seed": seed} for example in labelled for seed in SEEDS]
    for example, result in zip(examples, in_dataset(run, *examples), strict=True):
        seed = example["seed"]
        eager = augment({key: value for key, value in example.items() if key != "seed"}, seed)
        assert set(result) == {*example, "scale", "offset", "covered_px"} - {"seed"}
        for key, value in eager.items():
            np.testing.assert_allclose(result[key], value, atol=1e-5, err_msg=key)
        boxes = result["boxes"]
        assert len(boxes) == len(result["classes"]) == len(result["scores"]) <= len(example["boxes"])
        assert np.all((boxes >= 0) & (boxes <= 63))
        assert np.all(boxes[:, 2:] > boxes[:, :2])


@pytest.mark.parametrize("name", POLICIES)
def test_the_seed_decides_everything(name, labelled):
    augment = augment_policy(name, output_size_px=32)
    first, again = (augment(labelled[0], SEEDS[0]) for _ in range(2))
    for key, value in first.items():
        np.testing.assert_array_equal(again[key], value)
    others = [augment(labelled[0], seed)["image"].numpy() for seed in SEEDS[1:]]
    assert all(np.any(other != first["image"].numpy()) for other in others)


def test_s1_boxes_and_masks_stay_on_what_was_painted_within_a_pixel(paint, measure, over_seeds):
    tensors = paint(96, 120, (42, 41, 60, 71))
    placed = over_seeds(
        lambda seed: augment_policy("s1", output_size_px=120, jitter=(0.6, 1.2))(tensors, seed), 40
    )
    for image, boxes, mask in zip(placed["image"], placed["boxes"], placed["mask"], strict=True):
        np.testing.assert_allclose(boxes[0], measure(image[..., 0] > 127), atol=1.2)
        np.testing.assert_allclose(boxes[0], measure(mask == 7), atol=1)


@pytest.mark.parametrize("name", ["s2", "s3", "s4"])
def test_boxes_of_every_policy_stay_around_what_was_painted(name, paint, measure, over_seeds):
    tensors = paint(200, 240, (80, 90, 120, 150))
    augment = augment_policy(name, output_size_px=160, reference_size_px=640, jitter=(0.8, 1.2))

    def run(seed):
        placed = augment(tensors, seed)
        placed["num_boxes"] = tf.shape(placed["boxes"])[0]
        placed["boxes"] = tf.pad(placed["boxes"], [[0, 1], [0, 0]])[0]  # one box, or zeros
        return placed

    placed = over_seeds(run, 60)
    assert np.mean(placed["num_boxes"]) > 0.8
    for box, mask in zip(placed["boxes"], placed["mask"], strict=True):
        seen = measure(mask == 7)
        if seen is not None and np.any(box):  # moved by whole operations: mask and box must agree
            assert np.all(seen[:2] >= box[:2] - 3)
            assert np.all(seen[2:] <= box[2:] + 3)


def test_half_of_the_images_flip_and_scales_fill_the_jitter_range(over_seeds):
    left = np.zeros([40, 40, 3], np.uint8)
    left[:, :20] = 255
    tensors = {"image": tf.constant(left)}
    augment = augment_policy("s4", output_size_px=40, num_layers=0, jitter=(0.5, 1.0))
    placed = over_seeds(lambda seed: augment(tensors, seed), 400)
    assert np.mean(placed["image"][:, 0, 0, 0] == 0) == pytest.approx(0.5, abs=0.08)
    scale = placed["scale"][:, 0]
    assert 0.5 <= scale.min() < 0.53
    assert 0.97 < scale.max() <= 1.0
    assert scale.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_array_equal(placed["offset"], 0)


def test_crops_start_anywhere(over_seeds):
    augment = augment_policy("s1", output_size_px=40, jitter=(2.0, 2.0))
    offset = over_seeds(lambda seed: augment({"image": tf.zeros([40, 40, 3], tf.uint8)}, seed)["offset"], 300)
    assert np.all((offset >= 0) & (offset < 40))
    np.testing.assert_allclose(offset.mean(0), 19.5, atol=2.1)
    assert abs(np.corrcoef(offset.T)[0, 1]) < 0.18


def test_without_boxes_and_masks_only_the_image_is_augmented(labelled):
    for name in POLICIES:
        placed = augment_policy(name, output_size_px=32)({"image": labelled[0]["image"]}, SEEDS[0])
        assert set(placed) == {"image", "scale", "offset", "covered_px"}


def test_a_degenerate_box_does_not_survive(labelled):
    tensors = labelled[1] | {"boxes": tf.constant([[10.0, 10.0, 10.0, 30.0]])}
    placed = augment_policy("s1", output_size_px=32)(tensors, SEEDS[0])
    assert placed["boxes"].shape == (0, 4)
    assert placed["classes"].shape == (0,)


def test_resize_for_inference_fits_the_longest_side_and_maps_back(labelled, in_dataset):
    tensors = {"image": labelled[1]["image"], "boxes": labelled[1]["boxes"]}  # 90 x 70
    placed = resize_for_inference(tensors, output_size_px=45)
    np.testing.assert_allclose(placed["scale"], [0.5, 0.5])
    np.testing.assert_array_equal(placed["covered_px"], [45, 35])
    back = (placed["boxes"] + tf.tile(placed["offset"], [2])) / tf.tile(placed["scale"], [2])
    np.testing.assert_allclose(back, tensors["boxes"])
    (mapped,) = in_dataset(lambda x: resize_for_inference(x, output_size_px=45), tensors)
    np.testing.assert_array_equal(mapped["image"], placed["image"])


def test_augment_uint8_of_s1_is_the_identity(labelled):
    result = augment_uint8("s1")(labelled[0], SEEDS[0])
    for key, value in labelled[0].items():
        np.testing.assert_array_equal(result[key], value)


def test_augment_uint8_keeps_size_type_and_boxes(labelled):
    for name in ("s2", "s4"):
        result = augment_uint8(name, 10, 2)(labelled[0], SEEDS[1])
        assert result["image"].dtype == tf.uint8
        assert result["image"].shape == labelled[0]["image"].shape
        assert len(result["boxes"]) == 2
        assert result["classes"] is labelled[0]["classes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "S4"}, "'S4'.*s1, s2, s3, s4.*nearest is 's4'"),
        ({"name": "augment-s3"}, "nearest is 's3'"),
        ({"jitter": (2.0, 0.5)}, "low <= high"),
        ({"jitter": (0.0, 1.0)}, "0 < low"),
        ({"magnitude": -1}, "magnitude is -1"),
        ({"num_layers": -1}, "num_layers is -1"),
        ({"output_size_px": 0}, "output_size_px is 0"),
        ({"autoaugment_version": "v4"}, "'v4'.*v0, v1, v2, v3"),
        ({"reference_size_px": 0}, "reference_size_px is 0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        policies.augment_policy(**({"name": "s4", "output_size_px": 64} | arguments))
