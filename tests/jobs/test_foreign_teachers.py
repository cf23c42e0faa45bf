"""Other models' predictions as a run's labels, by the job: imported, refused, trained on, compared."""

import json
import pathlib

import pytest
from ml_collections import ConfigDict

from selftrain_jax.build.data import build_sources
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.options import Options
from selftrain_jax.stages.folders import is_shared
from tests import tiny

IMPORT = "import_predictions"


def results_of(source: Source, shift_px: float = 0.0) -> list[dict]:
    """The truth as a model would find it, boxes moved to the right."""
    found = []
    for index, image_id in enumerate(source.image_ids):
        labels = source.read_labels(index)
        for box, class_id in zip(labels["boxes"].tolist(), labels["classes"].tolist(), strict=True):
            bbox = [box[1] + shift_px, box[0], box[3] - box[1], box[2] - box[0]]
            found.append({"image_id": image_id, "category_id": class_id, "bbox": bbox, "score": 0.75})
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder, sources = tmp_path_factory.mktemp("predictions"), build_sources(tiny.get_config())
    assert sources.unlabeled_truth is not None
    (folder / "good.json").write_text(json.dumps(results_of(sources.unlabeled_truth)))
    (folder / "moved.json").write_text(json.dumps(results_of(sources.unlabeled_truth, 1.0)))
    (folder / "val_good.json").write_text(json.dumps(results_of(sources.val)))
    (folder / "val_moved.json").write_text(json.dumps(results_of(sources.val, 20.0)))
    lines = [f"{class_id},{name}\n" for class_id, name in sources.human.categories]
    (folder / "classes.csv").write_text("".join(lines))
    return folder


def config_with(files: pathlib.Path, *names: str, **changes: object) -> ConfigDict:
    config = tiny.get_config()
    config.foreign.predictions = ",".join(str(files / name) for name in names)
    config.foreign.map = str(files / "classes.csv")
    config.foreign.bad_boxes = "drop"  # the moved ones may leave their image
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


def read(*parts: object) -> dict:
    return json.loads(pathlib.Path(*map(str, parts)).read_text())


def test_a_file_becomes_a_label_set_like_our_own(
    files: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(IMPORT, config_with(files, "good.json", foreign__model="DINO"), tmp_path)
    printed = capsys.readouterr().out
    assert "DINO: COCO results in" in printed
    assert "--config.pseudo.labels=foreign" in printed
    labels = tmp_path / "pseudo_labels"
    manifest, quality, stage = (read(labels, f"{name}.json") for name in ("manifest", "quality", "stage"))
    assert (manifest["labels"], manifest["foreign"][0]["model"]) == ("foreign", "DINO")
    assert manifest["num_images"] == 12
    assert manifest["score_floor"] == 0.001
    assert len(manifest["foreign"][0]["sha256"]) == 64
    assert quality["at_threshold"]["precision"] == quality["at_threshold"]["recall"] == 1
    assert stage["inputs"]["foreign predictions"] == manifest["foreign"][0]["sha256"]
    assert "teacher" not in stage["inputs"]
    assert not (tmp_path / "teacher").exists()


def test_a_changed_file_is_noticed_and_a_moved_one_is_not(
    files: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    own, workdir = tmp_path / "files", tmp_path / "run"
    own.mkdir()
    for name in ("good.json", "classes.csv"):
        (own / name).write_text((files / name).read_text())
    run_job(IMPORT, config_with(files, "good.json"), workdir)
    run_job(IMPORT, config_with(own, "good.json"), workdir)
    (own / "good.json").write_text((files / "moved.json").read_text())
    with pytest.raises(
        InputError, match=r"(?s)another labels .*foreign predictions: .*--variant=NAME.*--redo"
    ):
        run_job(IMPORT, config_with(own, "good.json"), workdir)
    (own / "good.json").unlink()  # the labels are there, and what they were made of is not needed
    run_job(IMPORT, config_with(own, "good.json", pseudo__threshold=0.8), workdir)
    assert read(workdir, "pseudo_labels/manifest.json")["num_boxes_at_threshold"] == 0


@pytest.mark.parametrize("job", [IMPORT, "selftrain"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "a list without any prediction"),
        ('[{"image_id": "x", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "none fits"),
        (
            '[{"image_id": "unlabeled-000000", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 50}]',
            "in percent",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    files: pathlib.Path, tmp_path: pathlib.Path, job: str, content: str, words: str
) -> None:
    (tmp_path / "bad.json").write_text(content)
    config = config_with(files, pseudo__labels="foreign", foreign__predictions=str(tmp_path / "bad.json"))
    with pytest.raises(InputError, match=words):
        run_job(job, config, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_the_job_without_predictions_says_which_key(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"name their file or folder, as --config.foreign.predictions="):
        run_job(IMPORT, tiny.get_config(), tmp_path)


def test_doctor_and_plan_judge_predictions_as_the_run_does(
    files: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("[]")
    good = config_with(files, "good.json", pseudo__labels="foreign")
    bad = config_with(files, pseudo__labels="foreign", foreign__predictions=str(tmp_path / "bad.json"))
    run_job("doctor", good, tmp_path / "doctor")
    assert "good: COCO results in" in capsys.readouterr().out
    with pytest.raises(InputError):
        run_job("doctor", bad, tmp_path / "doctor")
    assert "a list without any prediction" in capsys.readouterr().out
    run_job("plan", bad, tmp_path / "plan")
    printed = capsys.readouterr().out
    assert "a list without any prediction" in printed


@pytest.mark.compiles
def test_teacher_foreign_and_both_are_compared_in_one_table(
    files: pathlib.Path, base: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = config_with(files, "good.json", pseudo__labels="foreign")
    run_job("selftrain", foreign, base, Options(variant="foreign"))
    names = ("good.json", "moved.json")
    val = ",".join(str(files / f"val_{name}") for name in names)
    both = config_with(files, *names, pseudo__labels="both", foreign__val=val)
    capsys.readouterr()
    run_job("selftrain", both, base, Options(variant="both"))
    printed = capsys.readouterr().out
    assert "weight of good: 0 1.00" in printed
    assert "labels of" in printed
    for name in ("foreign", "both"):
        folder = base / "variants" / name
        assert is_shared(folder / "teacher")
        assert not is_shared(folder / "pseudo_labels")
        assert (folder / "student/evaluation.json").exists()
    summary = read(base, "summary.json")
    assert summary["variants"]["both"]["pseudo_labels"]["labelled_by"] == ["teacher", "good", "moved"]
    assert summary["variants"]["foreign"]["pseudo_labels"]["labelled_by"] == ["good"]
    assert "labelled_by" not in summary["pseudo_labels"]
    weights = {
        model["model"]: model["weights"]
        for model in read(base, "variants/both/pseudo_labels/manifest.json")["foreign"]
    }
    assert weights["good"]["1"] > weights["moved"]["1"]
    page = (base / "report.html").read_text()
    assert "Whose labels" in page
    assert "teacher, good, moved" in page
