"""summary.json of a run with rounds and variants, and the table that the terminal shows."""

import json
import pathlib
import shutil

import pytest

from configs import quickstart
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.summary import write_summary
from selftrain_jax.run_files.summary import Summary
from tests.compare_run import (
    recount_labels,
    rescore,
    write_base,
    write_compared,
    write_rounds,
    write_stop,
    write_val,
    write_variant,
)
from tests.tasks.conftest import write_json


@pytest.fixture
def workdir(tmp_path: pathlib.Path) -> pathlib.Path:
    return write_base(tmp_path)


def sum_up(workdir: pathlib.Path, **changes: object) -> tuple[dict, str]:
    config = quickstart.get_config()
    config.update_from_flattened_dict({"pseudo.threshold": 0.5, **changes})
    write_json(workdir / "config.json", config.to_dict())
    table = write_summary(workdir, config)
    path = workdir / "summary.json"
    found = json.loads(path.read_text())
    assert Summary.from_json(found, path).to_json() == found
    return found, table


def test_a_run_alone_has_the_keys_it_always_had(workdir: pathlib.Path) -> None:
    summary, table = sum_up(workdir)
    assert list(summary) == [
        *("teacher", "control", "student", "pseudo_labels", "gain_over_teacher", "gain_over_control"),
        *("metric", "device", "versions", "seconds_total", "seed", "command", "config"),
    ]
    assert summary["student"]["checkpoint"] == "student/checkpoints/30"
    assert summary["seconds_total"] == 3 * 12 + 3
    assert summary["pseudo_labels"]["boxes"] == 60
    assert summary["pseudo_labels"]["precision"] == 0.5
    assert table.splitlines()[-1] == "student over control: +3.1 AP"


@pytest.mark.parametrize(("inputs", "expected"), [({"ignored classes": '["owl"]'}, ["owl"]), ({}, None)])
def test_classes_that_the_student_ignores_are_named(
    workdir: pathlib.Path, inputs: dict[str, str], expected: list[str] | None
) -> None:
    write_val(workdir / "student", last=0.3)
    path = workdir / "student" / "stage.json"
    write_json(path, {**json.loads(path.read_text()), "inputs": inputs})
    labels = sum_up(workdir)[0]["pseudo_labels"]
    assert labels.get("ignored_classes") == expected
    assert ("ignored_classes" in labels) == (expected is not None)


def test_a_variant_is_compared_with_the_base(workdir: pathlib.Path) -> None:
    variant = write_variant(workdir, "alpha=2", 0.4)
    write_variant(workdir, "alpha=10", None)
    base = quickstart.get_config().to_dict()
    changed = {**base, "pseudo": {**base["pseudo"], "threshold": 0.5}}
    write_json(variant / "config.json", {**changed, "selftrain": {**base["selftrain"], "alpha": 2.0}})
    (workdir / "variants/alpha=10/config.json").unlink()
    summary, table = sum_up(workdir)
    assert list(summary["variants"]) == ["alpha=2", "alpha=10"]
    found = summary["variants"]["alpha=2"]
    assert found["differs"] == {"selftrain.alpha": [1.0, 2.0]}
    assert (found["threshold"], found["alpha"]) == (0.5, 2.0)
    assert found["student"]["ap"] == 0.4
    assert found["teacher"] == summary["teacher"]
    assert found["gain_over_control"] == 0.4 - 0.281
    assert found["gain_over_teacher"] == 0.4 - 0.272
    assert found["pseudo_labels"] == summary["pseudo_labels"]
    begun = summary["variants"]["alpha=10"]
    assert "student" not in begun
    assert begun["gain_over_control"] is begun["alpha"] is None
    assert begun["threshold"] == 0.5  # of its labels
    assert table.splitlines()[-4:] == [
        "variant       AP  over control  over teacher  differs",
        "base        31.2          +3.1          +4.0",
        "alpha=2     40.0         +11.9         +12.8  selftrain.alpha=2",
        "alpha=10       -             -             -",
    ]


