import json

import numpy as np
import pytest

from selftrain_jax.data.source import subset
from selftrain_jax.errors import InputError
from selftrain_jax.selftrain.quality import suggest_thresholds
from selftrain_jax.tasks.segmentation.pseudo.quality import (
    count_agreement,
    measure_agreement,
    write_mask_quality,
)
from selftrain_jax.types import Category
from tests.tasks.segmentation.pseudo.mask_toy import CATEGORIES, IDS, label_masks, make_maps, make_source

pytestmark = pytest.mark.tf  # the toy folder is made of records

TWO = (Category(0, "background"), Category(1, "cat"))


def pair(truth, mask, confidence):
    arrays = (np.array(values, np.uint8) for values in (truth, mask, confidence))
    truth, mask, confidence = arrays
    return {"mask": truth}, {"image_id": "a", "mask": mask, "confidence": confidence}


def measure(pairs, categories=TWO, thresholds=None, threshold=0.5):
    num_classes = 1 + max(category.id for category in categories)
    if thresholds is None:
        thresholds = np.full(num_classes, threshold, np.float32)
    agreement = count_agreement(pairs, num_classes)
    return measure_agreement(agreement, categories, thresholds=thresholds, threshold=threshold).to_json()


def test_hand_worked_figures():
    # right cat 0.9, right background 0.6, cat that is background 0.6, background that is cat 0.3, unknown
    quality = measure([pair([[1, 0, 0, 1, 255]], [[1, 0, 1, 0, 1]], [[231, 154, 154, 77, 255]])])
    json.dumps(quality)
    assert quality["thresholds"] == np.round(np.arange(20) * 0.05, 2).tolist()
    curves = quality["overall"]
    at = dict(zip(quality["thresholds"], zip(*curves.values(), strict=True), strict=True))
    assert list(curves) == ["precision", "recall", "miou", "coverage"]
    assert at[0.0] == at[0.3] == (2 / 4, 2 / 4, 1 / 3, 1.0)  # each class: 1 right of 3 in the union
    assert at[0.35] == at[0.6] == (2 / 3, 2 / 4, 1 / 2, 3 / 4)
    assert at[0.65] == at[0.9] == (1.0, 1 / 4, 1.0, 1 / 4)  # only the cat occurs
    assert at[0.95] == (None, 0.0, None, 0.0)
    assert quality["at_threshold"] == {
        "threshold": 0.5,
        "precision": 2 / 3,
        "recall": 2 / 4,
        "miou": 1 / 2,
        "coverage": 3 / 4,
    }
    assert quality["per_class"]["cat"]["precision"] == [*[1 / 2] * 13, *[1.0] * 6, None]
    assert quality["per_class"]["cat"]["recall"] == [*[1 / 2] * 19, 0.0]
    assert quality["per_class"]["background"]["precision"] == [*[1 / 2] * 7, *[1.0] * 6, *[None] * 7]
    assert quality["per_class"]["background"]["recall"] == [*[1 / 2] * 13, *[0.0] * 7]


def test_hand_worked_calibration():
    quality = measure([pair([[1, 0, 0, 1, 255]], [[1, 0, 1, 0, 1]], [[231, 154, 154, 77, 255]])])
    calibration = quality["calibration"]
    assert calibration["edges"] == np.round(np.arange(11) * 0.1, 1).tolist()
    assert calibration["count"] == [0, 0, 0, 1, 0, 0, 2, 0, 0, 1]
    assert calibration["precision"] == [None, None, None, 0.0, None, None, 0.5, None, None, 1.0]
    assert calibration["mean_score"][3] == 77.5 / 256
    assert calibration["mean_score"][6] == 154.5 / 256
    # |77.5/256 - 0| + |2 * 154.5/256 - 1| + |231.5/256 - 1| over 4 pixels
    assert calibration["expected_calibration_error"] == pytest.approx((77.5 + 53 + 24.5) / 256 / 4)


def test_error_of_a_teacher_that_knows_how_sure_it_is_is_nearly_zero():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.0, 1.0, (400, 500))
    truth = (rng.uniform(size=p.shape) < p).astype(np.uint8)
    calibration = measure([pair(truth, np.ones_like(truth), np.floor(256 * p))])["calibration"]
    assert calibration["expected_calibration_error"] < 0.005
    np.testing.assert_allclose(calibration["precision"], np.arange(10) / 10 + 0.05, atol=0.02)


def true_mask(index):
    """The teacher's mask with a third of it wrong and some of it unknown."""
    mask, _ = make_maps(index)
    rng = np.random.default_rng((8, index))
    wrong, unknown = (rng.uniform(size=mask.shape) < share for share in (0.3, 0.1))
    return np.where(unknown, 255, np.where(wrong, rng.choice(IDS, mask.shape), mask)).astype(np.uint8)


def make_truth(num_images, read_mask=true_mask, categories=CATEGORIES):
    read = lambda index: {"image_id": f"image-{index}", "mask": read_mask(index)}  # noqa: E731
    return make_source(num_images, name="truth", read_labels=read, categories=categories)


