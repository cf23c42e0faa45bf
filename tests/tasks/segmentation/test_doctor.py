import dataclasses
import json
import pathlib

import numpy as np
import pytest

from selftrain_jax.data.source import Source, subset, without_labels
from selftrain_jax.tasks.segmentation.doctor import examine_masks, format_diagnosis, write_report
from selftrain_jax.tasks.segmentation.doctor_page import picture_masks
from tests.tasks.segmentation.mask_sources import filled, make_source

NOISE = np.random.default_rng(9).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)


def test_bad_and_ignored_masks_are_problems_and_good_ones_are_not() -> None:
    source = make_source(filled(0), None, filled(255), filled(255, 1))
    problems = examine_masks(labelled={"train": source}, unlabelled=None).images.problems
    assert [(problem.kind, problem.where) for problem in problems] == [
        ("bad_mask", "toys, image 1"),
        ("ignored_mask", "toys, image 2"),
    ]
    assert problems[0].message == "1.png is bad"


def test_statistics_count_pixels_and_images_by_class() -> None:
    train = make_source(filled(0, 0, 1, 255), filled(1), filled(255), None)
    (masks,) = examine_masks(labelled={"train": train}, unlabelled=None).masks
    assert (masks.num_masks, masks.num_bad_masks, masks.num_ignored_masks, masks.num_pixels) == (4, 1, 1, 48)
    assert masks.pixels_by_class == {"ground": 8, "cat": 20, "dog": 0}
    assert masks.images_by_class == {"ground": 1, "cat": 2, "dog": 0}
    assert masks.ignored_frac == pytest.approx(20 / 48)


def verdicts_of(**labelled: Source | None) -> list[tuple[str, str]]:
    images = examine_masks(labelled=labelled, unlabelled=None).images
    return [(verdict.level, verdict.finding) for verdict in images.verdicts]


def test_verdicts_tell_what_stops_a_run_from_what_to_look_at() -> None:
    assert ("ok", "train: 1 masks, every class present, 0.0% of the pixels ignored") in verdicts_of(
        train=make_source(filled(0, 1, 2))
    )
    found = verdicts_of(train=make_source(filled(0, 255), filled(255), None), val=None)
    assert ("error", "val: could not be opened") in found
    bad = "annotations: 1 masks that do not fit their image or classes [bad_mask]"
    assert ("error", f"{bad}, allowed are 0") in found
    assert ("warning", "train: 1 of 3 masks are ignored throughout") in found
    assert ("warning", "train: no pixel of cat, dog") in found
    assert ("error", "train: not one pixel has a class") in verdicts_of(train=make_source(filled(255)))


def bad_mask_verdict(max_bad_images: int, **labelled: Source) -> tuple[str, str]:
    images = examine_masks(labelled=labelled, unlabelled=None, max_bad_images=max_bad_images).images
    (found,) = [verdict for verdict in images.verdicts if "[bad_mask]" in verdict.finding]
    return found.level, found.remedy


def test_bad_masks_to_train_on_are_judged_by_the_runs_own_limit_those_of_evaluation_are_not() -> None:
    train, val = make_source(filled(0), None, filled(1), None), make_source(filled(0), filled(1))
    level, remedy = bad_mask_verdict(1, train=train, val=val)
    assert (level, remedy[-34:]) == ("error", "them: --config.data.max_bad_images=2."[-34:])
    assert bad_mask_verdict(2, train=train, val=val)[0] == "warning"
    assert bad_mask_verdict(2, train=train, val=train)[0] == "error"


def test_test_images_among_the_unlabelled_are_found_even_where_those_have_masks() -> None:
    source = make_source(*[filled(0, 1, 2)] * 3)
    test, unlabelled = subset(source, [0, 1], "test"), subset(source, [1, 2], "unlabelled")
    diagnosis = examine_masks(labelled={"test": test}, unlabelled=unlabelled)
    (pair,) = [pair for found in diagnosis.images.duplicates for pair in found.pairs if pair.is_exact]
    assert (pair.image_id, pair.evaluation_image_id) == ("1", "1")
    assert diagnosis.images.has_errors


