import logging
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from selftrain_jax.data.sources.coco import (
    COCO_CATEGORIES,
    find_problems,
    read_coco_categories,
    read_coco_json,
)
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category
from tests.data.sources.coco_files import (
    HEIGHT,
    WIDTH,
    annotation,
    document,
    make_folder,
    read,
    with_annotation,
    write,
)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return make_folder(tmp_path)


def test_xywh_boxes_become_yxyx_with_the_original_class_ids(folder: pathlib.Path) -> None:
    source = read(folder, document())
    assert source.name == "coco:labels"
    assert source.categories == (Category(1, "person"), Category(13, "stop sign"), Category(90, "toothbrush"))
    assert source.image_ids == ("42", "7", "9")
    first, empty, last = (source.read_labels(index) for index in range(3))
    assert first["boxes"].tolist() == [[0, 0, 40, 60], [6, 5, 14, 12]]
    assert first["classes"].tolist() == [1, 90]
    assert first["is_crowd"].tolist() == [True, False]
    assert last["boxes"].tolist() == [[2, 1.5, 22.25, 11.5]]
    assert last["image_id"] == "9"
    assert empty["boxes"].shape == (0, 4)
    assert first["boxes"].dtype == np.float32
    assert first["classes"].dtype == np.int32


def test_images_belong_to_their_ids(folder: pathlib.Path) -> None:
    source = read(folder, document())
    assert [int(source.read_image(index)[0, 0, 0]) for index in range(3)] == [42, 7, 9]
    assert source.read_encoded(1) == (folder / "images" / "7.jpg").read_bytes()


def test_boxes_partly_outside_are_clipped_to_the_stated_size(folder: pathlib.Path) -> None:
    content = document()
    content["annotations"] = [annotation(1, 9, 1, -5, -6, 20, 20), annotation(2, 9, 1, 50, 30, 20, 20)]
    assert read(folder, content).read_labels(2)["boxes"].tolist() == [[0, 0, 14, 15], [30, 50, 40, 60]]


def test_a_missing_size_is_read_from_the_image(folder: pathlib.Path) -> None:
    content = document()
    content["images"][2] = {"id": 9, "file_name": "9.jpg"}
    content["annotations"] = [annotation(1, 9, 1, 50, 30, 99, 99)]
    assert read(folder, content).read_labels(2)["boxes"].tolist() == [[30, 50, HEIGHT, WIDTH]]


def test_chosen_classes_keep_their_ids(folder: pathlib.Path) -> None:
    source = read(folder, document(), category_names=["toothbrush"])
    assert source.categories == (Category(90, "toothbrush"),)
    assert [source.read_labels(index)["classes"].tolist() for index in range(3)] == [[90], [], []]


def test_classes_of_another_file_are_found_by_name_and_keep_the_other_files_ids(folder: pathlib.Path) -> None:
    wanted = (Category(1, "cat"), Category(5, "stop sign"), Category(13, "toothbrush"))
    source = read(folder, document(), categories=wanted)
    assert source.categories == wanted
    # Image 42 has a person, which is left out, and a toothbrush, 90 in this file; image 9 a stop sign, 13.
    assert [source.read_labels(index)["classes"].tolist() for index in range(3)] == [[13], [], [5]]


def test_classes_are_named_in_any_order_each_once(folder: pathlib.Path) -> None:
    path = write(folder, document())
    expected = (Category(1, "person"), Category(90, "toothbrush"))
    assert read_coco_categories(path, ["toothbrush", "person"]) == expected
    with pytest.raises(InputError, match=r"toothbrsh.*nearest: toothbrush"):
        read_coco_categories(path, ["person", "toothbrsh"])
    with pytest.raises(InputError, match="expected each once"):
        read_coco_categories(path, ["person", "person"])


def test_faults_of_classes_that_are_not_read_are_no_problems(folder: pathlib.Path) -> None:
    path, wanted = write(folder, with_annotation(0, 0, 0, 3)), (Category(13, "stop sign"),)
    assert [problem.kind for problem in find_problems(path, folder / "images")] == ["zero_area"]
    assert not list(find_problems(path, folder / "images", categories=wanted))
    assert read_coco_json(path, folder / "images", categories=wanted).categories == wanted


def test_an_unknown_class_name_is_answered_with_the_nearest(folder: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"'stopsign' \(nearest: stop sign\)"):
        read(folder, document(), category_names=["person", "stopsign"])


def with_image(**record: Any) -> dict[str, Any]:
    content = document()
    content["images"].append(record)
    return content


def with_categories(*records: Any) -> dict[str, Any]:
    return {**document(), "categories": [*document()["categories"], *records]}


