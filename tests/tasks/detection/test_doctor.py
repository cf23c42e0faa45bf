import dataclasses
import functools
import json
import pathlib
import re

import jaxtyping
import numpy as np
import pytest

from selftrain_jax.data.problems import describe_fault
from selftrain_jax.data.source import Problem, Source, without_labels
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.detection.box_statistics import describe_box
from selftrain_jax.tasks.detection.doctor import examine_boxes, format_diagnosis, write_report
from selftrain_jax.tasks.detection.doctor_page import box_of, marked_thumbnail, picture_problems
from selftrain_jax.types import Category

BCCD = pathlib.Path(__file__).parents[3] / "shared/data/bccd"


def memoised(source):
    return dataclasses.replace(source, read_image=functools.cache(source.read_image))


TRAIN = memoised(read_builtin("train", num_images=120))
TEST = memoised(read_builtin("test", num_images=24))
UNLABELLED = memoised(without_labels(read_builtin("unlabeled", num_images=130)))


def with_images(source, replaced):
    """Give a source whose images at some indices are others, or raise."""

    def read_image(index):
        found = replaced.get(index)
        if isinstance(found, InputError):
            raise found
        return source.read_image(index) if found is None else found

    return dataclasses.replace(source, read_image=read_image)


def diagnose(train=TRAIN, test=TEST, unlabelled=UNLABELLED, problems=(), **settings):
    labelled = {"train": train, "test": test}
    return examine_boxes(labelled=labelled, unlabelled=unlabelled, problems=problems, **settings)


def duplicates(diagnosis, split, evaluation_split):
    found = [
        found
        for found in diagnosis.images.duplicates
        if (found.split, found.evaluation_split) == (split, evaluation_split)
    ]
    assert len(found) == 1
    return found[0]


def levels(diagnosis, words):
    return [verdict.level for verdict in diagnosis.images.verdicts if words in verdict.finding]


def tiny_source(boxes, classes, is_crowd=None):
    """Make a source of blank images, one for each entry of `boxes`."""

    def read_labels(index):
        crowd = is_crowd[index] if is_crowd else [False] * len(classes[index])
        return {
            "image_id": str(index),
            "boxes": np.array(boxes[index], np.float32).reshape(-1, 4),
            "classes": np.array(classes[index], np.int32),
            "is_crowd": np.array(crowd, bool),
        }

    images = np.random.default_rng(0).integers(0, 256, (len(boxes), 60, 80, 3)).astype(np.uint8)
    ids = tuple(map(str, range(len(boxes))))
    categories = (Category(1, "cat"), Category(2, "dog"))
    return Source("tiny", categories, ids, read_labels, lambda index: b"", lambda index: images[index])


def test_sound_data_has_no_error_and_no_warning():
    diagnosis = diagnose()
    assert {verdict.level for verdict in diagnosis.images.verdicts} == {"ok"}
    assert not diagnosis.images.has_errors
    assert not any(found.pairs for found in diagnosis.images.duplicates)


def test_planted_exact_and_near_leaks_are_found_and_no_other():
    brighter = np.clip(TEST.read_image(5).astype(int) + 8, 0, 255).astype(np.uint8)
    leaking = with_images(UNLABELLED, {7: TEST.read_image(3), 20: brighter})
    diagnosis = diagnose(unlabelled=leaking)
    found = duplicates(diagnosis, "unlabelled", "test")
    pairs = [(pair.image_id, pair.evaluation_image_id, pair.is_exact) for pair in found.pairs]
    expected = [(7, 3, True), (20, 5, False)]
    assert pairs == [
        (UNLABELLED.image_ids[one], TEST.image_ids[other], is_exact) for one, other, is_exact in expected
    ]
    assert (found.num_exact, found.num_near) == (1, 1)
    assert diagnosis.images.has_errors
    assert levels(diagnosis, "equal an image of unlabelled") == ["error"]
    assert levels(diagnosis, "look like an image of unlabelled") == ["warning"]
    assert not duplicates(diagnosis, "train", "test").pairs


def test_leak_from_train_is_an_error_and_a_copy_within_the_evaluation_set_a_warning():
    diagnosis = diagnose(
        train=with_images(TRAIN, {0: TEST.read_image(1)}), test=with_images(TEST, {9: TEST.read_image(2)})
    )
    assert levels(diagnosis, "equal an image of train") == ["error"]
    assert levels(diagnosis, "equal another of them") == ["warning"]
    (pair,) = duplicates(diagnosis, "test", "test").pairs
    assert (pair.image_id, pair.evaluation_image_id) == (TEST.image_ids[2], TEST.image_ids[9])


