"""A run that is steered: other settings refused or made beside it, stages shared, redone and taken over."""

import json
import pathlib
import shutil

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.stages.folders import is_shared
from tests.jobs.conftest import Run
from tests.tiny_run import config_with

pytestmark = pytest.mark.compiles


def trained(printed: str) -> set[str]:
    """The stages that made a training step."""
    return {line.split(" step ")[0] for line in printed.splitlines() if " step 1/" in line}


def infers(printed: str) -> bool:
    return " shards, " in printed


def read(*parts: object) -> dict:
    return json.loads(pathlib.Path(*map(str, parts)).read_text())


def snapshot(folder: pathlib.Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"selftrain__alpha": 2.0}, r"another student .*\n.*selftrain.alpha: 1.0 then, 2.0 now"),
        ({"pseudo__threshold": 0.5}, r"another student .*\n.*pseudo.threshold: 0.001 then, 0.5 now"),
        ({"pseudo__score_floor": 0.0005}, r"(?s)another labels .*score_floor.*stale with it: student"),
        (
            {"teacher__steps": 9},
            r"(?s)another teacher .*steps: 6 then, 9 now.*stale with it: pseudo_labels, con",
        ),
        ({"eval__backend": "pycocotools"}, r"another evaluation .*\n.*eval.backend"),
        ({"data__builtin__train": 9}, r"another teacher .*\n  labelled images: '8 images"),
        ({"data__builtin__test": 7}, r"another evaluation .*\n  test images: '6 images"),
    ],
)
def test_other_settings_are_refused_before_anything_is_written(
    base: pathlib.Path, run: Run, changes: dict, words: str
) -> None:
    before = snapshot(base)
    with pytest.raises(InputError, match=words) as error:
        run(**changes)
    assert "--variant=NAME" in str(error.value)
    assert "--redo=" in str(error.value)
    assert snapshot(base) == before


def test_keys_that_decide_no_result_change_at_any_time(run: Run) -> None:
    printed = run(
        eval__batch_size=2,
        eval__every_steps=1,
        optimizer__remat="convolutions",
        optimizer__max_rollbacks=3,
        checkpoint__every_steps=5,
        log__every_steps=2,
        data__max_bad_images=4,
        data__cache_mib=1,
        image__max_boxes=32,
        predict__score_threshold=0.9,
        pseudo__max_empty_frac=0.9999,
    )
    assert not trained(printed)
    assert not infers(printed)


def test_a_variant_of_the_threshold_trains_its_student_alone(base: pathlib.Path, run: Run) -> None:
    printed = run(options=Options(variant="strict"), pseudo__threshold=0.002)
    assert trained(printed) == {"student"}
    assert not infers(printed)
    variant = base / "variants/strict"
    assert [is_shared(variant / stage) for stage in ("teacher", "pseudo_labels", "control", "student")] == [
        True,
        True,
        True,
        False,
    ]
    assert read(variant / "pseudo_labels/manifest.json")["threshold"] == 0.002
    assert read(base / "pseudo_labels/manifest.json")["threshold"] == 0.001
    assert read(variant / "summary.json")["teacher"] == read(base / "summary.json")["teacher"]
    own = read(base / "summary.json")["variants"]["strict"]
    assert own["differs"]["pseudo.threshold"] == [0.001, 0.002]
    counted = read(variant / "pseudo_labels/manifest.json")["num_boxes_at_threshold"]
    measured = read(variant / "pseudo_labels/quality.json")["at_threshold"]
    assert (own["threshold"], own["pseudo_labels"]["boxes"]) == (0.002, counted)
    assert (measured["threshold"], measured["recall"]) == (0.002, own["pseudo_labels"]["recall"])
    assert not trained(run(options=Options(variant="strict"), pseudo__threshold=0.002))  # it is finished
    with pytest.raises(InputError, match=r"(?s)another student .*0.002 then, 0.003 now.*--variant=ANOTHER"):
        run(options=Options(variant="strict"), pseudo__threshold=0.003)
    sibling = run(options=Options(variant="again"), pseudo__threshold=0.002)
    assert not trained(sibling)  # shared with the other variant


def test_a_variant_of_the_evaluation_measures_shared_weights(base: pathlib.Path, run: Run) -> None:
    printed = run(options=Options(variant="test7"), data__builtin__test=7)
    assert not trained(printed)
    assert not infers(printed)
    assert read(base / "variants/test7/student/evaluation.json")["num_images"] == 7
    assert read(base / "student/evaluation.json")["num_images"] == 6


