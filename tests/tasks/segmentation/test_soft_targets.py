"""Soft masks on their way from records into a batch: what is stored, read, augmented and refused."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from configs import common
from selftrain_jax.augment.policies import augment_policy
from selftrain_jax.data.pipeline import make_batches, take_steps
from selftrain_jax.data.records import decode_record, encode_record
from selftrain_jax.data.source import Source, encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.fields import to_json
from selftrain_jax.tasks.segmentation.data import check_config
from selftrain_jax.tasks.segmentation.pseudo.source import make_soft, mask_classes, read_pseudo_masks
from selftrain_jax.tasks.segmentation.run_files import MaskSettings
from selftrain_jax.tasks.segmentation.spec import SEGMENTATION, build_task
from selftrain_jax.tasks.segmentation.targets import mask_targets
from selftrain_jax.types import Category
from tests.tasks.segmentation.pseudo import mask_toy

pytestmark = pytest.mark.tf


def pixel(confidence: int, *runners_up: int) -> dict:
    """One pixel of class 1."""
    maps = {"mask": np.ones((1, 1), np.uint8), "confidence": np.full((1, 1), confidence, np.uint8)}
    return {"image_id": "a", **maps, "runners_up": np.array(runners_up, np.uint8)[None, None]}


def test_shares_are_the_probabilities_divided_by_their_sum() -> None:
    assert make_soft(pixel(127, 4, 63)).tolist() == [[[4, round(255 * 63.5 / (127.5 + 63.5)), 0, 0]]]
    total = 100.5 + 80.5 + 20.5
    shares = [round(255 * 80.5 / total), round(255 * 20.5 / total)]
    assert make_soft(pixel(100, 4, 80, 2, 20)).tolist() == [[[4, shares[0], 2, shares[1]]]]
    assert make_soft(pixel(255, 4, 0, 2, 0)).tolist() == [[[4, 0, 2, 0]]]  # sure: the hard label


def test_pixels_that_may_be_of_an_ignored_class_are_ignored() -> None:
    for labels, ignored, expected in (
        (pixel(200, 4, 30), [4], 255),
        (pixel(200, 4, 0), [4], 1),  # less than 1/256
        (pixel(200, 4, 30), [2], 1),
        (pixel(200, 4, 30, 2, 1), [2], 255),
        (pixel(200, 4, 30), [1], 255),
        (pixel(200, 4, 30), [], 1),
    ):
        assert mask_classes(labels["mask"], labels, ignored).tolist() == [[expected]]
    alone = {key: value for key, value in pixel(200, 4, 30).items() if key != "runners_up"}
    assert mask_classes(alone["mask"], alone, [4]).tolist() == [[1]]  # of one class a pixel no more is known
    assert mask_classes(alone["mask"], alone, [1]).tolist() == [[255]]


@pytest.mark.parametrize("num_runners_up", [1, 2])
def test_runners_up_survive_a_round_trip_bit_by_bit(num_runners_up: int) -> None:
    maps = np.random.default_rng(0).integers(0, 256, (5, 7, 2 + 2 * num_runners_up)).astype(np.uint8)
    labels = {"image_id": "a", "is_pseudo": True, "mask": maps[..., 0], "confidence": maps[..., 1]}
    labels["runners_up"] = maps[..., 2:]
    record = encode_record(labels, encode_png(np.zeros((5, 7, 3), np.uint8)), 5, 7)
    np.testing.assert_array_equal(decode_record(record)[0]["runners_up"], maps[..., 2:])
    without = {key: value for key, value in labels.items() if key != "runners_up"}
    assert "runners_up" not in decode_record(encode_record(without, b"image", 5, 7))[0]


def test_a_record_with_a_third_class_and_no_second_is_refused() -> None:
    labels = {**pixel(9, 4, 3, 2, 1), "is_pseudo": True}
    feature = tf.train.Example.FromString(encode_record(labels, b"image", 1, 1))
    del feature.features.feature["image/segmentation/class_2/encoded"]
    with pytest.raises(InputError, match="no image/segmentation/class_2/encoded among"):
        decode_record(feature.SerializeToString())


def label_softly(directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write toy labels whose runner-up is class 3, of a probability that falls with the confidence."""
    make = mask_toy.make_labeller

    def make_soft_labeller(*args):
        labeller = make(*args)

        def infer(chunks):
            for shard, images in labeller.infer(chunks):
                for image in images:
                    level = ((255 - image.labels["confidence"]) // 2).astype(np.uint8)
                    image.labels["runners_up"] = np.stack([np.full_like(level, 3), level], axis=-1)
                yield shard, images

        return labeller._replace(infer=infer, settings=MaskSettings(sizes_px=(32, 64), top_k=2))

    monkeypatch.setattr(mask_toy, "make_labeller", make_soft_labeller)
    mask_toy.label_masks(directory, 3)


def test_soft_labels_are_read_with_thresholds_and_ignored_classes(tmp_path, monkeypatch) -> None:
    label_softly(tmp_path, monkeypatch)
    mask, confidence = mask_toy.make_maps(1)
    soft = read_pseudo_masks(tmp_path, is_soft=True).read_labels(1)
    np.testing.assert_array_equal(soft["mask"], np.where(confidence >= 128, mask, 255))
    level = (255 - confidence) // 2
    shares = np.where(level > 0, level + 0.5, 0) / (confidence + 0.5 + np.where(level > 0, level + 0.5, 0))
    np.testing.assert_array_equal(soft["soft_mask"][..., 1], np.round(255 * shares))
    assert "soft_mask" not in read_pseudo_masks(tmp_path).read_labels(1)
    without_dogs = read_pseudo_masks(tmp_path, threshold=0.0, ignored_classes=["dog"]).read_labels(1)
    np.testing.assert_array_equal(without_dogs["mask"], np.where((mask == 3) | (level > 0), 255, mask))


def test_soft_masks_of_hard_labels_are_refused(tmp_path) -> None:
    mask_toy.label_masks(tmp_path, 3)
    with pytest.raises(InputError, match=r"keeps one class .*mask_target=soft.*mask_top_k=2"):
        read_pseudo_masks(tmp_path, is_soft=True)


def make_source(*, has_soft: bool) -> Source:
    """Images whose soft mask says what the mask says: (mask, mask / 2, 255 - mask, mask / 3)."""
    mask = np.random.default_rng(3).integers(0, 200, (20, 30)).astype(np.uint8)
    soft = np.stack([mask, mask // 2, 255 - mask, mask // 3], axis=-1)
    labels = {"image_id": "a", "mask": mask, **({"soft_mask": soft} if has_soft else {})}
    image = np.zeros((20, 30, 3), np.uint8)
    return Source("toy", (Category(0, "x"),), ("a",), lambda i: labels, lambda i: b"", lambda i: image)


@pytest.mark.parametrize("policy", ["s1", "s2", "s4"])
def test_soft_masks_move_with_their_masks(policy: str) -> None:
    augment = augment_policy(policy, output_size_px=32, reference_size_px=640)
    options = {"augment": augment, "batch_size": 4, "seed": 1}
    for (batch, _), (hard, _) in zip(
        take_steps(make_batches(make_source(has_soft=True), mask_targets(is_soft=True), **options), 0, 4),
        take_steps(make_batches(make_source(has_soft=True), mask_targets(), **options), 0, 4),
        strict=True,
    ):
        masks, soft, _ = batch.targets
        np.testing.assert_array_equal(masks, hard.targets.masks)
        assert hard.targets.soft is None
        inside = masks != 255
        assert 0.1 < inside.mean() < 1.0
        expected = np.stack([masks, masks // 2, 255 - masks, masks // 3], axis=-1)
        np.testing.assert_array_equal(soft[inside], expected[inside])
        assert not soft[~inside].any()


def test_human_masks_have_no_further_shares() -> None:
    augment = augment_policy("s1", output_size_px=32, reference_size_px=640)
    stream = make_batches(
        make_source(has_soft=False), mask_targets(is_soft=True), augment=augment, batch_size=2, seed=1
    )
    (batch, _), *_ = take_steps(stream, 0, 1)
    assert batch.targets.soft.shape == (2, 32, 32, 4)
    assert not batch.targets.soft.any()


def test_only_a_student_that_learns_softly_has_soft_targets() -> None:
    config = common.get_config()
    assert SEGMENTATION.targets(config, True).signature == mask_targets().signature
    config.pseudo.update(mask_target="soft", mask_top_k=2)
    assert SEGMENTATION.targets(config, True).signature == mask_targets(is_soft=True).signature
    assert SEGMENTATION.targets(config, False).signature == mask_targets().signature


def test_the_weight_of_a_pixel_is_the_probability_of_its_class(tmp_path) -> None:
    mask_toy.label_masks(tmp_path, 3)
    _, confidence = mask_toy.make_maps(1)
    weighed = read_pseudo_masks(tmp_path, is_weighed=True).read_labels(1)
    np.testing.assert_array_equal(weighed["pixel_weight"][..., 0], np.round(255 * (confidence + 0.5) / 256))
    assert "pixel_weight" not in read_pseudo_masks(tmp_path).read_labels(1)


@pytest.mark.parametrize("policy", ["s1", "s4"])
def test_weights_move_with_their_masks(policy: str) -> None:
    soft = make_source(has_soft=True)

    def read_labels(index: int):
        labels = soft.read_labels(index)
        return labels | {"pixel_weight": labels["mask"][..., None]}

    source = dataclasses.replace(soft, read_labels=read_labels)
    options = {
        "augment": augment_policy(policy, output_size_px=32, reference_size_px=640),
        "batch_size": 4,
        "seed": 1,
    }
    for target in (mask_targets(is_weighed=True), mask_targets(is_soft=True, is_weighed=True)):
        for batch, _ in take_steps(make_batches(source, target, **options), 0, 4):
            masks, _, weight = batch.targets
            inside = masks != 255
            assert 0.1 < inside.mean() < 1.0
            np.testing.assert_array_equal(weight[inside][:, 0], masks[inside])
            assert not weight[~inside].any()


def test_human_pixels_have_the_full_weight() -> None:
    augment = augment_policy("s1", output_size_px=32, reference_size_px=640)
    targets = mask_targets(is_weighed=True)
    stream = make_batches(make_source(has_soft=False), targets, augment=augment, batch_size=2, seed=1)
    (batch, _), *_ = take_steps(stream, 0, 1)
    np.testing.assert_array_equal(batch.targets.weight[..., 0], np.where(batch.targets.masks != 255, 255, 0))


def test_only_a_student_that_weighs_pixels_has_weights() -> None:
    config = common.get_config()
    config.pseudo.class_weight = "score"
    assert SEGMENTATION.targets(config, True).signature == mask_targets(is_weighed=True).signature
    assert SEGMENTATION.targets(config, False).signature == mask_targets().signature
    shapes = SEGMENTATION.self_training.target_shapes(config, 2)
    assert shapes.soft is None
    assert shapes.weight.shape == (*shapes.masks.shape, 1)


@pytest.mark.parametrize(
    ("pseudo", "words"),
    [
        ({"mask_top_k": 0}, r"mask_top_k=0: of each pixel 1 to 3 classes"),
        ({"mask_top_k": 4}, r"mask_top_k=4: of each pixel 1 to 3 classes"),
        ({"mask_target": "fuzzy"}, r"mask_target='fuzzy' is not one of hard, soft"),
        ({"class_weight": "loud"}, r"class_weight='loud' is not one of one, score"),
        ({"mask_target": "soft"}, r"mask_top_k=1 keeps one; use --config\.pseudo\.mask_top_k=2"),
    ],
)
def test_pseudo_masks_that_do_not_exist_are_refused(pseudo: dict, words: str) -> None:
    config = common.get_config()
    config.task, config.data.kind = "segmentation", "folder"
    config.pseudo.update(pseudo)
    with pytest.raises(InputError, match=words):
        check_config(config)


def test_more_classes_than_there_are_cannot_be_kept() -> None:
    config = common.get_config()
    config.pseudo.mask_top_k = 3
    with pytest.raises(InputError, match=r"mask_top_k=3, but there are 2 classes .* use at most 2"):
        build_task(config, (Category(0, "a"), Category(1, "b")))


def test_settings_of_one_class_a_pixel_are_written_as_before() -> None:
    assert to_json(MaskSettings(sizes_px=(32,), flip=False)) == {"sizes_px": [32], "flip": False}
    assert to_json(MaskSettings(top_k=2)) == {"top_k": 2}
