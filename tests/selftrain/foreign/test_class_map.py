"""classes.csv: what becomes what, what is dropped and counted, and what it refuses."""

import pathlib
from collections import Counter

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.foreign.class_map import describe_left_out, read_class_map, resolve_classes
from selftrain_jax.types import Category

OURS = (Category(1, "cat"), Category(4, "dog"))


def read(tmp_path: pathlib.Path, text: str) -> tuple:
    path = tmp_path / "classes.csv"
    path.write_text(text)
    return read_class_map(path, OURS)


def test_names_and_ids_become_our_classes_and_the_rest_is_counted(tmp_path: pathlib.Path) -> None:
    rows = read(tmp_path, "foreign,ours\n17,cat\nhound,dog\nperson,\nzebra,\n")
    names = {"17": "feline", "18": "hound", "1": "person", "3": "car"}
    found = resolve_classes(rows, {"17", "18", "1", "3"}, names, OURS, "r.json")
    assert dict(found.class_ids) == {"17": 1, "18": 4}
    assert describe_left_out(found, Counter({"17": 5, "1": 9, "3": 2}), names) == [
        "classes that the map drops: 1 'person' (9)",
        "classes that are none of ours, dropped: 3 'car' (2)",
        "classes of the map that the file does not have: zebra",
    ]


def test_without_a_map_exact_names_count(tmp_path: pathlib.Path) -> None:
    found = resolve_classes(None, {"17", "18"}, {"17": "cat", "18": "Dog"}, OURS, "r.json")
    assert dict(found.class_ids) == {"17": 1}
    assert found.unknown == {"18"}
    with pytest.raises(InputError, match=r"r.json has ids of classes and no names: 17.*`17,cat`.*cat, dog"):
        resolve_classes(None, {"17"}, {}, OURS, "r.json")


def test_two_classes_become_one_where_both_say_so(tmp_path: pathlib.Path) -> None:
    rows = read(tmp_path, "kitten,cat,merge\ncat,cat,merge\n")
    found = resolve_classes(rows, {"kitten", "cat"}, {}, OURS, "r.json")
    assert dict(found.class_ids) == {"kitten": 1, "cat": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kitten,cat\ncat,cat\n", r"'kitten' \(line 1\), 'cat' \(line 2\) all become 'cat'.*write merge"),
        ("kitten,cat,merge\ncat,cat\n", "all become 'cat'.*`cat,cat,merge`"),
        ("cat,cats\n", r"classes.csv:1: 'cat' becomes 'cats', which is no class of this run; nearest: cat"),
        ("cat\n", "classes.csv:1: 'cat'; expected the foreign class"),
        ("cat,cat,yes\n", "classes.csv:1: .*the word merge"),
        (",cat\n", "classes.csv:1"),
        ("cat,cat\ncat,dog\n", "'cat' has several lines"),
        ("foreign,ours\n", "has no line; expected lines such as"),
    ],
)
def test_bad_maps_are_named(tmp_path: pathlib.Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


def test_a_map_that_is_missing_or_no_text_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read"):
        read_class_map(tmp_path / "none.csv", OURS)
    (tmp_path / "classes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"expected a CSV file in UTF-8"):
        read_class_map(tmp_path / "classes.csv", OURS)


def test_a_line_that_means_two_classes_is_named(tmp_path: pathlib.Path) -> None:
    rows = read(tmp_path, "3,cat\n")
    with pytest.raises(InputError, match=r"the name of one class and the id of another"):
        resolve_classes(rows, {"3", "4"}, {"4": "3", "3": "x"}, OURS, "r.json")
    rows = read(tmp_path, "3,cat,merge\nx,cat,merge\n")
    with pytest.raises(InputError, match=r"lines 1 and 2 of config.foreign.map are the same class"):
        resolve_classes(rows, {"3"}, {"3": "x"}, OURS, "r.json")


def test_a_map_that_leaves_nothing_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"none of its classes is one of this run's: it has '9'"):
        resolve_classes(read(tmp_path, "1,cat\n"), {"9"}, {}, OURS, "r.json")