def test_terminal_json_and_page_show_classes_problems_and_verdicts(tmp_path: pathlib.Path) -> None:
    diagnosis = examine_masks(
        labelled={"train": make_source(filled(0, 0, 0, 1), None), "test": make_source(filled(1))},
        unlabelled=None,
    )
    text = format_diagnosis(diagnosis)
    assert "75.00% in 1" in text
    assert "100.00% in 1" in text
    assert "toys, image 1: 1.png is bad [bad_mask]" in text
    assert "Errors: 2" in text  # the bad mask, and the test image that is in train
    assert "no labels" not in text
    page = write_report(diagnosis, tmp_path / "new").read_text()
    for words in (
        "This data has errors",
        "75.00% in 1",
        "1.png is bad",
        "Masks on their images",
        "Duplicates",
    ):
        assert words in page
    written = json.loads((tmp_path / "new" / "doctor.json").read_text())
    assert written["has_errors"] is True
    assert written["masks"][0]["pixels_by_class"] == {"ground": 12, "cat": 4, "dog": 0}
    assert written["problem_counts"] == {"bad_mask": 1}


def test_names_of_the_data_are_escaped_on_the_page(tmp_path: pathlib.Path) -> None:
    source = dataclasses.replace(make_source(filled(0, 1)), image_ids=("<b>",), name="<i>")
    named = tuple(category._replace(name=f"<u>{category.name}") for category in source.categories)
    diagnosis = examine_masks(
        labelled={"train": dataclasses.replace(source, categories=named)}, unlabelled=None
    )
    page = write_report(diagnosis, tmp_path).read_text()
    for text in ("train &lt;b&gt;<", "&lt;i&gt;", "&lt;u&gt;ground"):
        assert text in page
    for text in ("train <b>", "<i>", "<u>"):
        assert text not in page


def test_a_mask_lies_in_its_classes_colours_on_the_picture_and_ignored_pixels_are_left() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    source = dataclasses.replace(make_source(filled(1), filled(255), None), read_image=lambda _: grey)
    pictures = picture_masks(source, "train", 6)
    assert [row[0].caption for row in pictures] == ["train 0", "train 1"]
    plain, coloured = (picture.image for picture in pictures[0])
    np.testing.assert_allclose(plain.mean(axis=(0, 1)), [100, 100, 100], atol=2)
    np.testing.assert_allclose(coloured.mean(axis=(0, 1)), [114, 50, 50], atol=2)  # VOC's 1: (128, 0, 0)
    ignored = pictures[1][1].image
    np.testing.assert_allclose(ignored.mean(axis=(0, 1)), [100, 100, 100], atol=2)


def test_masks_of_the_unlabelled_are_examined_and_what_is_bad_in_them_is_a_warning() -> None:
    train, truth = make_source(filled(0, 1, 2)), make_source(filled(0, 1), None, filled(255))
    other_pictures = dataclasses.replace(truth, name="more", read_image=lambda index: NOISE[index])
    labelled: dict[str, Source | None] = {"train": train}
    diagnosis = examine_masks(labelled=labelled, unlabelled=other_pictures, max_bad_images=1)
    assert [split.split for split in diagnosis.images.splits] == ["train", "unlabelled"]
    assert [split.split for split in diagnosis.masks] == ["train", "unlabelled truth"]
    masks = diagnosis.masks[1]
    assert (masks.num_masks, masks.num_bad_masks, masks.num_ignored_masks) == (3, 1, 1)
    assert masks.pixels_by_class == {"ground": 8, "cat": 8, "dog": 0}
    found = {verdict.finding: verdict for verdict in diagnosis.images.verdicts}
    verdict = found["unlabelled truth: 1 of 3 masks are bad [bad_truth]"]
    assert verdict.level == "warning"
    assert not diagnosis.images.has_errors
    strict = examine_masks(labelled=labelled, unlabelled=other_pictures).images  # quality.json is refused
    (refused,) = [verdict for verdict in strict.verdicts if verdict.level == "error"]
    assert refused.finding == "unlabelled truth: 1 of 3 masks are bad [bad_truth], allowed are 0"
    assert "--config.data.max_bad_images=1" in refused.remedy
    assert [(problem.kind, problem.where) for problem in diagnosis.images.problems] == [
        ("bad_truth", "more, image 1"),
        ("ignored_mask", "more, image 2"),
    ]
    assert "more, image 1: 1.png is bad [bad_truth]" in format_diagnosis(diagnosis)


def test_truth_without_a_class_is_a_warning_and_unlabelled_images_have_none() -> None:
    train = make_source(filled(0, 1, 2))
    truth = make_source(filled(255))
    diagnosis = examine_masks(labelled={"train": train}, unlabelled=truth)
    assert ("warning", "unlabelled truth: not one pixel has a class") in [
        verdict[:2] for verdict in diagnosis.images.verdicts
    ]
    bare = without_labels(truth)
    other_classes = dataclasses.replace(truth, categories=truth.categories[:2])
    for unlabelled in (bare, other_classes):
        masks = examine_masks(labelled={"train": train}, unlabelled=unlabelled).masks
        assert [split.split for split in masks] == ["train"]