BAD_BOXES = [
    (with_annotation(1, 2, 0, 5), "zero_area", r"image 9: the box .* = \(2, 1, 7, 1\) has no area"),
    (with_annotation(1, 2, 5, -1), "zero_area", "no area"),
    (with_annotation(1e6, 2, 1e-9, 5), "zero_area", "no area"),  # none left in float32
    (with_annotation(60, 2, 5, 5), "outside", "outside the image"),
    (with_annotation(-9, 2, 9, 5), "outside", "outside the image"),
    (with_annotation(1, float("nan"), 5, 5), "nan", "not a finite number"),
    (with_annotation(1, 2, float("inf"), 5), "nan", "not a finite number"),
    (with_annotation(1, 2, 10**400, 5), "nan", "not a finite number"),
]
BAD_RECORDS = [
    (with_annotation(1, 2, 3, 4, image=8), "missing_image", r"annotations\[3\]: image_id 8 is not among"),
    (with_annotation(1, 2, 3, 4, class_id=2), "unknown_class", r"category_id 2 .*known ids: \[1, 13, 90\]"),
    (with_annotation(1, 2, 3), "malformed", r"annotations\[3\]: expected an object with image_id.*bbox"),
    (with_annotation(1, 2, "3", 4), "malformed", r"bbox is \[1, 2, '3', 4\]; expected four numbers"),
    (with_annotation(1, 2, 3, 4, area=-1), "malformed", r"annotations\[3\]: image 9: area is -1; expected"),
    (with_annotation(1, 2, 3, 4, area=float("nan")), "malformed", "area is nan; expected"),
    (with_annotation(1, 2, 3, 4, area=1e39), "malformed", r"area is 1e\+39; expected"),  # none in float32
    (with_annotation(1, 2, 3, 4, area=10**400), "malformed", "area is 1000"),
    (with_annotation(1, 2, 3, 4, area="12"), "malformed", "area is '12'; expected a number"),
    (with_image(id=9, file_name="9.jpg"), "duplicate_id", r"images\[3\]: image id 9 is taken twice"),
    (with_image(id="9", file_name="9.jpg"), "duplicate_id", "image id 9 is taken twice"),
    (with_image(id=5, file_name="5.jpg"), "missing_image", r"image '5\.jpg' is not in .*images"),
    (with_image(id=5, file_name="../secret.jpg"), "malformed", r"'\.\./secret\.jpg' leaves"),
    (with_image(id=5, file_name="/etc/hostname"), "malformed", "'/etc/hostname' leaves"),
    (with_image(id=5, file_name="link.jpg"), "malformed", r"'link\.jpg' leaves"),
    (with_image(id=5, file_name="9.jpg\0"), "malformed", "leaves"),
    (with_image(id=5), "malformed", r"images\[3\]: expected an object with .*file_name; got keys 'id'"),
    (with_image(id=5, file_name="text.jpg"), "malformed", r"text\.jpg: not an image"),
    (with_categories({"id": 13, "name": "cat"}), "duplicate_id", "class id 13 is taken twice"),
    (with_categories({"id": 14, "name": "person"}), "duplicate_id", "class name 'person' is taken twice"),
    (with_categories({"id": 0, "name": "cat"}), "malformed", "id 0; expected 1 to 9999.*background"),
    (with_categories({"id": 10**9, "name": "cat"}), "malformed", "id 1000000000; expected 1 to 9999"),
    (with_categories("cat"), "malformed", r"categories\[3\]: expected an object.*got 'cat'"),
    (
        {**document(), "annotations": document()["annotations"][:1] * 2},
        "duplicate_id",
        r"annotations\[1\]: annotation id 1 is taken twice",
    ),
]


def test_areas_are_as_stated_else_the_clipped_boxs_and_absent_where_none_is_stated(
    folder: pathlib.Path,
) -> None:
    content = document()
    content["annotations"] = [
        annotation(1, 9, 1, 50, 30, 20, 20),  # 10 x 10 px² of it in the image
        annotation(2, 42, 1, 5, 6, 7, 8, area=None),
        annotation(3, 9, 13, 0, 0, 40, 40, area=900.5),
        annotation(4, 9, 13, 0, 0, 9, 9, area=0),
        annotation(5, 9, 13, -5, 0, 10, 2, area=20),  # stays, though clipped to 10 px²
    ]
    unstated, empty, stated = (read(folder, content).read_labels(index) for index in range(3))
    assert stated["areas"].tolist() == [100, 900.5, 0, 20]
    assert stated["areas"].dtype == np.float32
    assert "areas" not in unstated
    assert "areas" not in empty


