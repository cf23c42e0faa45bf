"""The teacher measured on val, by a teacher that reads masks off pictures; and the command itself."""

import json
import shutil

import numpy as np
import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.calibration import calibrate
from selftrain_jax.jobs.thresholds import format_advice
from selftrain_jax.run_files.calibration import TeacherCalibration
from selftrain_jax.selftrain.threshold_advice import advise
from selftrain_jax.tasks.lookup import get_self_training
from selftrain_jax.tasks.segmentation.pseudo.calibration import count_right_pixels
from selftrain_jax.tasks.segmentation.run_files import MaskSettings
from selftrain_jax.tasks.spec import Predictor
from tests.selftrain.test_calibration import calibration, curve
from tests.tasks.segmentation.pseudo.mask_toy import CATEGORIES, make_labeller, make_maps, make_source
from tests.tiny_run import run


def unused(*_):
    raise AssertionError


def make_val(num_images=6, wrong=(), bad=()):
    """What the teacher says is true, but for images in `wrong`, which are all background."""

    def read_labels(index):
        mask, _ = make_maps(index)
        return {"image_id": f"image-{index}", "mask": mask * 0 if index in wrong else mask}

    return make_source(num_images, bad, "toy/val", read_labels, CATEGORIES)


class Teacher:
    """Counts how often it is asked to label."""

    def __init__(self):
        self.num_labelled = 0

    def labeller(self, models, source):
        labeller = make_labeller(source)

        def infer(chunks):
            self.num_labelled += 1
            return labeller.infer(chunks)

        return labeller._replace(infer=infer)


def measure(workdir, teacher, *, val=None, weights=(1.0,), replace=True, config=None):
    (workdir / "teacher").mkdir(exist_ok=True)
    if config is None:
        config = common.get_config()
    return calibrate(
        config,
        workdir / "teacher",
        val=make_val() if val is None else val,
        self_training=get_self_training("segmentation"),
        predictor=Predictor(unused, unused, None, teacher.labeller, unused),
        teacher=([{"params": {"a": np.full(3, weight, np.float32)}} for weight in weights], 9),
        replace=replace,
    )


def test_calibration_is_the_tasks_count_over_all_images_and_kept_in_the_teachers_folder(tmp_path):
    val = make_val(wrong=(1, 4))
    found = measure(tmp_path, Teacher(), val=val)
    pairs = []
    for index in range(len(val)):
        mask, confidence = make_maps(index)
        pairs.append((val.read_labels(index), {"image_id": "a", "mask": mask, "confidence": confidence}))
    assert found.curves == count_right_pixels(pairs, CATEGORIES, MaskSettings()).curves
    assert found.curves["pixels"]["cat"].num_right[0] < found.curves["pixels"]["cat"].num_labels[0]
    assert (found.split, found.num_images, found.teacher.step) == ("toy/val", 6, 9)
    path = tmp_path / "teacher" / "calibration.json"
    assert TeacherCalibration.from_json(json.loads(path.read_text()), path) == found


def test_val_is_labelled_once_for_each_teacher(tmp_path):
    teacher = Teacher()
    first = measure(tmp_path, teacher)
    assert measure(tmp_path, teacher, replace=False) == first
    assert teacher.num_labelled == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": [2.0]}, r"is of another teacher: it holds teacher \{'digest': '\w+"),
        ({"weights": [2.0, 1.0]}, "is of another teacher"),  # two that label together
        ({"val": make_val(5)}, "is of other labelled images"),
        ({"val": make_val(wrong=(2,))}, "is of other labelled images"),
    ],
)
def test_calibration_of_another_teacher_or_other_images_is_refused_or_measured_again(
    tmp_path, capsys, change, words
):
    teacher = Teacher()
    first = measure(tmp_path, teacher)
    with pytest.raises(InputError, match=words + r".*--job=thresholds measures it again"):
        measure(tmp_path, teacher, replace=False, **change)
    assert teacher.num_labelled == 1
    again = measure(tmp_path, teacher, **change)
    assert teacher.num_labelled == 2
    assert again != first
    assert "it is measured again" in capsys.readouterr().out
    assert measure(tmp_path, teacher, replace=False, **change) == again


def test_other_label_settings_are_noticed(tmp_path):
    measure(tmp_path, Teacher())
    config = common.get_config()
    config.pseudo.scales = (1.0,)
    with pytest.raises(InputError, match="is of labels made otherwise"):
        measure(tmp_path, Teacher(), replace=False, config=config)