def brute_force(least):
    """Count over the pixels of 10 images, one by one; `least` is the level that each class keeps."""
    right = kept = known = 0
    of_class = {id: {"right": 0, "found": 0, "true": 0, "true_kept": 0} for id in IDS}
    for index in range(10):
        pixels = (values.ravel().tolist() for values in (true_mask(index), *make_maps(index)))
        for true, found, q in zip(*pixels, strict=True):
            if true == 255:
                continue
            known += 1
            of_class[true]["true"] += 1
            if q < least[found]:
                continue
            kept += 1
            right += true == found
            of_class[true]["true_kept"] += 1
            of_class[found]["found"] += 1
            of_class[found]["right"] += true == found
    ious = [
        counts["right"] / (counts["true_kept"] + counts["found"] - counts["right"])
        for counts in of_class.values()
    ]
    return (right / kept, right / known, np.mean(ious), kept / known), of_class


def test_quality_of_a_folder_agrees_with_brute_force(tmp_path):
    label_masks(tmp_path)
    shuffled = subset(make_truth(14), np.random.default_rng(0).permutation(14), "shuffled")
    quality = write_mask_quality(
        tmp_path, shuffled, threshold=0.5, per_class_thresholds={"dog": 0.8}
    ).to_json()
    assert quality == json.loads((tmp_path / "quality.json").read_text())
    for place, level in ((0, 0), (5, 64), (12, 154), (18, 231)):
        expected, of_class = brute_force(dict.fromkeys(IDS, level))
        found = [curve[place] for curve in quality["overall"].values()]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        for id, name in CATEGORIES:
            assert quality["per_class"][name]["precision"][place] == pytest.approx(
                of_class[id]["right"] / of_class[id]["found"], rel=1e-12
            )
            assert quality["per_class"][name]["recall"][place] == pytest.approx(
                of_class[id]["right"] / of_class[id]["true"], rel=1e-12
            )
    expected, _ = brute_force({0: 128, 1: 128, 3: 205})
    at = quality["at_threshold"]
    assert at.pop("threshold") == 0.5
    np.testing.assert_allclose(list(at.values()), expected, rtol=1e-12)


def test_threshold_of_a_class_may_be_suggested_from_masks_too(tmp_path):
    label_masks(tmp_path)
    assert set(suggest_thresholds(write_mask_quality(tmp_path, make_truth(10)))) == {
        "background",
        "cat",
        "dog",
    }


def test_truth_that_is_ignored_everywhere_gives_no_figures():
    quality = measure([pair([[255, 255]], [[0, 1]], [[200, 200]])])
    assert quality["overall"] == {key: [None] * 20 for key in ("precision", "recall", "miou", "coverage")}
    assert quality["calibration"]["expected_calibration_error"] is None


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (make_truth(8), r"truth has no labels for 2 images of pseudo:.*image-8"),
        (make_truth(10, categories=CATEGORIES[:2]), "same categories"),
        (
            make_truth(10, lambda index: true_mask(index)[:, :8]),
            "image-0: the true mask has 6 x 8 pixels, the pseudo mask 6 x 9",
        ),
        (
            make_truth(10, lambda index: np.full_like(true_mask(index), 9)),
            r"image-0: the true mask holds the classes \[9\] .*expected 0 to 3, or 255",
        ),
        (make_source(10, categories=CATEGORIES), r"image-0: its labels \['image_id'\] hold no mask"),
    ],
)
def test_truth_that_does_not_fit_is_named_and_nothing_is_written(tmp_path, truth, message):
    label_masks(tmp_path)
    with pytest.raises(InputError, match=message):
        write_mask_quality(tmp_path, truth)
    assert not (tmp_path / "quality.json").exists()


def spoilt_mask(index):
    """Image 2 cannot be read, 4 has another size, 7 an unknown class; 3, ignored throughout, is good."""
    if index == 2:
        raise InputError("2.png is damaged")
    mask = true_mask(index)
    return {4: mask[:, :8], 7: np.full_like(mask, 9), 3: np.full_like(mask, 255)}.get(index, mask)


def test_bad_truth_is_skipped_up_to_the_limit_and_counted(tmp_path):
    label_masks(tmp_path)
    quality = write_mask_quality(tmp_path, make_truth(10, spoilt_mask), max_bad_images=3).to_json()
    assert quality["bad_truth"] == json.loads((tmp_path / "quality.json").read_text())["bad_truth"] == 3
    good = [pair(spoilt_mask(index), *make_maps(index)) for index in range(10) if index not in (2, 4, 7)]
    assert quality == {**measure(good, CATEGORIES), "bad_truth": 3}
    assert write_mask_quality(tmp_path, make_truth(10), max_bad_images=3).bad_truth == 0


def test_more_bad_truth_than_allowed_is_refused_with_the_first_five(tmp_path):
    label_masks(tmp_path)
    with pytest.raises(InputError, match=r"truth: 3 true masks are bad, allowed are 2 \(config.data.max_bad"):
        write_mask_quality(tmp_path, make_truth(10, spoilt_mask), max_bad_images=2)
    with pytest.raises(InputError, match=r"8 true masks .* allowed are 0 ") as error:
        write_mask_quality(tmp_path, make_truth(10, lambda index: true_mask(index)[:, : 7 + index // 4]))
    assert [f"image-{index}:" in str(error.value) for index in range(8)] == [True] * 5 + [False] * 3
    assert not (tmp_path / "quality.json").exists()


def test_damaged_pseudo_masks_are_never_taken_for_bad_truth(tmp_path):
    label_masks(tmp_path)
    shard = next(tmp_path.glob("*.tfrecord*"))
    content = bytearray(shard.read_bytes())
    content[20:60] = bytes(40)
    shard.write_bytes(content)
    with pytest.raises(InputError, match=shard.name):
        write_mask_quality(tmp_path, make_truth(10), max_bad_images=10)
