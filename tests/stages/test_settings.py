"""The table of deciding keys covers every key of the config, and says what decides what."""

import pytest
from ml_collections import ConfigDict

from configs import common, quickstart
from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.arms import COMPARED
from selftrain_jax.stages.choices import compared_kinds
from selftrain_jax.stages.settings import (
    BY_CONTENT,
    FREE,
    STAGES,
    deciding_settings,
    is_among,
    stages_decided_by,
)
from selftrain_jax.tasks.lookup import TASKS

TABLE = tuple(key for keys in STAGES.values() for key in keys)


@pytest.mark.parametrize("key", sorted(flatten(common.get_config().to_dict())))
def test_every_key_of_the_config_is_in_the_table_or_free(key: str) -> None:
    assert is_among(key, TABLE) or is_among(key, BY_CONTENT) or is_among(key, FREE)


def test_what_is_free_decides_no_stage() -> None:
    known = sorted(flatten(common.get_config().to_dict()))
    free = [key for key in known if is_among(key, FREE)]
    assert len(free) > 30
    candidates = "eval.every_steps"  # decides which checkpoint is the best, not what the last one is
    assert [key for key in free if stages_decided_by(key) and key != candidates] == []


@pytest.mark.parametrize("entry", sorted({*TABLE, *BY_CONTENT, *FREE} - {"pretrain"}))
def test_no_entry_of_the_table_has_gone(entry: str) -> None:
    assert any(is_among(key, (entry,)) for key in flatten(common.get_config().to_dict()))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_idle_keys_exist(task) -> None:
    known = flatten(common.get_config().to_dict())
    for idle in task.idle_keys:
        assert any(is_among(key, (idle,)) for key in known)


# Every key that decides something, one a line as one would look it up; what it must not decide is as telling.
@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("seed", ["teacher", *COMPARED, "student", "pretrain"]),
        ("teacher.steps", ["teacher"]),
        ("teacher.learning_rate", ["teacher"]),
        ("student.steps", [*COMPARED, "student"]),
        ("teacher.patience", ["teacher"]),
        ("student.patience", [*COMPARED, "student"]),
        ("student.rate_factor", [*COMPARED, "student"]),
        ("student.batch_norm", [*COMPARED, "student"]),
        ("student.pseudo_frac", ["control_half", "student"]),
        ("data.sampling", ["teacher", *COMPARED, "student"]),
        ("data.repeat_threshold", ["teacher", *COMPARED, "student"]),
        ("pseudo.sampling", ["student"]),
        ("unlabeled.weight", ["student"]),
        ("pseudo.mask_top_k", ["labels"]),
        ("pseudo.mask_target", ["student"]),
        ("selftrain.alpha", ["student"]),
        ("pseudo.threshold", ["student"]),
        ("pseudo.ignore_below", ["student"]),
        ("pseudo.score_floor", ["labels"]),
        ("pseudo.views", ["labels"]),
        ("pseudo.labels", ["labels"]),
        ("foreign.unpredicted", ["labels"]),
        ("foreign.predictions", []),  # by content
        ("foreign.model", []),
        ("pseudo.box_weight", ["student"]),
        ("pseudo.max_place_std", ["student"]),
        ("pseudo.class_weight", ["student"]),
        ("pseudo.class_target", ["student"]),
        ("postprocess.iou_threshold", ["labels", "evaluation"]),
        ("eval.backend", ["evaluation"]),
        ("model.backbone", ["teacher", "labels", *COMPARED, "student", "evaluation", "pretrain"]),
        ("optimizer.remat", []),
        ("eval.batch_size", []),
        ("mesh.space", []),
        ("image.max_boxes", []),
        ("image.tile_px", ["teacher", "labels", *COMPARED, "student", "evaluation", "pretrain"]),
        ("image.tile_overlap_frac", ["teacher", "labels", *COMPARED, "student", "evaluation", "pretrain"]),
        ("image.tile_min_visible", ["teacher", *COMPARED, "student", "pretrain"]),
        ("no.such_key", []),
    ],
)
def test_stages_that_a_key_decides(key: str, stages: list[str]) -> None:
    assert stages_decided_by(key) == stages


@pytest.mark.parametrize("stage", ["teacher", "labels", *COMPARED, "student", "evaluation"])
def test_a_key_changes_the_settings_of_the_stages_that_it_decides_and_of_no_other(stage: str) -> None:
    before = deciding_settings(quickstart.get_config(), stage)
    for key, value in [("teacher.steps", 7), ("selftrain.alpha", 0.25), ("pseudo.threshold", 0.9)]:
        config = quickstart.get_config()
        config.update_from_flattened_dict({key: value})
        is_changed = deciding_settings(config, stage) != before
        assert is_changed == (stage in stages_decided_by(key))


