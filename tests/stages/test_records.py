"""stage.json: what is compared, what is not, and what a damaged or newer file says."""

import dataclasses
import json
import pathlib

import pytest

from configs import quickstart
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.stage import STAGE_FILE, StageRecord, StageResult
from selftrain_jax.stages.records import (
    METHODS,
    Difference,
    differences,
    finish,
    make_record,
    read_record,
    refuse,
    write_record,
)
from selftrain_jax.stages.settings import deciding_settings

INPUTS = {"start": "random", "labelled images": "200 images, 0a", "val images": "60 images, 0b"}


def record(inputs: dict[str, str] | None = None, **changes: object) -> StageRecord:
    config = quickstart.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    settings = deciding_settings(config, "teacher")
    return make_record("teacher", settings, {**INPUTS, **(inputs or {})}, {"jax": "0.10.2"}, "abc")


def test_a_record_comes_back_as_it_was_written(tmp_path: pathlib.Path) -> None:
    write_record(tmp_path / "teacher", record())
    found = read_record(tmp_path / "teacher")
    assert found == record()
    assert found is not None
    assert found.methods == METHODS
    finished = finish(tmp_path / "teacher", found, {"last": StageResult(digest="0c", step=6, val=None)})
    assert read_record(tmp_path / "teacher") == finished
    assert read_record(tmp_path / "student") is None


def test_equal_records_share_all_and_versions_do_not_count() -> None:
    other = make_record("teacher", record().settings, INPUTS, {"jax": "0.11"}, "another")
    assert differences(record(), other) == []


def test_settings_and_inputs_that_differ_are_named_then_and_now() -> None:
    wanted = record({"labelled images": "100 images, 0d"}, teacher__steps=5)
    assert differences(record(), wanted) == [
        Difference("config.teacher.steps", 1100, 5),
        Difference("labelled images", "200 images, 0a", "100 images, 0d"),
    ]


def test_a_record_from_before_an_option_existed_is_the_one_of_its_old_behaviour() -> None:
    old = record()
    del old.settings["augment.box_fit"]
    assert differences(old, record()) == []
    assert differences(old, record(augment__box_fit="ellipse")) == [
        Difference("config.augment.box_fit", "corners", "ellipse")
    ]


@pytest.mark.parametrize(
    ("key", "then", "now"),
    [
        ("student.batch_norm", "batch", "human"),
        ("student.pseudo_frac", 0.5, 0.25),
        ("data.sampling", "uniform", "class"),
        ("pseudo.sampling", "uniform", "class"),
        ("pseudo.mask_target", "hard", "soft"),
    ],
)
def test_a_student_from_before_its_options_is_that_of_the_paper(key: str, then: object, now: object) -> None:
    config = quickstart.get_config()
    plain = make_record("student", deciding_settings(config, "student"), INPUTS, {}, "")
    assert plain.settings[key] == then
    old = make_record("student", {k: v for k, v in plain.settings.items() if k != key}, INPUTS, {}, "")
    assert differences(old, plain) == []
    config.update_from_flattened_dict({key: now})
    wanted = make_record("student", deciding_settings(config, "student"), INPUTS, {}, "")
    assert Difference(f"config.{key}", then, now) in differences(old, wanted)


def test_an_input_that_is_not_there_yet_does_not_count() -> None:
    assert differences(record(), record({"start": ""})) == []
    assert differences(record({"start": ""}), record()) == []


@pytest.mark.parametrize("changes", [{"eval__every_steps": 50}, {"postprocess__iou_threshold": 0.6}])
def test_how_candidates_were_measured_counts_for_the_best_checkpoint_alone(changes: dict) -> None:
    assert differences(record(), record(**changes), "last") == []
    assert len(differences(record(), record(**changes), "best")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"eval__every_steps": 50},
        {"postprocess__iou_threshold": 0.6},
        {"inputs": {"val images": "60 images, 0e"}},
    ],
)
def test_what_val_said_counts_for_the_last_checkpoint_of_a_stage_with_patience(changes: dict) -> None:
    patient = {"teacher__patience": 3}
    assert len(differences(record(**patient), record(**patient, **changes), "last")) == 1
    assert differences(record(**patient), record(**patient), "last") == []


def test_val_images_count_for_the_best_checkpoint_alone() -> None:
    wanted = record({"val images": "60 images, 0e"})
    assert differences(record(), wanted, "last") == []
    assert [pair.key for pair in differences(record(), wanted, "best")] == ["val images"]


def test_tuples_and_lists_are_the_same(tmp_path: pathlib.Path) -> None:
    write_record(tmp_path, record())
    found = read_record(tmp_path)
    assert found is not None
    assert found.settings["optimizer.drop_fracs"] == [0.94, 0.98]
    assert differences(found, record()) == []


def test_the_refusal_says_what_then_now_stale_and_the_ways_out() -> None:
    found = differences(record(), record(teacher__steps=5))
    text = str(refuse(pathlib.Path("run/teacher"), found, "teacher", ["student"], "Ways out: WAYS."))
    assert "run/teacher holds another teacher than this command's" in text
    assert "config.teacher.steps: 1100 then, 5 now" in text
    assert "stale with it: student" in text
    assert text.endswith("Ways out: WAYS.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"stage": "teacher"}', "settings is missing"),
        ('{"stage": "teacher", "settings": {}, "results": {"last": {"step": 1}}}', "digest is missing"),
        ('{"format_version": 2, "versions": {"selftrain_jax": "9"}}', "reads forms up to 1"),
    ],
)
def test_a_damaged_or_newer_file_is_named(tmp_path: pathlib.Path, content: str, words: str) -> None:
    (tmp_path / STAGE_FILE).write_text(content)
    with pytest.raises(InputError, match=words) as error:
        read_record(tmp_path)
    assert str(tmp_path / STAGE_FILE) in str(error.value)


def test_a_newer_version_may_add_keys(tmp_path: pathlib.Path) -> None:
    value = {**json.loads(json.dumps(record().to_json())), "more": 1}
    (tmp_path / STAGE_FILE).write_text(json.dumps(value))
    assert read_record(tmp_path) == record()


def test_old_records_lack_a_setting_that_is_a_tuple_by_default_without_differing() -> None:
    now = make_record("teacher", {"segmentation.class_weights": ()}, {}, {}, "")
    assert differences(dataclasses.replace(now, settings={}), now) == []
    changed = make_record("teacher", {"segmentation.class_weights": (1.0, 2.0)}, {}, {}, "")
    assert [pair.then for pair in differences(now, changed)] == [[]]