def test_labels_of_a_variant_are_those_at_its_own_threshold(workdir: pathlib.Path) -> None:
    """Whatever the config asks for: with thresholds=auto it does not know them."""
    variant = write_variant(workdir, "strict", 0.4)
    recount_labels(variant, 0.75, 40)
    summary, _ = sum_up(workdir)
    found = summary["variants"]["strict"]
    assert found["threshold"] == 0.75
    expected = {"boxes": 40, "precision": 0.75, "recall": 0.25}
    assert found["pseudo_labels"] == {**summary["pseudo_labels"], **expected}
    assert (summary["pseudo_labels"]["boxes"], summary["pseudo_labels"]["precision"]) == (60, 0.5)


def test_a_variant_without_labels_has_the_threshold_that_it_asks_for(workdir: pathlib.Path) -> None:
    (write_variant(workdir, "begun", None, pseudo__threshold=0.7) / "pseudo_labels").unlink()
    found = sum_up(workdir)[0]["variants"]["begun"]
    assert (found["threshold"], found["pseudo_labels"]) == (0.7, {})


def test_variants_that_were_measured_on_val_alone_show_that(workdir: pathlib.Path) -> None:
    """As those of a search: none but the chosen one is measured on the test split."""
    for name, vals in {"alpha=0.5": {"last": 0.25, "best": 0.5}, "alpha=2": {"last": None}}.items():
        folder = write_variant(workdir, name, 0.4)
        (folder / "student/evaluation.json").unlink()
        write_val(folder / "student", **vals)
    write_variant(workdir, "alpha=10", None)
    write_val(workdir / "student", last=0.3125)
    summary, table = sum_up(workdir)
    assert summary["val"] == 0.3125
    assert [own["val"] for own in summary["variants"].values()] == [0.25, None, None]
    assert [line.split()[:4] for line in table.splitlines()[-4:]] == [
        ["base", "31.2", "31.2", "+3.1"],
        ["alpha=0.5", "25.0", "-", "-"],
        ["alpha=2", "-", "-", "-"],
        ["alpha=10", "-", "-", "-"],
    ]
    assert table.splitlines()[-5].startswith("variant      val AP      AP  over control")


def test_val_is_that_of_the_checkpoint_in_use_and_of_the_kept_round(workdir: pathlib.Path) -> None:
    folder = write_variant(workdir, "a", 0.4)
    write_rounds(folder, [0.25, 0.35], kept=2)
    write_val(folder / "student", last=0.125, best=0.125)
    write_val(folder / "round_2/student", last=0.25, best=0.5)
    config = quickstart.get_config()
    for which, val in (("last", 0.25), ("best", 0.5)):
        config.eval.checkpoint = which
        write_json(folder / "config.json", config.to_dict())
        assert sum_up(workdir)[0]["variants"]["a"]["val"] == val


def test_rounds_give_the_student_that_is_kept_and_one_control(workdir: pathlib.Path) -> None:
    write_rounds(workdir, [0.25, 0.35, 0.3], kept=2, stopped_early=True)
    summary, table = sum_up(workdir)
    assert summary["student"]["ap"] == 0.36
    assert summary["student"]["checkpoint"] == "round_2/student/checkpoints/30"
    assert summary["control"]["ap"] == 0.3
    assert summary["control"]["steps"] == 90
    assert summary["gain_over_control"] == 0.36 - 0.3
    assert (summary["kept_round"], summary["stopped_early"]) == (2, True)
    assert [entry["val"] for entry in summary["rounds"]] == [0.25, 0.35, 0.3]
    assert [entry["student"]["ap"] for entry in summary["rounds"]] == [0.312, 0.36, 0.31]
    assert [entry["pseudo_labels"]["boxes"] for entry in summary["rounds"]] == [60, 60, 60]
    assert summary["seconds_total"] == 5 * 12 + 3 * 3
    assert table.splitlines()[-5:] == [
        "             val AP      AP",
        "round 1        25.0    31.2",
        "round 2        35.0    36.0  kept",
        "round 3        30.0    31.0",
        "stopped early: the last round was worse on val than the one before",
    ]


def test_a_round_that_is_not_evaluated_yet_has_no_student(workdir: pathlib.Path) -> None:
    write_rounds(workdir, [0.25, 0.35], kept=1)
    shutil.rmtree(workdir / "round_2")
    summary, table = sum_up(workdir)
    assert summary["rounds"][1]["student"] is None
    assert summary["rounds"][1]["pseudo_labels"] == {}
    assert "control" not in summary
    assert table.splitlines()[-1].split() == ["round", "2", "35.0", "-"]


