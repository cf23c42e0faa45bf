"""The student's labels are opened, counted and compared at the thresholds that `auto` advised."""

import dataclasses

import numpy as np
import pytest

from configs import common
from selftrain_jax.tasks.config_values import LabelThresholds
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.tasks.spec import HumanLabels
from selftrain_jax.types import IGNORED
from tests.tasks.detection.pseudo import pseudo_toy
from tests.tasks.segmentation.pseudo import mask_toy

pytestmark = pytest.mark.tf  # the toy folders are made of records


def test_boxes_are_opened_with_advised_thresholds_and_band(tmp_path):
    # In image i there is a cat of score i/100 and a dog of 0.3.
    pseudo_toy.label(tmp_path, 60, per_class_thresholds={"cat": 0.4, "dog": 0.3})
    human = HumanLabels(pseudo_toy.CATEGORIES, {"cat": 1, "dog": 1})
    thresholds = LabelThresholds({"cat": 0.4, "dog": 0.3}, 0.2)
    open_labels = get_self_training("detection").open_labels
    labels = open_labels(common.get_config(), tmp_path, human, thresholds)
    without_cats = thresholds._replace(ignored=("cat",))
    ignored = open_labels(common.get_config(), tmp_path, human, without_cats).read_labels(40)
    assert (ignored["classes"].tolist(), ignored["is_ignore"].tolist()) == ([1, 7], [True, False])
    found = {index: labels.read_labels(index) for index in (10, 20, 39, 40)}
    assert [x["classes"].tolist() for x in found.values()] == [[7], [1, 7], [1, 7], [1, 7]]
    assert [x["is_ignore"].tolist() for x in found.values()] == [
        *[[False], [True, False], [True, False], [False, False]]
    ]


def open_mask(directory, thresholds):
    """Label three toy images, and return the mask of the second as the student gets it."""
    mask_toy.label_masks(directory, 3)
    human = HumanLabels(mask_toy.CATEGORIES, {"background": 30, "cat": 18, "dog": 6})
    config = common.get_config()
    config.task = "segmentation"
    labels = get_self_training("segmentation").open_labels(config, directory, human, thresholds)
    return labels.read_labels(1)["mask"]


def test_masks_are_opened_with_advised_thresholds(tmp_path):
    mask, confidence = mask_toy.make_maps(1)
    least = np.where(mask == 1, 192, 128)
    found = open_mask(tmp_path, LabelThresholds({"cat": 0.75}, 0.0))
    np.testing.assert_array_equal(found, np.where(confidence >= least, mask, IGNORED))


def test_pixels_of_an_ignored_class_are_ignored_whatever_their_confidence(tmp_path):
    mask, confidence = mask_toy.make_maps(1)
    assert (confidence[mask == 1] >= 128).any()
    found = open_mask(tmp_path, LabelThresholds({"cat": 1.0}, 0.0, ("cat",)))
    np.testing.assert_array_equal(found, np.where((mask != 1) & (confidence >= 128), mask, IGNORED))


def test_quality_is_measured_at_advised_thresholds(tmp_path):
    manifest = pseudo_toy.label(tmp_path, 10, per_class_thresholds={"dog": 0.3})
    assert manifest["per_class_thresholds"] == {"dog": 0.3}
    truth = dataclasses.replace(
        pseudo_toy.make_source(10, name="truth"),
        categories=pseudo_toy.CATEGORIES,
        read_labels=lambda index: {
            "image_id": f"image-{index}",
            "boxes": np.zeros((0, 4), np.float32),
            "classes": np.zeros(0, np.int32),
        },
    )
    self_training, config = get_self_training("detection"), common.get_config()
    for dog, precision in ((0.3, 0.0), (0.31, None)):
        thresholds = LabelThresholds({"dog": dog}, 0.0)
        self_training.write_quality(config, tmp_path, truth, thresholds)
        assert (
            f'"precision": {"null" if precision is None else precision}'
            in (tmp_path / "quality.json").read_text().partition("at_threshold")[2]
        )


@pytest.mark.parametrize(
    ("task", "settings", "pixels"),
    [
        ("detection", {}, 128**2),
        ("detection", {"pseudo.views": "1"}, 128**2),
        ("detection", {"pseudo.views": "1,1f,0.75,1.25"}, 3 * 128**2 + 256**2),  # padded to multiples of 128
        ("segmentation", {"pseudo.scales": [1.0, 0.5], "pseudo.flip": True}, 2 * (128**2 + 64**2)),
    ],
)
def test_pixels_that_a_teacher_sees_of_an_image_are_those_of_all_its_views(task, settings, pixels):
    settings = {"image.size_px": 128, "model.max_level": 7, **settings}
    assert get_self_training(task).label_pixels(settings) == pixels
