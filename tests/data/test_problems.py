"""How many bad images are allowed, and what is said about the rest."""

import pytest

from selftrain_jax.data.problems import check_bad_count
from selftrain_jax.errors import InputError


def test_as_many_bad_images_as_allowed_pass() -> None:
    check_bad_count(["a is damaged", "b is damaged"], 2, "images of toy cannot be read")
    check_bad_count([], 0, "images of toy cannot be read")


def test_one_more_names_the_limit_and_the_first_five() -> None:
    errors = [f"{name} is damaged" for name in "abcdefg"]
    with pytest.raises(InputError) as caught:
        check_bad_count(errors, 6, "images of toy cannot be read")
    assert str(caught.value) == (
        "7 images of toy cannot be read, allowed are 6 (config.data.max_bad_images): "
        "a is damaged; b is damaged; c is damaged; d is damaged; e is damaged"
    )