def test_of_two_controls_the_stronger_one_counts_and_the_oracle_gives_the_share(
    workdir: pathlib.Path,
) -> None:
    """The student reached 31.2, the control 28.1, the half control 30.2, the oracle 35.2: 1 of 5 points."""
    write_compared(workdir, control_half=0.302, oracle=0.352)
    summary, table = sum_up(workdir)
    assert list(summary)[:5] == ["teacher", "control", "control_half", "oracle", "student"]
    assert summary["stronger_control"] == "control_half"
    assert summary["gain_over_control"] == 0.312 - 0.302
    assert summary["oracle_share_percent"] == pytest.approx(20)
    assert summary["seconds_total"] == 5 * 12 + 3
    assert table.splitlines()[3].split()[:2] == ["control_half", "30.2"]
    assert table.splitlines()[-4:] == [
        "student over teacher: +4.0 AP",
        "student over control: +3.1 AP",
        "student over control_half: +1.0 AP (the stronger control)",
        "share of what the oracle gains: 20 %",
    ]


def test_a_half_control_alone_is_the_control(workdir: pathlib.Path) -> None:
    write_compared(workdir, control_half=0.302)
    shutil.rmtree(workdir / "control")
    summary, table = sum_up(workdir)
    assert summary["gain_over_control"] == 0.312 - 0.302
    assert "stronger_control" not in summary
    assert "oracle_share_percent" not in summary
    assert table.splitlines()[-1] == "student over control_half: +1.0 AP"


@pytest.mark.parametrize("oracle", [0.281, 0.2, -1])
def test_the_share_of_an_oracle_that_does_not_beat_the_control_is_undefined(
    workdir: pathlib.Path, oracle: float
) -> None:
    write_compared(workdir, oracle=oracle)
    summary, table = sum_up(workdir)
    assert summary["oracle_share_percent"] is None
    last = "share of what the oracle gains: undefined, the oracle does not beat the control in AP"
    assert table.splitlines()[-1] == last


def test_a_stage_with_patience_says_where_it_stopped(workdir: pathlib.Path) -> None:
    write_stop(workdir / "teacher", 40, 1100, "teacher")
    write_stop(workdir / "control", 90, 650)
    write_stop(workdir / "student", 50, 650)
    summary, table = sum_up(workdir)
    assert summary["teacher"]["stopped"] == {"step": 40, "at_most": 1100}
    assert summary["student"]["stopped"] == {"step": 50, "at_most": 650}
    assert table.splitlines()[1].endswith("  stopped at step 40 of at most 1,100")


def test_a_control_of_several_rounds_is_bounded_by_all_their_steps(workdir: pathlib.Path) -> None:
    write_rounds(workdir, [0.25, 0.35, 0.3], kept=2)
    write_stop(workdir / "round_3/control", 90, 650, **{"selftrain.rounds": 3})
    assert sum_up(workdir)[0]["control"]["stopped"] == {"step": 90, "at_most": 1950}


def test_a_gain_over_an_undefined_score_is_none(workdir: pathlib.Path) -> None:
    rescore(workdir / "control", -1)
    summary, table = sum_up(workdir)
    assert summary["gain_over_control"] is None
    assert "over control" not in table


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("variants/a/config.json", "[]", r"variants/a/config\.json holds \[\]; expected an object"),
        ("variants/a/config.json", "{", r"variants/a/config\.json:1:2: not JSON"),
        ("variants/a/student/evaluation.json", "{}", r"variants/a/student/evaluation\.json: .*is missing"),
        ("variants/a/student/stage.json", "{}", r"variants/a/student/stage\.json: .*is missing"),
        ("rounds.json", "{}", r"rounds\.json: rounds is missing; expected a list"),
    ],
)
def test_a_damaged_file_is_named(workdir: pathlib.Path, name: str, text: str, message: str) -> None:
    write_variant(workdir, "a", 0.4)
    (workdir / name).write_text(text)
    with pytest.raises(InputError, match=message):
        write_summary(workdir, quickstart.get_config())
