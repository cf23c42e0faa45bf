"""A user's own COCO files and image folder: what the readers, doctor and pseudo-label rules make of them."""

import json
import pathlib

import pytest

from selftrain_jax.build.data import build_augment, build_sources, check_augment
from selftrain_jax.build.experiment import build_experiment
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.tasks.config_values import class_thresholds_by_name
from selftrain_jax.types import Category

pytestmark = pytest.mark.tf


def test_own_files_open_as_sources(config) -> None:
    sources = build_sources(config)
    assert [len(s) for s in (sources.human, sources.unlabeled, sources.val, sources.test)] == [3, 2, 2, 2]
    assert sources.unlabeled_truth is None
    assert [category.name for category in sources.human.categories] == list("0123456789")


def test_doctor_passes_sound_data_and_writes_its_page(config, tmp_path: pathlib.Path, capsys) -> None:
    run_job("doctor", config, tmp_path / "run")
    assert (tmp_path / "run" / "doctor.html").exists()
    assert "train" in capsys.readouterr().out


def test_doctor_counts_as_labelled_what_keeps_its_labels(config, tmp_path: pathlib.Path) -> None:
    config.data.label_percent, config.unlabeled.kind = 34.0, "remainder"  # one of three
    run_job("doctor", config, tmp_path / "run")
    splits = json.loads((tmp_path / "run" / "doctor.json").read_text())["splits"]
    assert {split["split"]: split["num_images"] for split in splits} == {
        "train": 1,
        "val": 2,
        "test": 2,
        "unlabelled": 2,
    }


def test_doctor_finds_a_broken_box_and_a_truncated_image_and_fails(
    config, tmp_path: pathlib.Path, capsys
) -> None:
    path = tmp_path / "annotations" / "train.json"
    truth = json.loads(path.read_text())
    truth["annotations"][0]["bbox"][2] = 0
    path.write_text(json.dumps(truth))
    image = tmp_path / "more" / "0.png"
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(InputError, match="errors"):
        run_job("doctor", config, tmp_path / "run")
    output = capsys.readouterr().out
    assert "zero_area" in output or "no area" in output
    found = json.loads((tmp_path / "run" / "doctor.json").read_text())
    assert "zero_area" in json.dumps(found)
    assert "0.png" in json.dumps(found)


def test_splits_with_other_classes_are_refused(config, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "annotations" / "val.json"
    truth = json.loads(path.read_text())
    truth["categories"][0]["name"] = "nought"
    path.write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"nought.*config.data.classes"):
        build_sources(config)


def test_batch_that_the_devices_do_not_divide_names_the_key(config) -> None:
    config.teacher.batch_size = 3
    with pytest.raises(InputError, match=r"config.teacher.batch_size=3: .* 2 devices .* use 2 or 4"):
        build_experiment(config, (Category(1, "a"),))


def test_teacher_that_may_find_more_boxes_than_a_batch_has_slots_is_refused(config) -> None:
    config.image.max_boxes = 99
    with pytest.raises(InputError, match=r"max_detections=100 .*max_boxes=99"):
        _build_two_classes(config)


def _build_two_classes(config) -> None:
    build_experiment(config, (Category(1, "a"), Category(2, "b")))


@pytest.mark.parametrize(
    ("key", "value", "build", "words"),
    [
        ("model.backbone", "resnet51", _build_two_classes, "resnet50"),
        ("selftrain.loss_norm", "mean", _build_two_classes, "ema, plain"),
        ("data.kind", "yolo", build_sources, "coco"),
        ("augment.policy", "s5", build_augment, "s1"),
        ("augment.box_fit", "oval", build_augment, "corners, ellipse"),
        ("student.pseudo_policy", "s5", check_augment, "config.student.pseudo_policy='s5'.*s1"),
        ("teacher.policy", "strong", check_augment, "config.teacher.policy='strong'.*s1"),
    ],
)
def test_value_that_does_not_exist_lists_those_that_do(
    config, key: str, value: str, build, words: str
) -> None:
    section, name = key.split(".")
    config[section][name] = value
    with pytest.raises(InputError, match=words):
        build(config)


def test_per_class_thresholds_are_read_and_refused(config) -> None:
    config.pseudo.per_class_thresholds = "person=0.4,traffic light=0.6"
    assert class_thresholds_by_name(config) == {"person": 0.4, "traffic light": 0.6}
    config.pseudo.per_class_thresholds = "person:0.4"
    with pytest.raises(InputError, match="name=score"):
        class_thresholds_by_name(config)