def test_sources_decide_the_student_where_there_are_several() -> None:
    alone, weighted, several = (quickstart.get_config() for _ in range(3))
    weighted.unlabeled.weight = 2.0
    assert deciding_settings(alone, "student") == deciding_settings(weighted, "student")
    several.unlabeled.also.rest = common.unlabeled_source(kind="remainder", weight=0.5)
    found = deciding_settings(several, "student")
    added = {key: found[key] for key in found.keys() - deciding_settings(alone, "student").keys()}
    assert added == {
        "unlabeled.weight": 1.0,
        "unlabeled.also.rest.weight": 0.5,
        "unlabeled.also.rest.threshold": -1.0,
        "unlabeled.also.rest.per_class_thresholds": "",
    }
    for stage in ("teacher", "labels", "control", "evaluation"):
        assert deciding_settings(several, stage) == deciding_settings(alone, stage)
    several.unlabeled.also.rest.kind = "none"
    assert deciding_settings(several, "student") == deciding_settings(alone, "student")


def test_a_policy_of_its_own_is_the_same_as_one_of_all_stages() -> None:
    own, common_one = quickstart.get_config(), quickstart.get_config()
    own.student.policy = "s4"
    common_one.augment.policy = "s4"
    assert deciding_settings(own, "student") == deciding_settings(common_one, "student")
    assert deciding_settings(own, "teacher") == deciding_settings(quickstart.get_config(), "teacher")
    assert deciding_settings(common_one, "teacher") != deciding_settings(own, "teacher")


def test_a_rate_by_factor_is_the_same_as_one_by_value() -> None:
    by_factor, by_value = quickstart.get_config(), quickstart.get_config()
    by_factor.student.rate_factor = 0.5
    by_value.student.learning_rate = 0.5 * by_value.teacher.learning_rate
    for stage in ("control", "student"):
        assert deciding_settings(by_factor, stage) == deciding_settings(by_value, stage)
        assert deciding_settings(by_factor, stage) != deciding_settings(quickstart.get_config(), stage)
    assert deciding_settings(by_factor, "teacher") == deciding_settings(quickstart.get_config(), "teacher")
    assert "student.rate_factor" not in deciding_settings(by_factor, "student")


def test_a_policy_of_pseudo_labelled_images_counts_where_it_is_another() -> None:
    own, same = quickstart.get_config(), quickstart.get_config()
    own.student.pseudo_policy, same.student.pseudo_policy = "s4", same.augment.policy
    assert deciding_settings(same, "student") == deciding_settings(quickstart.get_config(), "student")
    assert deciding_settings(own, "student") != deciding_settings(same, "student")
    assert deciding_settings(own, "control") == deciding_settings(same, "control")


def test_joint_training_counts_where_it_takes_place() -> None:
    config = quickstart.get_config()
    config.joint.update(weight=0.5, stage="student")
    assert deciding_settings(config, "student")["joint.weight"] == 0.5
    assert all("joint.weight" in deciding_settings(config, stage) for stage in COMPARED)
    assert "joint.weight" not in deciding_settings(config, "teacher")
    config.joint.stage = "pupil"
    with pytest.raises(InputError, match="'pupil' is not one of teacher, student, both"):
        deciding_settings(config, "student")


def test_keys_that_a_task_does_not_read_do_not_count() -> None:
    assert "loss.box_weight" in deciding_settings(quickstart.get_config(), "teacher")
    assert "loss.box_weight" not in deciding_settings(quickstart.get_config(), "teacher", ("loss",))
    assert stages_decided_by("loss.box_weight", ("loss",)) == []


@pytest.mark.parametrize(
    ("asked", "oracle", "kinds"),
    [
        ("full", False, ("control",)),
        ("half", False, ("control_half",)),
        ("both", True, ("control", "control_half", "oracle")),
        ("none", False, ()),
        ("none", True, ("oracle",)),
        (True, False, ("control",)),  # as old config.json files have it
        (False, False, ()),
        ("True", False, ("control",)),  # as old commands have it
        ("false", True, ("oracle",)),
    ],
)
def test_controls_and_oracle_are_those_that_were_asked_for(
    asked: str | bool, oracle: bool, kinds: tuple[str, ...]
) -> None:
    config = ConfigDict({"student": {"control": asked, "oracle": oracle}})
    assert compared_kinds(config) == kinds


def test_a_config_from_before_the_oracle_has_its_control() -> None:
    assert compared_kinds(ConfigDict({"student": {"steps": 6}})) == ("control",)


def test_a_control_that_does_not_exist_is_refused() -> None:
    config = ConfigDict({"student": {"control": "quarter", "oracle": False}})
    with pytest.raises(
        InputError, match=r"config\.student\.control='quarter' is not one of full, half, both, none"
    ):
        compared_kinds(config)


def test_labels_of_other_models_do_not_depend_on_our_network() -> None:
    config = common.get_config()
    old = deciding_settings(config, "labels")
    assert not [key for key in old if key.startswith("foreign.")]
    config.pseudo.labels = "foreign"
    now = deciding_settings(config, "labels")
    assert set(now) == {
        *("task", "pseudo.labels", "pseudo.score_floor", "pseudo.images_per_shard"),
        *("foreign.unpredicted", "foreign.bad_boxes"),
    }
    config.pseudo.labels = "both"
    assert {*old, *now} == set(deciding_settings(config, "labels"))
