import io

import numpy as np
import pytest
from PIL import Image

from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.doctor.duplicates import (
    BLOCK_ROWS,
    count_bits,
    count_bits_by_table,
    near_duplicates,
    perceptual_hash,
    pixel_digest,
)


@pytest.fixture(scope="module")
def images():
    source = read_builtin("test", num_images=40)
    return [source.read_image(index) for index in range(40)]


def distance(one, other):
    return (int(perceptual_hash(one)) ^ int(perceptual_hash(other))).bit_count()


def compressed(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


def test_jpeg_scale_and_brightness_move_few_bits(images):
    for image in images:
        half = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX))
        darker = (image * 0.8).astype(np.uint8)
        assert max(distance(image, other) for other in (compressed(image), half, darker)) <= 6


def test_different_images_differ_in_more_bits(images):
    distances = [distance(one, other) for place, one in enumerate(images) for other in images[:place]]
    assert min(distances) > 6
    assert 28 < np.mean(distances) < 34  # as for random bits: 32


def test_hash_is_the_sign_of_dct_coefficients_about_their_median():
    """A 32 x 32 image needs no scaling: compare with the DCT-II's sum, written out."""
    grey = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    y, x = np.mgrid[:32, :32]
    coefficients = np.array(
        [
            np.rint(
                np.sum(
                    (grey.astype(float) - 128)
                    * np.cos(np.pi * u * (2 * y + 1) / 64)
                    * np.cos(np.pi * v * (2 * x + 1) / 64)
                )
            )
            for u in range(8)
            for v in range(8)
        ]
    )
    bits = coefficients > np.sort(coefficients[1:])[31]
    expected = sum(1 << place for place in range(64) if bits[place])
    assert int(perceptual_hash(np.stack([grey] * 3, axis=2))) == expected


def test_blank_images_hash_alike_whatever_their_size():
    blank = [np.full(shape, 40, np.uint8) for shape in ((30, 50, 3), (200, 101, 3))]
    assert perceptual_hash(blank[0]) == perceptual_hash(blank[1]) == 0


def test_digest_sees_one_pixel_and_the_shape():
    image = np.zeros((4, 6, 3), np.uint8)
    changed = image.copy()
    changed[3, 5, 2] = 1
    assert pixel_digest(image) == pixel_digest(image.copy())
    assert len({pixel_digest(image), pixel_digest(changed), pixel_digest(image.reshape(6, 4, 3))}) == 3


def test_near_duplicates_are_the_closest_found_by_a_plain_loop():
    rng = np.random.default_rng(1)
    # Few bits in play, and more rows than a block, so that many pairs match.
    ours = rng.integers(0, 2**7, 90, dtype=np.uint64)
    others = rng.integers(0, 2**7, BLOCK_ROWS + 60, dtype=np.uint64) << np.uint64(2)
    expected = []
    for place, other in enumerate(others):
        bits = [(int(other) ^ int(own)).bit_count() for own in ours]
        if min(bits) <= 1:
            expected.append([bits.index(min(bits)), place, min(bits)])
    assert 0 < len(expected) < len(others)
    assert near_duplicates(ours, others, 1).tolist() == expected


def test_within_a_set_an_image_pairs_with_an_earlier_one_only():
    hashes = np.array([0b0, 0b1111_0000, 0b1, 0b1111_0000], np.uint64)
    assert near_duplicates(hashes, hashes, 1, only_earlier=True).tolist() == [[0, 2, 1], [1, 3, 0]]
    one = np.zeros(1, np.uint64)
    assert near_duplicates(one, one, 64, only_earlier=True).tolist() == []


def test_empty_sets_have_no_duplicates():
    none, some = np.zeros(0, np.uint64), np.zeros(3, np.uint64)
    assert near_duplicates(none, some, 64).shape == near_duplicates(some, none, 64).shape == (0, 3)


def test_bits_are_counted_alike_by_table():
    words = np.random.default_rng(2).integers(0, 2**64, (5, 7), dtype=np.uint64)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert count_bits_by_table(words).tolist() == count_bits(words).tolist() == expected
