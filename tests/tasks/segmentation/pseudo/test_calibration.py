import numpy as np
import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.pseudo.calibration import count_right_pixels
from selftrain_jax.tasks.segmentation.pseudo.source import confidence_levels
from selftrain_jax.tasks.segmentation.run_files import MaskSettings
from selftrain_jax.types import IGNORED, Category
from tests.tasks.segmentation.pseudo.test_quality import TWO, pair

CATEGORIES = (Category(0, "background"), Category(1, "cat"), Category(3, "dog"))


def count(pairs, categories=TWO):
    return count_right_pixels(iter(pairs), categories, MaskSettings())


def test_hand_worked_counts():
    # right cat 0.9, right background 0.6, cat that is background 0.6, background that is cat 0.3, unknown
    first = pair([[1, 0, 0, 1, 255]], [[1, 0, 1, 0, 1]], [[231, 154, 154, 77, 255]])
    second = pair([[1, 1]], [[1, 1]], [[154, 154]])
    counted = count([first, second])
    at = [counted.cuts.tolist().index(cut) for cut in (0.0, 0.3, 0.6, 0.61, 0.9)]
    cat, background = (counted.curves["pixels"][name] for name in ("cat", "background"))
    assert [cat.num_labels[index] for index in at] == [4, 4, 4, 1, 1]
    assert [cat.num_right[index] for index in at] == [3, 3, 3, 1, 1]
    assert [cat.num_trials[index] for index in at] == [2, 2, 2, 1, 1]
    assert [background.num_labels[index] for index in at] == [2, 2, 1, 0, 0]
    assert [background.num_trials[index] for index in at] == [1, 1, 1, 0, 0]
    assert (cat.num_truth, background.num_truth) == (4, 2)
    assert (counted.unit, counted.trials, counted.ignored_below) == ("pixels", "images", True)


def test_counts_agree_with_brute_force_pixel_by_pixel():
    rng = np.random.default_rng(0)
    pairs = [
        pair(
            rng.choice([0, 1, 3, IGNORED], (5, 6)),
            rng.choice([0, 1, 3], (5, 6)),
            rng.integers(0, 256, (5, 6)),
        )
        for _ in range(7)
    ]
    counted = count(pairs, CATEGORIES)
    levels = confidence_levels(counted.cuts.astype(np.float32))
    for class_id, name in CATEGORIES:
        curve = counted.curves["pixels"][name]
        for index in range(0, 100, 9):
            labels = right = images = 0
            for truth, found in pairs:
                pixels = zip(*(x.ravel() for x in (truth["mask"], found["mask"], found["confidence"])))  # noqa: B905
                kept = [t for t, f, q in pixels if f == class_id and q >= levels[index] and t != IGNORED]
                labels, right = labels + len(kept), right + kept.count(class_id)
                images += bool(kept)
            assert (curve.num_labels[index], curve.num_right[index]) == (labels, right)
            assert curve.num_trials[index] == images


def test_mask_of_another_size_is_named():
    with pytest.raises(InputError, match="image a: the true mask has 1 x 1 pixels, the pseudo mask 1 x 2"):
        count([pair([[1]], [[1, 1]], [[5, 5]])])


def test_nothing_is_counted_without_images():
    assert set(count([]).curves["pixels"]["cat"].num_trials) == {0}
