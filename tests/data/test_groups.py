"""Parts of a data set by whole groups: how near they come, what stays the same, what is refused."""

import numpy as np
import pytest

from selftrain_jax.data.groups import divide, draw_groups, group_images, label_groups
from selftrain_jax.data.source import Source, label_fraction
from selftrain_jax.errors import InputError

THIRDS = (0.7, 0.1, 0.2)


def source_of(names: list[str], file_names: tuple[str, ...] = ()) -> Source:
    return Source(
        name="coco:all",
        categories=(),
        image_ids=tuple(names),
        read_labels=lambda index: {"image_id": names[index]},
        read_encoded=lambda index: b"",
        read_image=lambda index: np.zeros((1, 1, 3), np.uint8),
        file_names=file_names,
    )


def videos(sizes: list[int]) -> np.ndarray:
    """The group of each image, the images of a group far from each other."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return groups[np.argsort(np.arange(len(groups)) * 7 % len(groups), kind="stable")]


def test_single_images_are_divided_by_the_fractions_each_into_one_part() -> None:
    for count, sizes in ((10, [7, 1, 2]), (205, [144, 20, 41]), (3, [1, 1, 1])):
        parts = divide(np.arange(count), THIRDS, seed=3)
        assert [len(part) for part in parts] == sizes
        assert sorted(np.concatenate(parts).tolist()) == list(range(count))


def test_fractions_below_1_leave_images_over() -> None:
    assert [len(part) for part in divide(np.arange(100), (0.5, 0.1, 0.2), seed=0)] == [50, 10, 20]


def test_test_stays_the_same_and_train_grows_when_other_fractions_change() -> None:
    small, large = (divide(np.arange(100), (frac, 0.1, 0.2), seed=0) for frac in (0.3, 0.6))
    other_val = divide(np.arange(100), (0.3, 0.2, 0.2), seed=0)
    assert set(small.train) < set(large.train)
    assert small.val.tolist() == large.val.tolist()
    assert small.test.tolist() == large.test.tolist() == other_val.test.tolist()


def test_division_is_the_same_on_every_machine() -> None:
    """A changed list would silently change every experiment: a bug, not a new golden value."""
    parts = divide(np.arange(10), THIRDS, seed=0)
    bits = np.random.PCG64(np.random.SeedSequence((0, 0, 2))).random_raw(10)
    order = [index for _, index in sorted(zip(bits.tolist(), range(10), strict=True))]
    assert parts.test.tolist() == sorted(order[:2]) == [1, 5]
    assert parts.val.tolist() == order[2:3]


@pytest.mark.parametrize("seed", range(8))
def test_groups_stay_whole_and_no_single_move_comes_nearer_for_test(seed: int) -> None:
    groups = videos([40, 5, 12, 3, 9, 20, 7, 4])
    parts = divide(groups, THIRDS, seed=seed)
    in_parts = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, in_parts)) == 8
    assert set.union(*in_parts) == set(range(8))
    # The largest group is more than val's or test's share twice over.
    assert 0 in in_parts[0]
    assert abs(len(parts.test) - 20) <= 10


def test_parts_that_no_group_fits_get_the_smallest() -> None:
    parts = divide(videos([50, 40, 30]), (0.98, 0.01, 0.01), seed=0)
    assert [len(part) for part in parts] == [50, 40, 30]


def test_fewer_groups_than_parts_are_refused() -> None:
    with pytest.raises(InputError, match=r"2 groups .* cannot be divided into 3 parts"):
        divide(videos([5, 5]), THIRDS, seed=0)
    assert [len(part) for part in divide(videos([5, 5]), (0.8, 0.2, 0.0), seed=0)] == [5, 5, 0]


def test_labelled_groups_are_whole_and_a_smaller_percentage_is_part_of_a_larger() -> None:
    groups, before = videos([8, 3, 5, 2, 9, 6]), set()
    for percent in (1, 10, 30, 50, 80, 99):
        labelled, rest = label_groups(groups, percent, seed=1, fold=2)
        assert not set(groups[labelled]) & set(groups[rest])
        assert sorted([*labelled, *rest]) == list(range(33))
        assert len(rest)
        assert before <= set(labelled)
        before = set(labelled)
        # No other number of groups of this order comes nearer.
        assert abs(len(labelled) - 0.33 * percent) <= 9 / 2 or percent in (1, 99)
    assert len(label_groups(groups, 100, seed=1, fold=2)[1]) == 0


def test_groups_of_one_image_are_labelled_in_the_order_of_single_images() -> None:
    by_groups, _ = label_groups(np.arange(200), 10, seed=3, fold=1)
    assert by_groups.tolist() == label_fraction(200, 10, seed=3, fold=1)[0].tolist()


def test_percentages_of_groups_are_checked_too() -> None:
    with pytest.raises(InputError, match="percentage is 0"):
        label_groups(videos([2, 2]), 0, seed=0, fold=0)
    with pytest.raises(InputError, match=r"label_percent=50.* one group"):
        label_groups(np.zeros(4, int), 50, seed=0, fold=0)


def test_drawn_images_are_exact_in_number_nested_and_other_than_the_labelled_ones() -> None:
    small, large = (draw_groups(np.arange(100), count, seed=5) for count in (10, 30))
    assert (len(small), len(large)) == (10, 30)
    assert set(small) < set(large)
    assert small.tolist() != label_fraction(100, 10, seed=5, fold=0)[0].tolist()
    groups = videos([10, 10, 10])
    drawn = draw_groups(groups, 29, seed=0)
    assert len(drawn) == 20
    assert len(set(groups[drawn])) == 2


def test_group_is_the_first_group_of_the_regex_or_the_whole_match() -> None:
    names = ["b_1.jpg", "a_2.jpg", "b_3.jpg"]
    for pattern in ("^(.+)_", "^[ab]", "(a|b)_([0-9])"):
        assert group_images(source_of(names), pattern).tolist() == [1, 0, 1]


def test_names_of_files_count_where_ids_are_numbers() -> None:
    source = source_of(["17", "18"], ("x/1.jpg", "y/1.jpg"))
    assert group_images(source, "^(.+)/").tolist() == [0, 1]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("^(.+", r"group_by='\^\(\.\+' is no regular expression: missing \)"),
        ("^(a)_", r"finds nothing in 2 of the 3 names of coco:all: 'b_1.jpg', 'b_3.jpg'"),
        ("(x)?_", r"finds nothing in 3 of the 3"),
        ("_", r"puts all 3 images of coco:all into one group, '_', as 'b_1.jpg'"),
    ],
)
def test_regex_that_makes_no_groups_is_refused(pattern: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        group_images(source_of(["b_1.jpg", "a_2.jpg", "b_3.jpg"]), pattern)


def test_a_part_of_a_data_set_may_be_one_group() -> None:
    assert group_images(source_of(["b_1.jpg", "b_3.jpg"]), "^b", is_whole=False).tolist() == [0, 0]
