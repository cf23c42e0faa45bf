import io
import itertools

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.demo import builtin
from selftrain_jax.demo.builtin import (
    MASK_CATEGORIES,
    RUN_STARTS,
    SPLITS,
    read_builtin,
    read_builtin_masks,
    split_pool,
)
from selftrain_jax.demo.material import digit_classes, digit_inks, photo
from selftrain_jax.demo.scenes import MAX_DIGITS, MIN_VISIBLE_FRAC, label_scene, lay_out
from selftrain_jax.errors import InputError


def measured_boxes(mask):
    """Boxes around the pixels of each class, by a loop over pixels."""
    boxes = {}
    for y, x in np.argwhere(mask > 0):
        y0, x0, y1, x1 = boxes.get(mask[y, x], (999, 999, 0, 0))
        boxes[mask[y, x]] = (min(y0, y), min(x0, x), max(y1, y + 1), max(x1, x + 1))
    return boxes


def test_same_seed_split_and_index_give_the_same_image_whatever_the_length():
    short, long = (read_builtin("train", num_images=number, seed=7) for number in (3, 50))
    first, second = short.read(2), long.read(2)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(("split", "seed", "index"), [("train", 1, 0), ("val", 0, 0), ("train", 0, 1)])
def test_another_seed_split_or_index_gives_another_image(split, seed, index):
    image = read_builtin("train", num_images=2).read_image(0)
    assert not np.array_equal(read_builtin(split, num_images=2, seed=seed).read_image(index), image)


def test_masks_are_of_mosaics_whose_every_image_depends_on_seed_split_and_index_alone():
    short, long = (read_builtin_masks("val", num_images=number, seed=4) for number in (3, 30))
    assert [category.id for category in short.categories] == list(range(len(MASK_CATEGORIES)))
    assert short.name == "builtin-mosaics/val"
    first, second = short.read(2), long.read(2)
    assert first.keys() == {"image_id", "image", "mask"} == {*short.read_labels(2), "image"}
    assert all(np.array_equal(first[key], second[key]) for key in first)
    others = [("val", 5, 2), ("train", 4, 2), ("val", 4, 1)]
    for split, seed, index in others:
        other = read_builtin_masks(split, num_images=3, seed=seed).read(index)
        assert not np.array_equal(other["mask"], first["mask"])
        assert not np.array_equal(other["image"], first["image"])


def test_splits_share_no_handwriting():
    for one, other in itertools.combinations(SPLITS, 2):
        assert not set(split_pool(one).digit_indices) & set(split_pool(other).digit_indices), (one, other)


def test_evaluation_photographs_are_in_no_other_split():
    for held_out, other in itertools.product(("val", "test"), SPLITS):
        if held_out != other:
            assert not set(split_pool(held_out).photos) & set(split_pool(other).photos), (held_out, other)


def test_unlabelled_images_vary_more_than_the_labelled():
    train, unlabeled = split_pool("train"), split_pool("unlabeled")
    assert set(train.photos) < set(unlabeled.photos)
    assert len(unlabeled.digit_indices) > 1.5 * len(train.digit_indices)


def test_pools_hold_every_digit_image_once_and_every_class():
    indices = [index for split in SPLITS for index in split_pool(split).digit_indices]
    assert sorted(indices) == list(range(len(digit_classes()))) == list(range(RUN_STARTS[-1]))
    for split in SPLITS:
        assert {digit_classes()[index] for index in split_pool(split).digit_indices} == set(range(10))


def test_boxes_of_uncovered_digits_equal_those_measured_in_the_mask():
    checked = 0
    source = read_builtin("test", num_images=60)
    for index in range(len(source)):
        labels = source.read_labels(index)
        if len(set(labels["classes"].tolist())) == len(labels["classes"]):
            measured = measured_boxes(labels["mask"])
            for box, category in zip(labels["boxes"].tolist(), labels["classes"].tolist(), strict=True):
                assert tuple(box) == measured[category], (index, category)
                checked += 1
    assert checked > 50


def test_boxes_lie_in_the_image_and_have_area():
    source = read_builtin("unlabeled", num_images=40, image_size_px=96)
    boxes = np.concatenate([source.read_labels(index)["boxes"] for index in range(40)])
    assert boxes.min() >= 0
    assert boxes.max() <= 96
    assert np.all(boxes[:, 2:] > boxes[:, :2])


