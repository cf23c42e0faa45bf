import numpy as np
import pytest

from selftrain_jax.pretrain.golden import GoldenArrays, golden_array, golden_image

SHAPE = (3, 3, 4, 2)


def checksum(text):
    """Return the CRC-32, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def normal(name):
    return np.random.RandomState(checksum(name) % 2**31).standard_normal(SHAPE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/gamma", lambda n: 1 + n / 10),
        ("a/beta", lambda n: n / 10),
        ("a/bias", lambda n: n / 10),
        ("a/moving_mean", lambda n: n / 10),
        ("a/depthwise_kernel", lambda n: 2 * n * (2 / 9) ** 0.5),
        ("a/pointwise_kernel", lambda n: 2 * n * (2 / 36) ** 0.5),
        ("a/kernel", lambda n: 2 * n * (2 / 36) ** 0.5),
    ],
)
def test_array_follows_the_rule_and_only_kernels_the_gain(name, expected):
    array = golden_array(name, SHAPE, gain=2.0)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, expected(normal(name)), rtol=1e-6, atol=1e-8)


def test_variances_are_between_1_and_1_2():
    array = golden_array("a/moving_variance", (1000,), gain=2.0)
    assert 1 <= array.min() < 1.01
    assert 1.19 < array.max() <= 1.2


def test_a_name_of_no_kind_has_no_rule():
    with pytest.raises(ValueError, match="no rule for a variable named a/scale"):
        golden_array("a/scale", (1,))


def test_arrays_are_made_when_asked_for():
    arrays = GoldenArrays({"a/kernel": (1, 1, 2, 2), "b/unknown": (10**9,) * 3}, gain=3.0)
    assert list(arrays) == ["a/kernel", "b/unknown"]
    assert len(arrays) == 2
    np.testing.assert_array_equal(arrays["a/kernel"], golden_array("a/kernel", (1, 1, 2, 2), 3.0))


def test_image_is_uniform_from_seed_0():
    image = golden_image(4)
    assert image.shape == (1, 4, 4, 3)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.flat[:2], [0.195254, 0.860757], atol=1e-6)  # 4·(0.548814, 0.715189) - 2