def test_images_that_do_not_decode_are_counted_not_raised():
    broken = {4: InputError("a.jpg: the image is damaged")}
    diagnosis = diagnose(unlabelled=with_images(UNLABELLED, broken), max_bad_images=1)
    assert levels(diagnosis, "1 of 130 images do not decode") == ["warning"]
    assert "a.jpg: the image is damaged" in diagnosis.images.splits[-1].unreadable[0]
    in_test = diagnose(test=with_images(TEST, broken), max_bad_images=1)
    assert levels(in_test, "1 of 24 images do not decode") == ["error"]


def test_more_images_that_do_not_decode_than_a_run_allows_are_an_error_that_says_how_many_to_allow():
    broken = with_images(TRAIN, {4: InputError("a.jpg"), 7: InputError("b.jpg")})
    (verdict,) = [
        found
        for found in diagnose(train=broken, max_bad_images=1).images.verdicts
        if "do not decode" in found.finding
    ]
    assert verdict.level == "error"
    assert verdict.finding == "train: 2 of 120 images do not decode, allowed are 1"
    assert verdict.remedy.endswith("--config.data.max_bad_images=2.")


def test_statistics_of_a_split_are_those_counted_by_hand():
    source = tiny_source(
        boxes=[[[0, 0, 10, 40], [0, 0, 60, 60]], [], [[0, 0, 40, 40], [1, 1, 30, 30]]],
        classes=[[1, 1], [], [1, 2]],
        is_crowd=[[False, False], [], [False, True]],
    )
    diagnosis = diagnose(train=source)
    boxes = diagnosis.boxes[0]
    assert boxes.class_counts == {"cat": 3, "dog": 0}
    assert (boxes.num_boxes, boxes.num_crowd, boxes.num_images_without_boxes) == (3, 1, 1)
    assert boxes.boxes_per_image == {0: 1, 1: 1, 2: 1}
    assert boxes.object_areas == {"small": 1, "medium": 2, "large": 0}  # 400, 1600 and 3600 px², 32² = 1024
    assert boxes.box_side_px == (20, 30, 40, 50, 60)
    assert diagnosis.images.splits[0].image_sizes == {"80 x 60": 3}


def test_objects_are_sized_by_their_own_area_where_it_is_known():
    source = tiny_source(boxes=[[[0, 0, 40, 40], [0, 0, 50, 50]]], classes=[[1, 1]])
    labels = source.read_labels
    areas = np.array([1000.0, 2000.0])
    sized = dataclasses.replace(source, read_labels=lambda index: {**labels(index), "areas": areas})
    boxes = diagnose(train=sized).boxes[0]
    assert boxes.object_areas == {"small": 1, "medium": 1, "large": 0}  # by boxes both are medium
    assert boxes.box_side_px[0] == 40


def test_absent_and_rare_classes_and_missing_labels_are_warned_of():
    source = tiny_source(boxes=[[[0, 0, 30, 30]], [], []], classes=[[1], [], []])
    diagnosis = diagnose(train=source)
    assert levels(diagnosis, "no box of dog") == ["warning"]
    assert levels(diagnosis, "under 10 boxes of cat") == ["warning"]
    assert levels(diagnosis, "2 of 3 images have no box") == ["warning"]
    assert levels(diagnose(train=tiny_source([[]], [[]])), "train: no box at all") == ["error"]


def test_tiny_and_repeated_boxes_are_found():
    source = tiny_source(
        boxes=[[[0, 0, 30, 30], [0, 0, 30, 30], [5, 5, 6, 30], [0, 0, 30, 30]]], classes=[[1, 1, 1, 2]]
    )
    diagnosis = diagnose(train=source)
    assert diagnosis.images.problem_counts == {"repeated": 1, "tiny": 1}
    assert levels(diagnosis, "[tiny]") == levels(diagnosis, "[repeated]") == ["warning"]
    assert len(picture_problems(diagnosis.images.problems, diagnosis.sources)) == 2


def test_bad_boxes_are_errors_unless_the_reader_drops_them():
    problem = Problem(
        "zero_area", "a.xml:3", describe_fault("zero_area", (5.0, 5.0, 5.0, 5.0), TRAIN.image_ids[0])
    )
    assert levels(diagnose(problems=[problem]), "[zero_area]") == ["error"]
    assert levels(diagnose(problems=[problem], bad_boxes="drop"), "[zero_area]") == ["warning"]
    other = Problem("missing_image", "a.xml:3", "no such file")
    assert levels(diagnose(problems=[other], bad_boxes="drop"), "[missing_image]") == ["error"]