def test_redo_moves_a_stage_aside_and_variants_keep_it(base: pathlib.Path, run: Run) -> None:
    run(options=Options(variant="same"))
    assert is_shared(base / "variants/same/student")
    printed = run(options=Options(redo="student"), selftrain__alpha=2.0)
    assert "redo: moved aside to student.1" in printed
    assert trained(printed) == {"student"}
    assert read(base / "student/stage.json")["settings"]["selftrain.alpha"] == 2.0
    assert read(base / "student.1/stage.json")["settings"]["selftrain.alpha"] == 1.0
    assert read(base / "variants/same/student/stage.json")["settings"]["selftrain.alpha"] == 1.0
    with pytest.raises(InputError, match=r"--redo=student: .*variants/same/student is shared with .*redo it"):
        run(options=Options(variant="same", redo="student"))


def test_a_redo_that_was_killed_goes_on_by_the_same_command(base: pathlib.Path, run: Run) -> None:
    whole = run(options=Options(redo="control"), seed=0)
    assert trained(whole) == {"control"}
    (base / "control/evaluation.json").unlink()  # as if it had been killed before the last file
    again = run(options=Options(redo="control"))
    assert "redo: goes on where it was stopped" in again
    assert not trained(again)
    assert not (base / "control.2").exists()
    assert "redo: moved aside to control.2" in run(options=Options(redo="control"))  # a whole one is redone


def test_redo_of_the_evaluation_keeps_the_weights(base: pathlib.Path, run: Run) -> None:
    printed = run(options=Options(redo="evaluation"), data__builtin__test=7)
    assert not trained(printed)
    assert read(base / "student/evaluation.json")["num_images"] == 7
    assert read(base / "student/evaluation.json.1")["num_images"] == 6


def test_redo_of_the_teacher_on_cpu_gives_the_same_weights(base: pathlib.Path, run: Run) -> None:
    printed = run(options=Options(redo="teacher"))
    assert trained(printed) == {"teacher", "control", "student"}
    assert infers(printed)
    for stage in ("teacher", "control", "student"):
        results = [read(base / folder / "stage.json")["results"] for folder in (stage, f"{stage}.1")]
        assert results[0] == results[1]


