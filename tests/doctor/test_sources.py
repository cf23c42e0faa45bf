"""What the doctor says of several sources of unlabelled images, told apart by the names of their splits."""

import numpy as np
import pytest

from selftrain_jax.doctor.duplicates import (
    ImageScan,
    find_copies,
    find_duplicates,
    is_trained_on,
    split_name,
)
from selftrain_jax.doctor.examine import SplitSummary
from selftrain_jax.doctor.verdicts import judge_copies, judge_images, judge_unlabelled

WEB = split_name("web")


def scans(*digests: str) -> list[ImageScan]:
    return [
        ImageScan({"image_id": digest}, (8, 8), digest, np.uint64(sum(map(ord, digest)) << 20))
        for digest in digests
    ]


def summary(split: str, num: int, num_bad: int = 0) -> SplitSummary:
    return SplitSummary(split, split, False, num, num, ("broken",) * num_bad, {})


def test_names_of_splits() -> None:
    assert (split_name("unlabeled"), WEB) == ("unlabelled", "unlabelled/web")
    assert [is_trained_on(name) for name in ("train", "unlabelled", WEB, "val", "unlabelled2")] == [
        *(True, True, True, False, False)
    ]


def test_copies_of_evaluation_images_are_found_in_each_source() -> None:
    splits = {"train": scans("a"), "val": scans("v"), "unlabelled": scans("b"), WEB: scans("c", "v")}
    found = {repeats.split: repeats.num_exact for repeats in find_duplicates(splits)}
    assert found == {"train": 0, "unlabelled": 0, WEB: 1, "val": 0}


@pytest.mark.parametrize(
    ("name", "images", "level", "words"),
    [
        (WEB, ("a", "b"), "error", "all 2 images are labelled images of train"),
        ("unlabelled", ("a", "b"), "warning", "all 2 images are labelled images of train"),
        (WEB, ("a", "c"), "warning", "1 of 2 images are labelled images of train"),
        (WEB, ("c", "d"), None, ""),
    ],
)
def test_a_further_source_of_labelled_images_is_an_error(name: str, images, level, words: str) -> None:
    splits = {"train": scans("a", "b"), name: scans(*images)}
    verdicts = list(judge_copies(find_copies(splits), [summary("train", 2), summary(name, 2)]))
    assert [verdict.level for verdict in verdicts] == ([level] if level else [])
    assert all(words in verdict.finding for verdict in verdicts)


@pytest.mark.parametrize(("allowed", "errors"), [(1, 1), (2, 0), (0, 2)])
def test_bad_images_of_all_sources_count_together_as_labelling_counts_them(allowed: int, errors: int) -> None:
    splits = [summary("unlabelled", 5, 1), summary(WEB, 5, 1)]
    found = [verdict for verdict in judge_images(splits, allowed) if verdict.level == "error"]
    assert len(found) == errors


def test_unlabelled_images_of_all_sources_count() -> None:
    assert not list(judge_unlabelled([summary("train", 8), summary("unlabelled", 5), summary(WEB, 5)]))
    (verdict,) = judge_unlabelled([summary("train", 12), summary("unlabelled", 5), summary(WEB, 5)])
    assert verdict.finding == "10 unlabelled images for 12 labelled"
