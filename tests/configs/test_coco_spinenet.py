import json
import pathlib

import pytest

from configs import coco_spinenet
from selftrain_jax.build.experiment import build_schedule
from selftrain_jax.models.spinenet import SIZES

SCHEDULES = json.loads((pathlib.Path(__file__).parents[1] / "golden/schedules.json").read_text())


def test_sizes_are_the_networks():
    for name, size in coco_spinenet.SIZES.items():
        own = SIZES[name]
        assert (size.image_size_px, size.anchor_size) == (own.image_size_px, own.anchor_size)
    assert set(coco_spinenet.SIZES) == set(SIZES)


def test_released_schedule_gives_the_official_numbers():
    """Warm-up from 0.0067, a tenth at 217,610 and at 226,870 of 231,500 steps."""
    (case,) = SCHEDULES["step_decay"]
    config = coco_spinenet.get_config("size=143,settings=released")
    for stage in ("teacher", "student"):
        schedule, num_steps = build_schedule(config, stage)
        assert num_steps == 231_500
        for step, expected in case["values"].items():
            assert schedule(int(step)) == pytest.approx(expected, rel=1e-5), step


def test_released_schedule_of_190_drops_at_171310_and_180570():
    schedule, num_steps = build_schedule(coco_spinenet.get_config("size=190,settings=released"), "teacher")
    assert num_steps == 185_200
    assert schedule(0) == pytest.approx(0.0067)
    rates = [schedule(step) for step in (2000, 171_309, 171_310, 180_569, 180_570, 185_199)]
    assert rates == pytest.approx([0.3, 0.3, 0.03, 0.03, 0.003, 0.003])


@pytest.mark.parametrize(("size", "steps", "alpha"), [("143", 472_000, 0.25), ("190", 370_000, 0.5)])
def test_paper_settings_are_table_5s(size, steps, alpha):
    config = coco_spinenet.get_config(f"size={size},settings=paper")
    assert config.teacher.steps == config.student.steps == steps
    assert (config.selftrain.alpha, config.image.size_px) == (alpha, 1280)
    assert (config.teacher.batch_size, config.teacher.learning_rate) == (128, 0.16)
    assert (config.unlabeled.tfds, config.postprocess.soft_nms_sigma) == ("open_images_v4", 0.3)
    assert (config.augment.policy, config.teacher.policy, config.student.policy) == ("s3", "s1", "")
    assert (config.model.activation, config.optimizer.schedule) == ("swish", "cosine")


@pytest.mark.parametrize(
    ("size", "jitter", "epsilon"), [("49s", (0.5, 2.0), 1e-4), ("190", (0.1, 1.9), 1e-3)]
)
def test_released_settings_are_the_authors_files(size, jitter, epsilon):
    config = coco_spinenet.get_config(f"size={size},settings=released")
    assert (config.augment.policy, config.augment.jitter_min, config.augment.jitter_max) == ("s1", *jitter)
    assert (config.model.bn_epsilon, config.model.bn_momentum) == (epsilon, 0.997)
    assert (config.optimizer.weight_decay, config.optimizer.clip_norm) == (4e-5, 10)
    assert (config.teacher.batch_size, config.postprocess.soft_nms_sigma) == (256, 0)


def test_arguments_override_the_sizes():
    config = coco_spinenet.get_config(
        "size=49,alpha=2,labels=20,unlabeled=remainder,seed=3,student_init=rand"
    )
    assert (config.selftrain.alpha, config.data.label_percent, config.seed) == (2, 20, 3)
    assert (config.unlabeled.kind, config.student.init) == ("remainder", "rand")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("size=50", "size='50' is not one of 49s, 49, 96, 143, 190"),
        ("settings=both", "settings='both' is not one of paper, released"),
        ("settings=paper,settings=released", "'settings' is given twice"),
        ("unlabeled=jft", "imagenet, openimages, remainder"),
        ("setings=paper", "did you mean 'settings'"),
    ],
)
def test_arguments_that_do_not_exist_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        coco_spinenet.get_config(arguments)