def test_another_runs_teacher_and_labels_are_taken(
    base: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The label set has 12 images, the new run needs 8 of them."""
    new, options = tmp_path / "new", Options(from_run=str(base))
    run_job("selftrain", config_with(data__builtin__unlabeled=8, teacher__steps=99), new, options)
    printed = capsys.readouterr().out
    assert "takes the teacher" in printed
    assert "and its labels" in printed
    assert trained(printed) == {"control", "student"}
    assert not infers(printed)
    assert read(new / "student/stage.json")["inputs"]["pseudo-labelled images"].startswith("8 images")
    run_job("selftrain", config_with(data__builtin__unlabeled=8), new)  # it stays taken without the flag
    assert not trained(capsys.readouterr().out)
    shutil.rmtree(base / "teacher/checkpoints")
    record = read(base / "teacher/stage.json")
    record["results"]["last"]["digest"] = "0" * 64
    (base / "teacher/stage.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="teacher taken over"):
        run_job("selftrain", config_with(data__builtin__unlabeled=8), new)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__fpn_channels": 24}, "its teacher is another network .*fpn_channels: 16 there, 24 here"),
        ({"eval__checkpoint": "worst"}, "no finished teacher"),
    ],
)
def test_a_teacher_that_does_not_fit_is_not_taken(
    finished: pathlib.Path, tmp_path: pathlib.Path, changes: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run_job("selftrain", config_with(**changes), tmp_path / "new", Options(from_run=str(finished)))
    assert not [path for path in (tmp_path / "new").rglob("*") if path.name != ".lock"]


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        (Options(variant="a/b"), {}, "--variant='a/b' names a folder"),
        (Options(variant="../up"), {}, "names a folder"),
        (Options(redo="control", round=2), {}, "this run has no round_2/control"),
        (Options(from_run="no/such/run"), {}, "is not a folder"),
        (Options(), {"selftrain__rounds": 0}, "rounds=0; expected 1 or more"),
        (Options(), {"selftrain__label_models": "best"}, "label_models='best' is not one of last, all"),
        (Options(), {"selftrain__rounds": 2, "unlabeled__kind": "none"}, "rounds=2, but .*supervised run"),
    ],
)
def test_options_that_do_not_fit(run: Run, options: Options, changes: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(options=options, **changes)


def test_a_variant_needs_a_base(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"there is no run in .* to vary"):
        run_job("selftrain", config_with(), tmp_path / "none", Options(variant="a"))


def test_a_folder_of_an_older_version_is_converted(base: pathlib.Path, run: Run) -> None:
    for path in (*base.rglob("stage.json"), *base.rglob("evaluation_stage.json")):
        path.unlink()
    with pytest.raises(InputError, match="was made by an older version"):
        run(data__builtin__train=9)
    assert not list(base.rglob("stage.json"))
    printed = run()
    assert "converted: " in printed
    assert not trained(printed)
    assert not infers(printed)
    record = read(base / "teacher/stage.json")
    assert record["methods"] == {"sampling": "generator", "ema": "constant"}
    with pytest.raises(InputError, match=r"selftrain.alpha: 1.0 then, 2.0 now"):
        run(selftrain__alpha=2.0)


def test_a_start_that_fails_claims_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError):
        run_job("selftrain", config_with(model__backbone="resnet19"), tmp_path / "run")
    with pytest.raises(InputError):
        run_job("selftrain", config_with(student__init="no/such/folder"), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_rounds_go_on_from_one_and_have_a_control_of_all_steps(base: pathlib.Path, run: Run) -> None:
    printed = run(selftrain__rounds=2, selftrain__stop_when_worse=False)
    assert trained(printed) == {"round_2/student", "round_2/control"}
    assert read(base / "round_2/control/evaluation.json")["checkpoint_step"] == 12
    labelled_by = read(base / "round_2/pseudo_labels/manifest.json")["teacher"]
    assert labelled_by["digest"] == read(base / "student/stage.json")["results"]["last"]["digest"]
    rounds = read(base / "rounds.json")
    assert (len(rounds["rounds"]), rounds["kept"], rounds["stopped_early"]) == (2, 2, False)
    assert read(base / "summary.json")["control"]["steps"] == 12
    assert not trained(run())  # one round is what it was
    assert read(base / "summary.json")["control"]["steps"] == 6


def test_all_models_so_far_label_a_round_where_that_is_asked(base: pathlib.Path, run: Run) -> None:
    settings = {"selftrain__rounds": 2, "selftrain__stop_when_worse": False, "student__control": "none"}
    assert trained(run(selftrain__label_models="all", **settings)) == {"round_2/student"}
    manifest = read(base / "round_2/pseudo_labels/manifest.json")
    student, teacher = (
        read(base / f"{name}/stage.json")["results"]["last"] for name in ("student", "teacher")
    )
    assert manifest["teacher"]["digest"] == student["digest"]
    assert [model["digest"] for model in manifest["earlier_models"]] == [teacher["digest"]]
    assert manifest["num_models"] == 2
    record = read(base / "round_2/pseudo_labels/stage.json")
    assert record["inputs"]["earlier models"] == teacher["digest"]
    assert "earlier models" not in read(base / "pseudo_labels/stage.json")["inputs"]
    assert not trained(run(selftrain__label_models="all", **settings))
    with pytest.raises(InputError, match=f"earlier models: '{teacher['digest'][:9]}"):
        run(**settings)


def test_search_chooses_on_val_and_tests_once(base: pathlib.Path, run: Run) -> None:
    grid = Options(grid=("selftrain.alpha=0.5,1",))
    printed = run("search", grid)
    assert trained(printed) == {"student"}
    assert printed.count("student step 1/6") == 1  # the other is the base's own
    search = read(base / "search.json")
    assert [point["variant"] for point in search["points"]] == ["alpha=0.5", "alpha=1.0"]
    best = max(point["val"] for point in search["points"])
    chosen = next(point for point in search["points"] if point["val"] == best)
    assert search["chosen"] == chosen["values"]
    summary = read(base / "summary.json")
    vals = {name: own["val"] for name, own in summary["variants"].items()}
    assert vals == {point["variant"]: point["val"] for point in search["points"]}
    assert summary["val"] == vals["alpha=1.0"]  # the base's own settings
    measured = {path.parts[-3] for path in base.glob("variants/*/student/evaluation.json")}
    assert measured == {chosen["variant"], "alpha=1.0"}  # the base's own was measured before
    assert not trained(run("search", grid))  # the same command skips what is finished
    assert read(base / "search.json") == search


def test_stopping_early_keeps_the_round_before(
    base: pathlib.Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selftrain_jax.jobs import selftrain

    vals = {1: 0.5, 2: 0.25}
    monkeypatch.setattr(selftrain, "val_score", lambda run, stage: vals[stage.round])
    printed = run(selftrain__rounds=3)
    assert "round 2: 25.0 on val, worse than 50.0 of round 1" in printed
    assert "rounds 3 to 3 are left out" in printed
    rounds = read(base / "rounds.json")
    assert (len(rounds["rounds"]), rounds["kept"], rounds["stopped_early"]) == (2, 1, True)
    assert not (base / "round_3").exists()
    summary = read(base / "summary.json")
    assert summary["student"]["checkpoint"] == "student/checkpoints/6"
    assert summary["control"]["steps"] == 12
