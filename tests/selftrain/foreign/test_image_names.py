"""Which image a name means: by id, file name, stem or number; never two at once."""

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.image_names import match_images, name_in_url


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("a/1.jpg", "a/1.jpg"),
        ("1.jpg", "a/1.jpg"),
        ("labels/1.txt", "a/1.jpg"),
        ("42", "000000000042.jpg"),
        ("000042", "42"),
        ("C:\\photos\\cat.v2.jpg", "cat.v2.jpg"),
        ("cat.v2", "cat.v2.jpg"),
        ("train-000001", "train-000001"),
    ],
)
def test_a_name_means_an_image(name: str, image_id: str) -> None:
    assert match_images([name, "elsewhere"], ["other.jpg", image_id], "r") == {name: 1}


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    ids = ["a/1.jpg", "b/1.jpg"]
    assert match_images(["labels/b/1.txt"], ["x/2.jpg", "b/1.jpg"], "r") == {"labels/b/1.txt": 1}
    assert match_images(["b/1.txt"], ids, "r") == {"b/1.txt": 1}
    with pytest.raises(InputError, match=r"image '1' may be any of 2 images of this run: a/1.jpg, b/1.jpg"):
        match_images(["1"], ids, "r")


def test_two_names_of_one_image_are_refused() -> None:
    with pytest.raises(InputError, match=r"'a/1.txt', 'b/1.txt' all mean the image '1.jpg'"):
        match_images(["a/1.txt", "b/1.txt"], ["1.jpg"], "r")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/local-files/?d=set/a%20b.jpg", "set/a b.jpg"),
        ("/data/upload/3/0a1b2c3d-a.jpg", "a.jpg"),
        ("s3://bucket/set/a.jpg", "set/a.jpg"),
        ("https://host/set/a%20b.jpg?token=1", "set/a b.jpg"),
        ("set/a.jpg", "set/a.jpg"),
    ],
)
def test_urls_name_files(url: str, name: str) -> None:
    assert name_in_url(url) == name