def test_every_digit_is_visible_enough_even_in_crowds():
    seen, covered = 0, 0
    for seed in range(60):
        placed = lay_out(np.random.default_rng(seed), split_pool("train"), 128)
        for below, stamp in enumerate(placed):
            mine = np.zeros((128, 128), bool)
            mine[stamp.window] = stamp.stroke
            in_image = mine.sum()
            for above in placed[below + 1 :]:
                mine[above.window] &= ~above.stroke
            assert mine.sum() >= MIN_VISIBLE_FRAC * in_image
            seen, covered = seen + 1, covered + (mine.sum() < in_image)
    assert 0.05 < covered / seen < 0.6  # digits do overlap


def test_later_digits_own_the_pixels_that_strokes_share():
    placed = lay_out(np.random.default_rng(5), split_pool("train"), 128)
    expected = np.zeros((128, 128), np.uint8)
    for stamp in placed:
        expected[stamp.window] = np.where(stamp.stroke, stamp.category_id, expected[stamp.window])
    assert np.array_equal(label_scene(placed, 128)[2], expected)


def test_classes_are_about_equally_frequent_and_images_hold_1_to_max_digits():
    source = read_builtin("train", num_images=300)
    classes = [source.read_labels(index)["classes"] for index in range(300)]
    counts = np.bincount(np.concatenate(classes), minlength=11)
    assert counts[0] == 0
    assert counts[1:].min() > 0.6 * counts[1:].mean()
    assert {len(found) for found in classes} == set(range(1, MAX_DIGITS + 1))


def test_digits_stand_out_by_little_and_by_much_and_in_both_directions():
    source, contrasts = read_builtin("val", num_images=60), []
    for index in range(60):
        example = source.read(index)
        grey, mask = example["image"].mean(2), example["mask"]
        for y0, x0, y1, x1 in example["boxes"].astype(int):
            inside, around = mask[y0:y1, x0:x1] > 0, mask[y0:y1, x0:x1] == 0
            if around.any():
                contrasts.append(grey[y0:y1, x0:x1][inside].mean() - grey[y0:y1, x0:x1][around].mean())
    low, middle, high = np.quantile(np.abs(contrasts), (0.1, 0.5, 0.9))
    assert 10 < low < 75 < middle < 130 < high < 200
    assert 0.3 < np.mean(np.array(contrasts) > 0) < 0.7


@pytest.mark.parametrize("read", [read_builtin, read_builtin_masks])
def test_encoded_bytes_decode_to_the_image(read):
    source = read("val", num_images=1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(source.read_encoded(0)))), source.read_image(0))


def test_size_and_file_name_are_known_without_drawing():
    source = read_builtin("val", num_images=2, image_size_px=96)
    assert source.size_px(1) == source.read_image(1).shape[:2]
    assert source.file_names == ("val-000000.png", "val-000001.png")


def test_labels_are_laid_out_once(monkeypatch):
    laid_out = []

    def count(*arguments):
        laid_out.append(arguments)
        return lay_out(*arguments)

    monkeypatch.setattr(builtin, "lay_out", count)
    source = read_builtin("val", num_images=2)
    first, again = source.read_labels(1), source.read_labels(1)
    assert len(laid_out) == 1
    assert all(np.array_equal(first[key], again[key]) for key in first)


def test_photographs_are_loaded_from_the_installed_package():
    for name in {name for split in SPLITS for name in split_pool(split).photos}:
        assert min(photo(name, 64).size) == 64


def test_inks_hold_the_handwriting_they_were_made_from():
    """An ink, averaged over its cells, correlates with the 8 x 8 picture."""
    from sklearn.datasets import load_digits

    assert digit_classes() == tuple(load_digits().target)
    for index, cells in enumerate(load_digits().images[:20]):
        ink = np.asarray(digit_inks()[index].resize((12, 12), Image.BOX), float)
        best = max(
            np.corrcoef(ink[y : y + 8, x : x + 8].ravel(), cells.ravel())[0, 1]
            for y in range(5)
            for x in range(5)
        )
        assert best > 0.95


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"split": "validation", "num_images": 1}, "validation.*train, val, test, unlabeled"),
        ({"split": "train", "num_images": 0}, "num_images=0.*at least 1"),
        ({"split": "train", "num_images": 1, "image_size_px": 32}, "image_size_px=32.*at least 64"),
    ],
)
def test_wrong_requests_are_refused_with_what_to_do(arguments, match):
    for read in (read_builtin, read_builtin_masks):
        with pytest.raises(InputError, match=match):
            read(**arguments)
