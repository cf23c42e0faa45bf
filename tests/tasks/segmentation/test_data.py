import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.data import (
    check_masks,
    count_each,
    pixel_counts,
    require_labelled_pixels,
)
from tests.tasks.segmentation.mask_sources import filled, make_source


def test_pixels_are_counted_by_class_without_the_ignored() -> None:
    source = make_source(filled(0, 0, 1, 255), filled(1), filled(255))
    assert pixel_counts(source) == {"ground": 8, "cat": 20, "dog": 0}


def test_counts_come_in_the_order_of_their_masks() -> None:
    found = count_each(make_source(filled(0), None, filled(2, 255)))
    assert isinstance(found[1], InputError)
    assert [found[0][0], found[2][2], found[2][255]] == [16, 8, 8]


def test_more_bad_masks_than_allowed_are_refused_and_named() -> None:
    source = make_source(filled(0), None, None)
    assert pixel_counts(source, max_bad_images=2)["ground"] == 16
    with pytest.raises(
        InputError, match=r"2 masks of toys are bad, allowed are 1 .*: 1\.png is bad; 2\.png is bad"
    ):
        pixel_counts(source, max_bad_images=1)


def test_one_labelled_pixel_is_enough_and_ends_the_search() -> None:
    almost = filled(255)
    almost[3, 3] = 0
    reads: list[int] = []
    require_labelled_pixels(make_source(filled(255), None, almost, filled(1), reads=reads))
    assert reads == [0, 1, 2]


def test_a_set_that_is_ignored_throughout_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"toys: not one pixel of its 2 masks has a class; .*ignore_value"):
        require_labelled_pixels(make_source(filled(255), filled(255)))
    with pytest.raises(InputError, match=r"1 masks are bad, the first: 1\.png is bad"):
        require_labelled_pixels(make_source(filled(255), None))


def test_every_mask_is_read_and_the_first_five_bad_ones_are_named() -> None:
    reads: list[int] = []
    check_masks(make_source(filled(0), filled(255), filled(1, 255), reads=reads))
    assert sorted(reads) == [0, 1, 2]
    source = make_source(filled(0), *[None] * 6)
    with pytest.raises(InputError, match=r"6 masks of toys are bad, allowed are 0 ") as error:
        check_masks(source)
    assert [f"{index}.png is bad" in str(error.value) for index in range(1, 7)] == [True] * 5 + [False]
    check_masks(source, max_bad_images=6)
    with pytest.raises(InputError, match="allowed are 5 "):
        check_masks(source, max_bad_images=5)


def test_masks_that_are_all_ignored_give_no_miou_and_are_refused() -> None:
    with pytest.raises(InputError, match=r"toys: not one pixel of its 2 masks has a class"):
        check_masks(make_source(filled(255), filled(255)))
    with pytest.raises(InputError, match=r"not one pixel .* 1 masks are bad, the first: 1\.png is bad"):
        check_masks(make_source(filled(255), None), max_bad_images=1)
