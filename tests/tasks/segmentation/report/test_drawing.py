import numpy as np
import pytest
from PIL import Image

from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.draw import (
    HATCH_PERIOD_PX,
    class_edges,
    colour_mask,
    fit_mask,
    mask_path,
    overlay,
    read_mask_png,
    save_mask_png,
    widest_square,
    write_names,
)


def halves() -> np.ndarray:
    """Class 15 on the left, class 1 on the right, of 40 x 60 pixels."""
    mask = np.full((40, 60), 15, np.uint8)
    mask[:, 30:] = 1
    return mask


def test_palette_is_that_of_pascal_vocs_files():
    palette = voc_palette()
    known = {
        **{0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)},
        **{7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)},
    }
    for class_id, color in known.items():
        assert tuple(palette[class_id]) == color
    assert len({tuple(color) for color in palette}) == 256


def test_colour_mask_paints_each_pixel_by_its_class():
    np.testing.assert_array_equal(colour_mask(np.array([[0, 255]], np.uint8)), [[[0, 0, 0], [224, 224, 192]]])


@pytest.mark.parametrize(("opacity", "expected"), [(0.0, [100, 100, 100]), (0.5, [146, 114, 114])])
def test_overlay_mixes_image_and_colour_inside_of_areas(opacity, expected):
    image = np.full((40, 60, 3), 100, np.uint8)
    drawn = overlay(image, halves(), opacity)
    np.testing.assert_array_equal(drawn[20, 10], expected)
    assert (image == 100).all(), "the image that was given is left alone"


def test_areas_are_edged_in_their_full_colour_on_either_side():
    drawn = overlay(np.full((40, 60, 3), 100, np.uint8), halves(), 0.5)
    assert (drawn[:, 29] == (192, 128, 128)).all()
    assert (drawn[:, 30] == (128, 0, 0)).all()
    assert class_edges(halves()).sum() == 2 * 40


def test_ignored_pixels_keep_the_image_between_diagonal_lines():
    image = np.full((54, 54, 3), 100, np.uint8)
    drawn = overlay(image, np.full((54, 54), 255, np.uint8))
    bare = (drawn == 100).all(-1)
    assert 0.5 < bare.mean() < 0.8
    np.testing.assert_array_equal(bare[:-1, 1:], bare[1:, :-1])  # a step down is a step to the left
    np.testing.assert_array_equal(bare[:, :-HATCH_PERIOD_PX], bare[:, HATCH_PERIOD_PX:])
    assert drawn.max() > 200, "bright lines"
    assert drawn.min() < 50, "with a dark side"


def test_fitted_mask_has_the_images_size_and_no_new_class():
    image, mask = fit_mask(np.zeros((40, 60, 3), np.uint8), halves(), 420)
    assert image.shape == (280, 420, 3)
    assert mask.shape == (280, 420)
    assert set(np.unique(mask)) == {1, 15}
    np.testing.assert_array_equal(mask[:, 210:], 1)


def test_png_holds_every_class_and_the_palette(tmp_path):
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = mask_path(tmp_path, "2008/000001")
    save_mask_png(path, mask)
    assert path == tmp_path / "2008" / "000001.png"
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    np.testing.assert_array_equal(read_mask_png(path), mask)
    picture = Image.open(path)
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colour_mask(mask))


def test_every_image_id_has_a_file_of_its_own_inside_of_the_folder(tmp_path):
    ids = ["a/b", "a__b", "a_/_b", "a.b", "a.c", "a", "a.png", "b"]
    assert len({mask_path(tmp_path, image_id) for image_id in ids}) == len(ids)
    for image_id in ids:
        save_mask_png(mask_path(tmp_path, image_id), np.full((2, 2), len(image_id), np.uint8))
    for image_id in ids:
        assert (read_mask_png(mask_path(tmp_path, image_id)) == len(image_id)).all()
    for image_id in ("../a", "a/../../b", "/a", "a//b", "./a"):
        with pytest.raises(InputError, match="cannot name a file there"):
            mask_path(tmp_path, image_id)


def test_png_of_colours_and_damaged_png_are_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(InputError, match=r"a\.png.*mode RGB"):
        read_mask_png(path)
    save_mask_png(path, np.random.default_rng(0).integers(0, 9, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"a\.png.*evaluate"):
        read_mask_png(path)


def test_widest_square_is_the_largest_square_by_brute_force():
    rng = np.random.default_rng(3)
    for density in (0.5, 0.8, 0.97):
        inside = rng.random((13, 17)) < density
        fits = [
            side
            for side in range(1, 14)
            for y in range(14 - side)
            for x in range(18 - side)
            if inside[y : y + side, x : x + side].all()
        ]
        square = widest_square(inside)
        assert square.side_px == max(fits)
        half = square.side_px // 2
        top, left = square.y - half, square.x - half
        assert inside[top : top + square.side_px, left : left + square.side_px].all()
    assert widest_square(np.zeros((4, 4), bool)).side_px == 0


def test_names_stand_in_their_areas_and_small_areas_have_none():
    image = np.full((80, 200, 3), 100, np.uint8)
    mask = np.zeros((80, 200), np.uint8)
    mask[:, 100:] = 1
    mask[0:4, 0:4] = 2
    changed = (write_names(image, mask, {1: "car", 2: "cat"}) != image).any(-1)
    assert changed[:, 100:].any()
    assert not changed[:, :100].any()


def test_name_wider_than_the_image_is_no_fault():
    image = np.full((30, 12, 3), 100, np.uint8)
    assert write_names(image, np.zeros((30, 12), np.uint8), {0: "a rather long name"}).shape == image.shape
