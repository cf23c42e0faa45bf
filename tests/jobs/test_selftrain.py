"""The whole command, as a user runs it: end to end, resumed after kill -9 and SIGTERM, refused if changed."""

import json
import pathlib
import shutil
import signal

import pytest

from selftrain_jax.errors import RUN_AGAIN
from tests.tiny_run import STAGES, end_when, results, run

pytestmark = pytest.mark.compiles


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    status, output = run(workdir)
    assert status == 0, output
    (workdir.parent / "output.txt").write_text(output)
    return workdir


def test_one_command_trains_labels_and_sums_up(uninterrupted: pathlib.Path) -> None:
    summary = json.loads((uninterrupted / "summary.json").read_text())
    for stage in STAGES:
        assert summary[stage]["steps"] == 6
        assert {"ap", "ap50", "ap75", "seconds", "checkpoint"} <= summary[stage].keys()
        assert (uninterrupted / summary[stage]["checkpoint"]).is_dir()
    assert summary["gain_over_control"] == summary["student"]["ap"] - summary["control"]["ap"]
    assert summary["gain_over_teacher"] == summary["student"]["ap"] - summary["teacher"]["ap"]
    assert {"images", "boxes", "per_class", "precision", "recall"} <= summary["pseudo_labels"].keys()
    assert summary["pseudo_labels"]["images"] == 12
    assert {"device", "versions", "seconds_total"} <= summary.keys()
    assert (uninterrupted / "report.html").stat().st_size > 50_000


def test_whole_run_compiles_the_training_step_and_inference_once_each(uninterrupted: pathlib.Path) -> None:
    output = (uninterrupted.parent / "output.txt").read_text()
    for function in ("train_step", "predict"):
        assert output.count(f"Finished XLA compilation of jit({function})") == 1, function


def test_student_sees_both_sources_and_teacher_and_control_only_human_labels(
    uninterrupted: pathlib.Path,
) -> None:
    for stage in STAGES:
        rows = [json.loads(x) for x in (uninterrupted / stage / "metrics.jsonl").read_text().splitlines()]
        pseudo = [row["train/loss_pseudo"] for row in rows if "train/loss_pseudo" in row]
        assert all(value > 0 for value in pseudo) if stage == "student" else not any(pseudo)


def test_second_run_of_a_finished_command_skips_every_stage(uninterrupted: pathlib.Path) -> None:
    before = results(uninterrupted)
    status, output = run(uninterrupted)
    assert status == 0, output
    assert all(f"{stage}: finished before" in output for stage in STAGES)
    assert results(uninterrupted) == before


def test_changed_config_is_refused_with_the_differing_key(uninterrupted: pathlib.Path) -> None:
    status, output = run(uninterrupted, "--config.selftrain.alpha=2.0")
    assert status == 2
    assert "config.selftrain.alpha: 1.0 then, 2.0 now" in output
    assert "Traceback" not in output


def test_predict_writes_coco_json_and_pictures(uninterrupted: pathlib.Path, tmp_path: pathlib.Path) -> None:
    from selftrain_jax.demo.builtin import read_builtin

    source = read_builtin("test", num_images=2, image_size_px=64)
    for index in range(2):
        (tmp_path / f"{index}.png").write_bytes(source.read_encoded(index))
    output = tmp_path / "out"
    status, text = run(
        uninterrupted,
        "--job=predict",
        f"--config.predict.input={tmp_path}",
        f"--config.predict.output={output}",
        "--config.predict.score_threshold=0.001",
    )
    assert status == 0, text
    predictions = json.loads((output / "predictions.json").read_text())
    assert [image["file_name"] for image in predictions["images"]] == ["0.png", "1.png"]
    assert {category["name"] for category in predictions["categories"]} == set("0123456789")
    assert all({"bbox", "score", "category_id"} <= row.keys() for row in predictions["annotations"])
    results = json.loads((output / "results.json").read_text())
    assert {result["image_id"] for result in results} <= {0, 1}
    assert len(results) == len(predictions["annotations"]) > 0
    assert len(list((output / "drawn").glob("*.png"))) == 2


def test_killed_at_any_point_the_same_command_gives_the_same_numbers_bit_for_bit(
    uninterrupted: pathlib.Path,
) -> None:
    workdir = uninterrupted.parent / "killed"
    points = [
        workdir / "teacher" / "checkpoints" / "2",
        workdir / "teacher" / "detections.json",
        workdir / "pseudo_labels" / "pseudo-00000-of-00003.tfrecord",
        workdir / "control" / "checkpoints" / "4",
        workdir / "student" / "checkpoints" / "2",
        workdir / "student" / "detections.json",
    ]
    signals = [signal.SIGKILL, signal.SIGTERM] * 3
    codes = []
    for point, number in zip(points, signals, strict=True):
        codes.append(end_when(workdir, point.exists, number))
        ended = (workdir.parent / "ended.log").read_text()
        assert codes[-1] in (-signal.SIGKILL, RUN_AGAIN, 0), f"{point} {codes}\n{ended[-5000:]}"
    assert len([code for code in codes if code]) >= 5, codes
    assert codes.count(RUN_AGAIN) >= 2, codes
    status, output = run(workdir)
    assert status == 0, output
    assert results(workdir) == results(uninterrupted)
    shutil.rmtree(workdir)
