import pytest

from configs import common
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.config_values import LabelThresholds, class_thresholds_by_name, student_thresholds
from tests.selftrain.test_calibration import calibration, curve

# 30 right cats from 0.7 on; 5 dogs, too few to say. Below 0.3 there are junk boxes only.
CUTS = (0.05, 0.3, 0.7)
CURVES = {
    "IoU 0.5": {
        "cat": curve(40, [500, 60, 30], [35, 35, 30]),
        "dog": curve(9, [5, 5, 5], [5, 5, 5]),
    }
}


def config_with(**pseudo):
    config = common.get_config()
    config.pseudo.update(pseudo)
    return config


def test_thresholds_are_the_configs_unless_auto():
    config = config_with(per_class_thresholds="cat=0.4", ignore_below=0.2)
    assert student_thresholds(config) == LabelThresholds({"cat": 0.4}, 0.2)
    assert student_thresholds(config, calibration(CURVES, CUTS)) == LabelThresholds({"cat": 0.4}, 0.2)


def test_auto_reads_thresholds_and_band_off_the_calibration():
    config = config_with(thresholds="auto", ignore_below=0.2)
    assert student_thresholds(config, calibration(CURVES, CUTS)) == LabelThresholds({"cat": 0.7}, 0.3)
    config.pseudo.precision = 0.95  # 52 right boxes are needed, 30 are there
    assert student_thresholds(config, calibration(CURVES, CUTS)).per_class == {}


def test_auto_without_calibration_says_how_to_get_it():
    with pytest.raises(
        InputError, match=r"thresholds=auto needs the teacher's calibration.*--job=thresholds"
    ):
        student_thresholds(config_with(thresholds="auto"))


@pytest.mark.parametrize(
    ("pseudo", "message"),
    [
        ({"thresholds": "yes"}, r"thresholds='yes' is neither empty nor auto"),
        ({"thresholds": "auto", "per_class_thresholds": "cat=0.5"}, "contradict each other"),
        ({"precision": 1.0}, r"precision=1 .* expected above 0 and below 1"),
        ({"precision": 0.0}, r"precision=0 "),
        ({"precision": float("nan")}, r"precision=nan "),
    ],
)
def test_keys_that_make_no_sense_are_refused_before_anything_runs(pseudo, message):
    with pytest.raises(InputError, match=message):
        class_thresholds_by_name(config_with(**pseudo))


def test_auto_on_images_that_the_teacher_trains_on_is_refused():
    config = config_with(thresholds="auto")
    config.data.val = "train"
    with pytest.raises(InputError, match=r"config\.data\.val='train' is config\.data\.train too"):
        class_thresholds_by_name(config)


def test_classes_that_the_teacher_hardly_finds_are_ignored_at_the_thresholds_in_use():
    # cat: 35 of 40 at 0.05, 30 at 0.7; dog: 5 of 9.
    config = config_with(min_class_recall=0.6, threshold=0.05, ignore_below=0.0)
    found = student_thresholds(config, calibration(CURVES, CUTS))
    assert found == LabelThresholds({"dog": 1.0}, 0.0, ("dog",))
    config.pseudo.per_class_thresholds = "cat=0.06"
    found = student_thresholds(config, calibration(CURVES, CUTS))
    assert found == LabelThresholds({"cat": 0.06, "dog": 1.0}, 0.0, ("dog",))
    config.pseudo.min_class_recall = 0.5
    assert student_thresholds(config, calibration(CURVES, CUTS)).ignored == ()


def test_auto_and_ignored_classes_go_together():
    config = config_with(thresholds="auto", min_class_recall=0.7, threshold=0.05)
    found = student_thresholds(config, calibration(CURVES, CUTS))
    assert (found.per_class, found.ignored) == ({"cat": 0.7, "dog": 1.0}, ("dog",))


def test_a_bound_that_leaves_no_class_is_refused_with_the_best_one():
    config = config_with(min_class_recall=0.9, threshold=0.05)
    with pytest.raises(InputError, match=r"=0\.9: .* finds no class that often; the best is 'cat' .* 0\.88"):
        student_thresholds(config, calibration(CURVES, CUTS))
    config.pseudo.min_class_recall = 0.87
    assert student_thresholds(config, calibration(CURVES, CUTS)).ignored == ("dog",)


def test_a_bound_needs_a_calibration_and_images_that_were_not_trained_on():
    config = config_with(min_class_recall=0.1)
    with pytest.raises(InputError, match=r"min_class_recall=0\.1 needs the teacher's calibration.*--job=thr"):
        student_thresholds(config)
    config.data.val = config.data.train
    with pytest.raises(
        InputError, match=r"min_class_recall=0\.1 needs labelled images .*min_class_recall=0\."
    ):
        class_thresholds_by_name(config)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match=rf"min_class_recall={wrong:g} is the share"):
            class_thresholds_by_name(config_with(min_class_recall=wrong))
