import json
import pathlib

import pytest

from configs import voc_nasfpn
from selftrain_jax.build.experiment import build_schedule
from selftrain_jax.models.segmenter import make_segmenter
from selftrain_jax.pretrain.official_networks import NUM_VOC_CLASSES, make_network

SCHEDULES = json.loads((pathlib.Path(__file__).parents[1] / "golden/schedules.json").read_text())


def segmenter_of(config):
    fields = {**config.model.to_dict(), "dtype": "float32"}
    del fields["anchor_size"]
    return make_segmenter(num_classes=NUM_VOC_CLASSES, **fields)


@pytest.mark.parametrize("backbone", ["b7", "l2"])
@pytest.mark.parametrize("settings", ["paper", "released"])
def test_the_network_is_the_released_one(backbone, settings):
    config = voc_nasfpn.get_config(f"backbone={backbone},settings={settings}")
    assert segmenter_of(config) == make_network(f"seg_{backbone}_nasfpn")
    assert (config.task, config.image.size_px) == ("segmentation", 512)
    assert config.segmentation.loss_resolution == "stride4"


def test_released_schedule_gives_the_official_numbers():
    """Warm-up from 0.001 to 0.08 over 500 steps, half a cosine to 20,000."""
    case = next(case for case in SCHEDULES["warmup_cosine"] if case["peak"] == 0.08)
    config = voc_nasfpn.get_config("backbone=b7,settings=released")
    for stage in ("teacher", "student"):
        schedule, num_steps = build_schedule(config, stage)
        assert num_steps == case["total_steps"] == 20_000
        for step, expected in case["values"].items():
            assert schedule(int(step)) == pytest.approx(expected, rel=1e-5, abs=1e-9), step


@pytest.mark.parametrize(
    ("backbone", "settings", "steps", "peak"),
    [
        ("b7", "paper", 40_000, 0.08),
        ("l2", "paper", 20_000, 0.2),
        ("b7", "released", 20_000, 0.08),
        ("l2", "released", 20_000, 0.2),
    ],
)
def test_steps_and_learning_rate_by_backbone_and_settings(backbone, settings, steps, peak):
    config = voc_nasfpn.get_config(f"backbone={backbone},settings={settings}")
    for stage in ("teacher", "student"):
        schedule, num_steps = build_schedule(config, stage)
        assert num_steps == steps
        assert [schedule(0), schedule(500)] == pytest.approx([0.001, peak])
    assert config.optimizer.schedule == "cosine"


def test_human_and_pseudo_halves_are_256_or_for_l2_128():
    b7, l2 = voc_nasfpn.get_config("backbone=b7"), voc_nasfpn.get_config("backbone=l2")
    assert (b7.teacher.batch_size, b7.student.batch_size) == (256, 256 + 256)
    assert (l2.teacher.batch_size, l2.student.batch_size) == (256, 128 + 128)


def test_defaults_are_table_6s_first_student():
    config = voc_nasfpn.get_config()
    assert config == voc_nasfpn.get_config("backbone=b7,settings=paper,aug=s4,init=imagenet_pp,labels=train")
    assert (config.augment.policy, config.augment.jitter_max) == ("s4", 0.0)  # the policy's own 0.5-2.0
    assert (config.data.kind, config.data.train, config.data.test) == ("voc", "train", "val")
    assert (config.unlabeled.kind, config.unlabeled.split) == ("voc", "aug")
    assert (config.teacher.init, config.student.init) == ("imagenet_pp", "teacher")
    assert (config.selftrain.alpha, config.pseudo.threshold) == (1.0, 0.5)
    assert config.pseudo.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    assert (config.pseudo.flip, config.evaluate.scales) == (False, (1.0,))
    assert (config.optimizer.weight_decay, config.optimizer.clip_norm) == (1e-5, 10)


def test_released_settings_have_no_policy_and_another_jitter():
    config = voc_nasfpn.get_config("settings=released")
    assert (config.augment.policy, config.augment.jitter_min, config.augment.jitter_max) == ("s1", 0.2, 1.5)
    config = voc_nasfpn.get_config("settings=released,aug=s4")
    assert (config.augment.policy, config.augment.jitter_max) == ("s4", 1.5)


@pytest.mark.parametrize(
    ("unlabeled", "kind", "tfds"),
    [("imagenet", "tfds", "imagenet2012"), ("coco", "folder", ""), ("none", "none", "")],
)
def test_unlabeled_images_are_of_the_named_data_set(unlabeled, kind, tfds):
    config = voc_nasfpn.get_config(f"unlabeled={unlabeled},labels=train_aug")
    assert (config.unlabeled.kind, config.unlabeled.tfds, config.data.train) == (kind, tfds, "train_aug")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("backbone=b0", "backbone='b0' is not one of b7, l2"),
        ("settings=both", "settings='both' is not one of paper, released"),
        ("labels=aug", "labels='aug' is not one of train, trainval, train_aug"),
        ("unlabeled=remainder", "unlabeled='remainder' is not one of aug, imagenet, coco, none"),
        ("labels=train_aug", "labels=train_aug has labels for the images of unlabeled=aug"),
        ("label=train", "did you mean 'labels'"),
        ("alpha=one", "not a float"),
    ],
)
def test_arguments_that_do_not_exist_or_contradict_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        voc_nasfpn.get_config(arguments)