def test_val_that_the_teacher_was_trained_on_or_that_is_empty_is_refused(tmp_path):
    config = common.get_config()
    config.data.val = "train"
    with pytest.raises(InputError, match=r"config\.data\.val='train' is config\.data\.train too"):
        measure(tmp_path, Teacher(), config=config)
    with pytest.raises(InputError, match="toy/val has no image"):
        measure(tmp_path, Teacher(), val=make_val(0))
    assert not (tmp_path / "teacher" / "calibration.json").exists()


def test_val_that_is_test_too_is_warned_of(tmp_path, capsys):
    config = common.get_config()
    config.data.val = config.data.test
    measure(tmp_path, Teacher(), config=config)
    assert "warning: config.data.val and config.data.test are both 'test'" in capsys.readouterr().out


def test_image_that_does_not_decode_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="image-2"):
        measure(tmp_path, Teacher(), val=make_val(bad=(2,)))
    assert not (tmp_path / "teacher" / "calibration.json").exists()


def boxes_of_three_classes():
    """30 right cats from 0.7 on; 5 owls, too few; dogs that are right half of the time."""
    curves = {
        "cat": curve(40, [500, 60, 30], [35, 35, 30]),
        "big, wet dog": curve(90, [90, 80, 70], [45, 40, 35]),
        "owl": curve(9, [5, 5, 5], [5, 5, 5]),
    }
    return calibration({"IoU 0.5": curves, "IoU 0.75": curves}, (0.05, 0.3, 0.7))


def test_table_says_what_is_refused_and_what_is_not_reached():
    found = boxes_of_three_classes()
    title, head, cat, dog, owl, pooled, *_ = format_advice(found, advise(found, 0.9, 0.5)).splitlines()
    assert title == ("thresholds for a precision of 0.9, by 9 images of toy/val and the teacher at step 9")
    assert head.split() == [
        *["class", "threshold", "precision", "90", "%", "interval", "at", "IoU", "0.75", "recall", "boxes"]
    ]
    assert cat.split() == ["cat", "0.70", "1.000", "0.92", "to", "1.00", "1.000", "0.750", "30"]
    assert dog.endswith("not reached, nearest")
    assert owl.split()[:2] == ["owl", "0.50"]
    assert owl.endswith("too few: 20 boxes missing")
    assert pooled.startswith("all classes")


def test_flags_to_paste_hold_the_advice():
    found = boxes_of_three_classes()
    lines = format_advice(found, advise(found, 0.9, 0.5)).splitlines()
    assert "  --config.pseudo.per_class_thresholds=cat=0.7 --config.pseudo.ignore_below=0.05" in lines
    assert "  --config.pseudo.thresholds=auto --config.pseudo.precision=0.9" in lines
    assert any("1 of 3 classes, for which config.pseudo.threshold=0.5 stays: owl." in line for line in lines)
    assert any(
        "A name with a comma cannot be in a flag, only in auto: big, wet dog" in line for line in lines
    )


def test_nothing_to_paste_for_masks_without_advice():
    few = {"pixels": {"cat": curve(9, [5, 5, 5], [5, 5, 5], [1, 1, 1])}}
    found = calibration(few, (0.0, 0.3, 0.7), trials="images")
    lines = format_advice(found, advise(found, 0.9, 0.5)).splitlines()
    assert lines[-1] == "there is nothing to set"
    assert "too few: 24 images missing" in lines[2]


@pytest.mark.compiles
def test_commands_measure_a_trained_teacher_and_print_flags(tmp_path):
    workdir = tmp_path / "run"
    status, output = run(workdir, "--job=thresholds")
    assert status == 2
    assert "teacher is not finished; run --job=train --stage=teacher first" in output
    assert run(workdir, "--job=train")[0] == 0
    status, first = run(workdir, "--job=thresholds")
    assert status == 0, first
    assert "thresholds for a precision of 0.9, by 4 images of builtin/val" in first
    assert "too few: 2" in first
    before = (workdir / "teacher" / "calibration.json").read_bytes()
    status, again = run(workdir, "--job=thresholds")
    assert status == 0, again
    assert "Finished XLA compilation of jit(predict)" not in again
    assert (workdir / "teacher" / "calibration.json").read_bytes() == before
    files = sorted(path.name for path in workdir.rglob("*"))
    status, views = run(workdir, "--job=views")
    assert status == 0, views
    assert "labels of 4 images of builtin/val, compared" in views
    assert "--config.pseudo.views=1,1f,1.25,1.25f,1.5,1.5f" in views.partition("compared")[2]
    assert sorted(path.name for path in workdir.rglob("*")) == files
    shutil.rmtree(workdir)
