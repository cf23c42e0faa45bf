import numpy as np
import pytest

from selftrain_jax.detection.anchors import make_anchors
from selftrain_jax.errors import InputError
from tests.detection.detection_golden import GOLDEN


def test_anchors_equal_the_authors_at_128_px():
    golden = GOLDEN["anchors_128"]
    anchors = make_anchors(image_size_px=128)
    assert len(anchors) == golden["n"] == 9 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    np.testing.assert_allclose(anchors[:9], golden["first9"], rtol=1e-6)
    np.testing.assert_allclose(anchors[-9:], golden["last9"], rtol=1e-6)
    np.testing.assert_allclose(anchors[1000], golden["row_1000"], rtol=1e-6)


def test_number_of_anchors_at_640_px():
    assert make_anchors(image_size_px=640).shape == (76725, 4)


def test_anchor_area_follows_scale_and_its_shape_follows_aspect_ratio():
    anchors = make_anchors(
        image_size_px=64, min_level=5, max_level=5, num_scales=2, aspect_ratios=(1.0, 4.0), anchor_size=3.0
    )
    height, width = (anchors[:, 2:] - anchors[:, :2]).T
    np.testing.assert_allclose(width / height, [1, 4, 1, 4] * 4, rtol=1e-6)
    np.testing.assert_allclose(width * height, [96**2, 96**2, 2 * 96**2, 2 * 96**2] * 4, rtol=1e-6)
    centres = (anchors[::4, :2] + anchors[::4, 2:]) / 2
    np.testing.assert_allclose(centres, [[16, 16], [16, 48], [48, 16], [48, 48]])


@pytest.mark.parametrize("size", [96, 200, 64])
def test_size_that_the_coarsest_level_does_not_tile_is_refused(size):
    with pytest.raises(InputError, match=f"image_size_px is {size}.*level 7.*Use 128"):
        make_anchors(image_size_px=size)


def test_lower_max_level_takes_smaller_images():
    assert len(make_anchors(image_size_px=96, max_level=5)) == 9 * (12**2 + 6**2 + 3**2)
