import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.run_files.manifest import Histogram
from selftrain_jax.tasks.segmentation.pseudo.source import check_pseudo_masks
from selftrain_jax.tasks.segmentation.run_files import ClassPixels, MaskSettings, MaskTotals
from selftrain_jax.types import Category
from tests.run_files import tiny_manifest

CATEGORIES = (Category(0, "background"), Category(1, "cat"), Category(2, "dog"))
HUMAN = {"background": 700, "cat": 200, "dog": 100}


def make_manifest(background=6000, cat=2000, dog=1000, pixels=20_000, **kwargs):
    kept = {"background": background, "cat": cat, "dog": dog}
    labels = MaskTotals(
        settings=MaskSettings(),
        num_pixels=pixels,
        num_pixels_at_threshold=sum(kept.values()),
        coverage=None,
        images_without_pixels_at_threshold=0,
        per_class={
            name: ClassPixels(pixels=max(2 * count, 5), pixels_at_threshold=count)
            for name, count in kept.items()
        },
        confidence_histogram=Histogram(edges=(0.0, 1.0), counts=(pixels,)),
    )
    return tiny_manifest(labels, CATEGORIES, **{"num_images": 10, **kwargs})


def check(manifest, human_pixels_per_class=HUMAN, **kwargs):
    return check_pseudo_masks(
        manifest,
        **{
            "human_categories": CATEGORIES,
            "human_pixels_per_class": human_pixels_per_class,
            "min_coverage": 0.01,
            **kwargs,
        },
    )


def test_ordinary_masks_pass_without_a_warning():
    assert check(make_manifest()) == []
    assert check(make_manifest(), None) == []


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (make_manifest(0, 0, 0), "none of the 20000 pixels in 10 images reaches the threshold 0.5"),
        (make_manifest(0, 0, 0, pixels=0, num_images=0), "none of the 0 pixels in 0 images"),
        (
            make_manifest(90, 60, 49),
            r"199 of 20000 pixels .*: 0.00995 of all, expected at least 0.01 \(config.pseudo.min_coverage",
        ),
        (
            make_manifest(9910, 50, 40),
            r"class 'background' holds 9910 of 10000 pseudo pixels \(99.10%\), but 700 of 1000 human",
        ),
    ],
)
def test_masks_that_cannot_work_are_refused(manifest, message):
    with pytest.raises(InputError, match=message):
        check(manifest)


@pytest.mark.parametrize("threshold", [0.997, 1, 1.0])
def test_a_threshold_above_the_highest_confidence_is_said_to_be_the_cause(threshold):
    manifest = make_manifest(0, 0, 0, threshold=threshold)
    with pytest.raises(InputError, match=r"keeps no pixel.*256ths, the highest as 0\.996094") as error:
        check(manifest)
    assert "Train the teacher" not in str(error.value)
    assert check(make_manifest(threshold=threshold)) == []  # classes with thresholds of their own


def test_the_highest_confidence_itself_is_no_such_cause():
    with pytest.raises(InputError, match=r"reaches the threshold 0\.996094.*Train the teacher"):
        check(make_manifest(0, 0, 0, threshold=255 / 256))


def test_dominant_class_passes_where_it_dominates_the_human_masks_too_or_these_are_unknown():
    manifest = make_manifest(9950, 30, 20)
    assert check(manifest, {"background": 995, "cat": 3, "dog": 2}) == []
    assert check(manifest, None) == []


@pytest.mark.parametrize(
    ("human", "pseudo", "is_refused"),
    [
        ((980, 10, 10), (9930, 40, 30), False),  # 49 to 1, then 142 to 1, 2.9 times
        ((970, 15, 15), (9930, 40, 30), True),  # 32 to 1
        ((970, 15, 15), (9890, 60, 50), False),  # within the limit
    ],
)
def test_dominance_is_compared_with_that_of_the_human_masks(human, pseudo, is_refused):
    counts = dict(zip(("background", "cat", "dog"), human, strict=True))
    if not is_refused:
        assert check(make_manifest(*pseudo), counts) == []
        return
    with pytest.raises(InputError, match=r"--config\.pseudo\.max_class_frac=0\.993\.$"):
        check(make_manifest(*pseudo), counts)
    assert check(make_manifest(*pseudo), counts, max_class_frac=0.993) == []


def test_limits_are_arguments():
    with pytest.raises(InputError, match=r"expected at least 0\.5"):
        check(make_manifest(), min_coverage=0.5)
    with pytest.raises(InputError, match="holds 6000 of 9000"):
        check(make_manifest(), {"background": 1, "cat": 1, "dog": 1}, max_class_frac=0.6)


def test_other_categories_are_listed():
    with pytest.raises(
        InputError, match=r"only in the pseudo labels 1 \(2 'dog'\).*human labels 1 \(2 'owl'\)"
    ):
        check(make_manifest(), human_categories=(*CATEGORIES[:2], Category(2, "owl")))


def test_class_that_is_never_found_is_a_warning():
    manifest = make_manifest(dog=0)
    (warning,) = check(manifest)
    assert warning == (
        "class 'dog' has 100 human pixels and no pseudo pixel at threshold 0.5, of 5 pixels of any confidence"
    )
    assert check(manifest, {**HUMAN, "dog": 0}) == []
