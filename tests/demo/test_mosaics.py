import itertools
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.demo import material as scene_material
from selftrain_jax.demo import mosaics
from selftrain_jax.demo.builtin import SPLITS, read_builtin_masks
from selftrain_jax.demo.mosaics import COLUMNS_FRAC, MATERIALS, VOID, cut, lay_out, paint

WIDTH, HEIGHT = 500, 300
FLAT = np.array([[40, 40, 40], [220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 30], [220, 30, 220]])


@pytest.fixture
def show(monkeypatch):
    """Replace the photographs by pixels of one's own."""

    def replace(pixels_of: Callable[[str], np.ndarray]) -> None:
        monkeypatch.setattr(
            scene_material, "stored_photo", lambda name: Image.fromarray(pixels_of(name).astype(np.uint8))
        )
        mosaics.split_part.cache_clear()

    yield replace
    mosaics.split_part.cache_clear()


def layouts(number, size_px=64):
    return [lay_out(np.random.default_rng((3, index)), size_px) for index in range(number)]


def test_layout_and_pixels_follow_from_their_generators_alone():
    layout = lay_out(np.random.default_rng(5), 64)
    again = lay_out(np.random.default_rng(5), 64)
    assert all(np.array_equal(one, other) for one, other in zip(layout, again, strict=True))
    images = [paint(np.random.default_rng(seed), layout, "train") for seed in (8, 8, 9)]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_only_train_and_unlabeled_have_columns_in_common():
    assert set(COLUMNS_FRAC) == set(SPLITS)
    for one, other in itertools.combinations(SPLITS, 2):
        (first, last), (start, stop) = COLUMNS_FRAC[one], COLUMNS_FRAC[other]
        assert (last < start or stop < first) == ({one, other} != {"train", "unlabeled"})
    train, unlabeled = COLUMNS_FRAC["train"], COLUMNS_FRAC["unlabeled"]
    assert unlabeled[0] == train[0]
    assert unlabeled[1] == 2 * train[1]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("size_px", [64, 128])
def test_crops_show_the_splits_columns_and_no_others(show, split, size_px):
    """The photographs' levels encode the column."""
    column = np.broadcast_to(np.arange(WIDTH)[None, :, None], (HEIGHT, WIDTH, 3))
    show(lambda name: 20 + 200 * column / WIDTH)
    for material in MATERIALS:
        inner_frac = 1 - 2 * material.margin_frac
        first, last = (20 + 200 * (material.margin_frac + inner_frac * at) for at in COLUMNS_FRAC[split])
        crops = [cut(np.random.default_rng(seed), material, split, size_px) for seed in range(20)]
        assert min(crop.min() for crop in crops) >= first - 1.5  # of rounding, and of cubic overshoot
        assert max(crop.max() for crop in crops) <= last + 1.5
        # And from one end to the other.
        assert max(crop.max() for crop in crops) - min(crop.min() for crop in crops) > 0.7 * (last - first)


def test_columns_of_another_split_do_not_change_an_image(show):
    """Blacken all that test does not own: its images stay, and train's do not."""
    layout, rng = lay_out(np.random.default_rng(0), 64), np.random.default_rng(1)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3))
    images = []
    for first_seen in (0, round(WIDTH * (0.5 + 0.3 * (1 - 2 * 0.16)))):  # the widest margin's test columns
        show(lambda name, first_seen=first_seen: noise * (np.arange(WIDTH) >= first_seen)[None, :, None])
        images.append([paint(np.random.default_rng(2), layout, split) for split in ("test", "train")])
    assert np.array_equal(images[0][0], images[1][0])
    assert not np.array_equal(images[0][1], images[1][1])


def test_touching_regions_differ_so_the_mask_shows_every_border():
    for layout in layouts(150):
        assert 3 <= len(layout.classes) <= 6
        by_pixel = layout.classes[layout.regions]
        for axis in (0, 1):
            border = np.diff(layout.regions.astype(int), axis=axis) != 0
            assert np.array_equal(border, np.diff(by_pixel, axis=axis) != 0)


def test_classes_are_about_equally_frequent_and_regions_are_large():
    found = layouts(300)
    pixels = np.bincount(np.concatenate([layout.mask.ravel() for layout in found]), minlength=256)
    shares = pixels[: len(MATERIALS)] / pixels[: len(MATERIALS)].sum()
    assert shares == pytest.approx(np.full(len(MATERIALS), 1 / len(MATERIALS)), rel=0.2)
    assert pixels[len(MATERIALS) : VOID].sum() == 0
    areas = np.concatenate([np.bincount(layout.regions.ravel()) for layout in found]) / 64**2
    assert np.quantile(areas, 0.1) > 0.05  # a twentieth of the image


def test_a_third_of_the_images_have_a_void_patch_of_5_to_15_percent():
    shares = np.array([np.mean(layout.mask == VOID) for layout in layouts(400)])
    with_void = shares[shares > 0]
    assert len(with_void) / 400 == pytest.approx(1 / 3, abs=0.07)  # three standard deviations
    assert 0.045 < with_void.min() < 0.06
    assert 0.13 < with_void.max() < 0.155


def test_masks_name_the_material_that_each_pixel_shows(show, monkeypatch):
    colour = {material.photo: FLAT[index] for index, material in enumerate(MATERIALS)}
    show(lambda name: np.broadcast_to(colour[name], (HEIGHT, WIDTH, 3)))
    monkeypatch.setattr(mosaics, "relight", lambda rng, pixels: pixels)
    source = read_builtin_masks("val", num_images=12, image_size_px=64)
    for index in range(12):
        example = source.read(index)
        distance = np.abs(example["image"][:, :, None].astype(int) - FLAT).sum(-1)
        known = example["mask"] != VOID
        assert np.array_equal(distance.argmin(-1)[known], example["mask"][known])
        assert distance.min(-1)[known].mean() < 20  # the noise
        assert known.all() or distance.min(-1)[~known].mean() > 60  # noise of another strength


def test_relighting_leaves_no_class_its_colour():
    """Mean colours of a red crop come out anywhere; its pattern stays."""
    rng = np.random.default_rng(0)
    crop = rng.normal((200, 60, 40), (30, 10, 10), (32, 32, 3)).astype(np.float32)
    lit = [mosaics.relight(rng, crop) for _ in range(200)]
    means = np.array([pixels.mean((0, 1)) for pixels in lit])
    assert 0.35 < np.mean(means[:, 0] > means[:, 2]) < 0.65  # red or blue
    assert np.ptp(means.mean(1)) > 100  # dark or bright
    patterns = [np.corrcoef(pixels.mean(2).ravel(), crop.mean(2).ravel())[0, 1] for pixels in lit]
    assert min(patterns) > 0.9