def test_areas_stay_with_their_boxes_when_others_are_left_out(folder: pathlib.Path) -> None:
    content = document()
    content["annotations"] = [
        annotation(1, 9, 1, 1, 2, 0, 5, area=1),  # bad
        annotation(2, 9, 1, 0, 0, 2, 2, area=2),
        annotation(3, 42, 13, 0, 0, 3, 3, area=3),
        annotation(4, 9, 13, 0, 0, 4, 4, area=4),  # of a class not chosen below
        annotation(5, 9, 90, 60, 0, 5, 5, area=5),  # bad
        annotation(6, 9, 90, 0, 0, 6, 6, area=6),
    ]
    last = read(folder, content, bad_boxes="drop").read_labels(2)
    assert last["boxes"][:, 3].tolist() == last["areas"].tolist() == [2, 4, 6]
    chosen = read(folder, content, bad_boxes="drop", category_names=["person", "toothbrush"])
    assert ["areas" in chosen.read_labels(index) for index in range(3)] == [False, False, True]
    assert chosen.read_labels(2)["areas"].tolist() == [2, 6]


@pytest.mark.parametrize(("content", "kind", "words"), BAD_BOXES + BAD_RECORDS)
def test_each_fault_is_found_once_and_stops_the_reader(
    folder: pathlib.Path, content: dict[str, Any], kind: str, words: str
) -> None:
    (folder / "secret.jpg").write_bytes((folder / "images" / "9.jpg").read_bytes())
    (folder / "images" / "link.jpg").symlink_to(folder / "secret.jpg")
    (folder / "images" / "text.jpg").write_text("no image")
    path = write(folder, content)
    problems = list(find_problems(path, folder / "images"))
    assert [problem.kind for problem in problems] == [kind]
    assert re.search(words, f"{problems[0].where}: {problems[0].message}")
    with pytest.raises(InputError, match=rf"labels\.json: 1 problem\n[\s\S]*{words}[\s\S]*--job=doctor"):
        read_coco_json(path, folder / "images")


def test_sound_file_has_no_problems(folder: pathlib.Path) -> None:
    assert list(find_problems(write(folder, document()), folder / "images")) == []


@pytest.mark.parametrize(("content", "kind", "words"), BAD_BOXES)
def test_bad_boxes_can_be_dropped_with_one_warning(
    folder: pathlib.Path, content: dict[str, Any], kind: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        source = read(folder, content, bad_boxes="drop")
    assert source.read_labels(2)["boxes"].tolist() == [[2, 1.5, 22.25, 11.5]]
    assert len(caplog.records) == 1
    assert "dropped bad boxes: 1 problem" in caplog.text
    assert "annotations[3]" in caplog.text


def test_dropping_bad_boxes_forgives_nothing_else(folder: pathlib.Path) -> None:
    content = with_annotation(1, 2, 0, 5)
    content["annotations"].append(annotation(5, 8, 1, 1, 2, 3, 4))
    with pytest.raises(InputError, match=r"1 problem\n.*image_id 8"):
        read(folder, content, bad_boxes="drop")


def test_only_the_first_five_problems_are_listed(folder: pathlib.Path) -> None:
    content = document()
    content["annotations"] = [annotation(number, 9, 1, 1, 2, 0, 5) for number in range(12)]
    with pytest.raises(InputError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert "12 problems" in message
    assert message.count("has no area") == 5
    assert "and 7 more" in message
    assert "--config.data.bad_boxes=drop" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [\n  {"id": 1,}]}', r"labels\.json:2:1\d: not JSON"),
        (b'{"images": "\xff\xff"}', r"labels\.json.*not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        ([], 'the document is a list; expected .*"images", "annotations" and "categories"'),
        ({"images": []}, r'key "categories" is missing \(keys: images\)'),
        ({**document(), "annotations": {}}, 'key "annotations" holds a dict'),
        ({**document(), "images": []}, 'the list "images" is empty'),
    ],
)
def test_file_of_the_wrong_form_is_refused_with_the_place(
    folder: pathlib.Path, content: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read(folder, content)
    problems = list(find_problems(folder / "labels.json", folder / "images"))
    assert [problem.kind for problem in problems] == ["malformed"]
    assert re.search(words, problems[0].message)


def test_missing_file_and_folder_are_named(folder: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json: cannot be read"):
        read_coco_json(folder / "absent.json", folder / "images")
    with pytest.raises(InputError, match="absent: the image folder does not exist"):
        read_coco_json(write(folder, document()), folder / "absent")


def test_image_of_another_size_than_stated_is_refused_when_read(folder: pathlib.Path) -> None:
    content = document()
    content["images"][2] |= {"width": HEIGHT, "height": WIDTH}
    source = read(folder, content)
    with pytest.raises(InputError, match=r"9\.jpg: the image is 60 x 40 .*says 40 x 60.*EXIF"):
        source.read_image(2)


def test_coco_has_80_classes_from_1_to_90() -> None:
    ids = [category.id for category in COCO_CATEGORIES]
    assert len(ids) == len(set(ids)) == 80
    assert list(ids) == sorted(ids)
    assert set(range(1, 91)) - set(ids) == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    names = dict(COCO_CATEGORIES)
    assert (names[1], names[13], names[70], names[90]) == ("person", "stop sign", "toilet", "toothbrush")