def test_a_split_that_could_not_be_opened_is_an_error():
    diagnosis = examine_boxes(labelled={"train": TRAIN, "test": None}, unlabelled=None, problems=[])
    assert levels(diagnosis, "test: could not be opened") == ["error"]
    assert levels(diagnosis, "no unlabelled images") == ["warning"]


def test_part_of_the_images_is_spread_over_the_split_and_said_so():
    read = []
    source = dataclasses.replace(
        TRAIN, read_image=lambda index: read.append(index) or TRAIN.read_image(index)
    )
    diagnosis = diagnose(train=source, max_images=4)
    assert sorted(read) == [0, 40, 79, 119]
    assert levels(diagnosis, "only 4 of 120") == ["warning"]


def test_every_image_is_read_once():
    read = []
    source = dataclasses.replace(TEST, read_image=lambda index: read.append(index) or TEST.read_image(index))
    diagnose(test=source)
    assert sorted(read) == list(range(len(TEST)))


@pytest.mark.parametrize("fault", ["nan", "zero_area", "outside"])
def test_image_and_box_are_read_back_from_a_problems_words(fault):
    box = (1.5, -2.0, 300.0, 4e5)
    expected = ("folder/cat: 1 (2).jpg", box)
    assert box_of(Problem(fault, "x", describe_fault(fault, box, expected[0]))) == expected
    assert box_of(Problem(fault, "x", describe_box(expected[0], box, "is bad"))) == expected
    assert box_of(Problem(fault, "x", describe_fault(fault, (np.nan, 0.0, 1.0, 1.0), "a"))) is None
    assert box_of(Problem("malformed", "x", "expected an object")) is None


def test_thumbnail_marks_the_box_even_without_area_or_outside():
    image = np.zeros((120, 240, 3), np.uint8)

    def red_at(box):
        pixels = marked_thumbnail(image, box).astype(int)
        return np.argwhere((pixels[..., 0] > 150) & (pixels[..., 1] < 100)).mean(0), pixels.shape[:2]

    middle, size = red_at((60.0, 100.0, 60.0, 100.0))
    assert size == (120, 240)
    np.testing.assert_allclose(middle, (60, 100), atol=1)
    below, size = red_at((5000.0, 100.0, 6000.0, 140.0))
    assert size == (160, 280)  # a border of 20 px shows what lies outside
    assert below[0] > 140


def test_reports_agree_and_escape_what_the_data_says(tmp_path):
    leaking = with_images(UNLABELLED, {7: TEST.read_image(3), 9: InputError("b.jpg: <b>cut</b> off")})
    problem = Problem("malformed", "<script>alert(1)</script>", "a & b")
    diagnosis = diagnose(unlabelled=leaking, problems=[problem])
    page = write_report(diagnosis, tmp_path / "new").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>cut" not in page
    assert "src=" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)  # nothing is loaded
    assert page.count("data:image/jpeg;base64,") == 2  # the pair
    document = json.loads((tmp_path / "new" / "doctor.json").read_text())
    assert document["has_errors"] is True
    assert document["problem_counts"] == {"malformed": 1}
    leak = next(found for found in document["duplicates"] if found["split"] == "unlabelled")
    assert (leak["num_exact"], leak["num_near"]) == (1, 0)
    text = format_diagnosis(diagnosis)
    assert "ERROR   test: 1 of 24 images equal an image of unlabelled" in text
    assert "First 2 of 2 problems" in text
    assert text.endswith("Errors: 3, warnings: 0")


@pytest.mark.slow
@pytest.mark.skipif(not BCCD.is_dir(), reason=f"the blood cell images are not at {BCCD}")
def test_blood_cells_hold_two_stray_clicks_and_one_leak(monkeypatch):
    from selftrain_jax.data.sources.voc_boxes import find_problems, read_voc

    # Checking shapes 600,000 times would take three quarters of the time.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    splits, classes = ("train", "val"), ("Platelets", "RBC", "WBC")
    diagnosis = examine_boxes(
        labelled={split: read_voc(BCCD, split, classes, bad_boxes="drop") for split in splits},
        unlabelled=None,
        problems=[problem for split in splits for problem in find_problems(BCCD, split, classes)],
    )
    assert diagnosis.images.problem_counts == {"zero_area": 2}
    assert len(picture_problems(diagnosis.images.problems, diagnosis.sources)) == 2
    (pair,) = [pair for found in diagnosis.duplicates for pair in found.pairs]
    assert (pair.image_id, pair.evaluation_image_id) == ("BloodImage_00038", "BloodImage_00037")
