import dataclasses
import re

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Histogram
from selftrain_jax.tasks.detection.pseudo.source import check_pseudo_boxes
from selftrain_jax.tasks.detection.run_files import BoxSettings, BoxTotals, ClassBoxes
from selftrain_jax.types import Category
from tests.run_files import tiny_manifest

CATEGORIES = (Category(1, "cat"), Category(2, "dog"), Category(3, "emu"))


def make_manifest(cat=60, dog=40, emu=5, images=100, empty=30):
    boxes = {"cat": cat, "dog": dog, "emu": emu}
    per_class = {
        name: ClassBoxes(boxes_at_floor=2 * count, boxes_at_threshold=count) for name, count in boxes.items()
    }
    labels = BoxTotals(
        settings=BoxSettings(score_floor=0.05),
        num_boxes=500,
        num_boxes_at_threshold=sum(boxes.values()),
        images_without_boxes_at_threshold=empty,
        per_class=per_class,
        score_histogram=Histogram(edges=(0.0, 1.0), counts=(500,)),
    )
    return tiny_manifest(labels, CATEGORIES, num_images=images)


def check(manifest, **kwargs):
    return check_pseudo_boxes(manifest, **{"human_categories": CATEGORIES, **kwargs})


def test_ordinary_labels_pass_without_a_warning():
    assert check(make_manifest(), human_boxes_per_class={"cat": 10, "dog": 10, "emu": 1}) == []


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (make_manifest(0, 0, 0, empty=100), "none of the 500 boxes in 100 images reaches"),
        (make_manifest(2, 2, 1, images=1000, empty=900), "0.005 an image, expected at least 0.01"),
        (make_manifest(9000, 900, 101), "100 boxes an image reach"),
        (make_manifest(empty=99), "99 of 100 images have no box"),
        (
            make_manifest(cat=1000, dog=40, emu=5),
            r"class 'cat' holds 1000 of 1045 pseudo boxes \(95.69%\), but 1 of 3",
        ),
    ],
)
def test_labels_that_cannot_work_are_refused_with_advice(manifest, message):
    with pytest.raises(InputError, match=message) as error:
        check(manifest, human_boxes_per_class={"cat": 1, "dog": 1, "emu": 1})
    assert "threshold" in str(error.value)


def test_dominant_class_passes_where_it_dominates_the_human_labels_too():
    assert check(make_manifest(cat=1000), human_boxes_per_class={"cat": 96, "dog": 2, "emu": 2}) == []


@pytest.mark.parametrize(
    ("human", "pseudo", "is_refused"),
    [
        ((94, 3, 3), (960, 20, 20), False),  # 15.7 to 1, then 24 to 1
        ((94, 3, 3), (978, 11, 11), False),  # 44.5 to 1 is 2.84 times
        ((94, 3, 3), (980, 10, 10), True),  # 49 to 1 is 3.13 times
        ((60, 20, 20), (995, 3, 2), True),
        ((94, 3, 3), (1000, 0, 0), True),  # the others are gone
        ((96, 2, 2), (1000, 0, 0), False),  # nearly gone in the human labels too: over the limit there
        ((0, 50, 50), (951, 29, 20), True),  # no human label of it
        ((0, 50, 50), (950, 30, 20), False),
        ((50, 0, 0), (1000, 0, 0), False),  # one class alone has human labels
        ((0, 0, 0), (1000, 0, 0), False),  # none has
    ],
)
def test_dominance_is_compared_with_that_of_the_human_labels(human, pseudo, is_refused):
    counts = dict(zip(("cat", "dog", "emu"), human, strict=True))
    manifest = make_manifest(*pseudo)
    if not is_refused:
        check(manifest, human_boxes_per_class=counts)
        return
    with pytest.raises(InputError, match="collapsed onto one class") as error:
        check(manifest, human_boxes_per_class=counts)
    (limit,) = re.findall(r"--config\.pseudo\.max_class_frac=([\d.]+)\.", str(error.value))
    check(manifest, human_boxes_per_class=counts, max_class_frac=float(limit))


def test_one_class_alone_never_dominates():
    labels = make_manifest().labels
    only = dataclasses.replace(labels, num_boxes_at_threshold=60, per_class={"cat": labels.per_class["cat"]})
    manifest = tiny_manifest(only, CATEGORIES[:1], num_images=100)
    assert check(manifest, human_categories=CATEGORIES[:1], human_boxes_per_class={"cat": 1}) == []


def test_limits_are_arguments():
    with pytest.raises(InputError, match="30 of 100 images"):
        check(make_manifest(), max_empty_frac=0.2)
    with pytest.raises(InputError, match="expected at least 2"):
        check(make_manifest(), min_boxes_per_image=2.0)


def test_other_categories_are_listed():
    with pytest.raises(
        InputError, match=r"only in the pseudo labels 1 \(3 'emu'\).*human labels 1 \(3 'owl'\)"
    ):
        check(make_manifest(), human_categories=(*CATEGORIES[:2], Category(3, "owl")))


def test_class_that_is_never_found_is_a_warning():
    (warning,) = check(make_manifest(emu=0), human_boxes_per_class={"cat": 10, "dog": 10, "emu": 4})
    assert "'emu' has 4 human boxes and no pseudo box at threshold 0.5" in warning
