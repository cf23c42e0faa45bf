"""configs/coco_spinenet.py from the command line: on a mock of its TFDS data sets, and without them."""

import io
import json
import math
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs import coco_retinanet, coco_spinenet
from selftrain_jax.build.data import check_data_sets
from selftrain_jax.data.sources.tfds import prepare_command
from selftrain_jax.errors import InputError
from tests.processes import environment

pytestmark = [pytest.mark.tf, pytest.mark.compiles]
ROOT = pathlib.Path(__file__).parents[2]
LIMIT_SECS = 900
STEPS = 4
UNLABELED = 6
IMAGENET = "imagenet2012"
LABELS, CATEGORY_IDS = (0, 11, 79), {1, 13, 90}  # of TFDS, and COCO's own
CONFIG = "configs/coco_spinenet.py:size=49s,settings=paper"
SMALL = {
    "image.size_px": 128,  # the smallest that level 7 divides
    "image.max_boxes": 8,
    "model.dtype": "float32",
    "model.head_convs": 1,
    "model.head_channels": 16,
    "optimizer.warmup_steps": 2,
    "postprocess.score_threshold": 0.0001,  # an untrained teacher's scores are low
    "postprocess.pre_nms_top_k": 20,
    "postprocess.max_detections": 4,
    "pseudo.score_floor": 0.001,
    "pseudo.threshold": 0.001,
    "pseudo.min_boxes_per_image": 0.0,
    "pseudo.max_empty_frac": 1.0,
    "teacher.steps": STEPS,
    "teacher.batch_size": 4,  # as the student's: the step is compiled once
    "student.steps": STEPS,
    "student.batch_size": 4,
    "student.control": "none",
    "eval.batch_size": 2,
    "log.every_steps": 1,
    "log.tensorboard": False,
}

STAND_IN = {"model.backbone": "resnet18", "model.width_factor": 0.125, "model.fpn_channels": 16}


def run(config: str, workdir: pathlib.Path, **settings: object) -> tuple[int, str]:
    """Run the command on two fake devices."""
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-m", "selftrain_jax.main", f"--config={config}", f"--workdir={workdir}", *flags],
        cwd=ROOT,
        env=environment(num_devices=2),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECS,
    )
    return done.returncode, done.stdout


def prepare(data_dir: pathlib.Path, name: str, **splits: list[dict[str, Any]]) -> None:
    """Store splits as if TFDS had prepared them."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    tfds.dataset_builders.store_as_tfds_dataset(
        name=builder.name,
        config=builder.builder_config.name,
        version=str(builder.version),
        features=builder.info.features,
        split_datasets={split: enumerate(examples) for split, examples in splits.items()},
        data_dir=data_dir,
        file_format="array_record",
        disable_shuffling=True,
    )


def photograph(seed: int) -> io.BytesIO:
    """Draw a bright rectangle on noise; return it as JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 100, (72, 96, 3), np.uint8)
    pixels[18:54, 24:72] += 150
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return io.BytesIO(buffer.getvalue())


def coco_example(number: int) -> dict[str, Any]:
    import tensorflow_datasets as tfds

    box = tfds.features.BBox(0.25, 0.25, 0.75, 0.75)
    label = LABELS[number % len(LABELS)]
    return {
        "image": photograph(number),
        "image/filename": f"{number}.jpg",
        "image/id": number,
        "objects": [{"id": number, "area": 36 * 48, "bbox": box, "label": label, "is_crowd": False}],
    }


def open_images_example(number: int) -> dict[str, Any]:
    features: dict[str, list] = {"objects": [], "objects_trainable": [], "bobjects": []}
    return {"image": photograph(100 + number), "image/filename": f"{number}.jpg", **features}


@pytest.fixture(scope="module")
def mocks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Prepare both data sets; return the settings that find them."""
    folder = tmp_path_factory.mktemp("mocks")
    train, validation = ([coco_example(i) for i in numbers] for numbers in (range(4), range(4, 7)))
    prepare(folder / "coco", "coco/2017", train=train, validation=validation)
    prepare(folder / "open", "open_images_v4", train=[open_images_example(i) for i in range(UNLABELED)])
    return {"data.dir": folder / "coco", "unlabeled.dir": folder / "open"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(STAND_IN, id="stand-in"),
        pytest.param({}, id="spinenet49s", marks=pytest.mark.slow),  # compiling takes a minute
    ],
)
def finished(
    request: pytest.FixtureRequest, mocks: dict[str, pathlib.Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, str]:
    """Run teacher, pseudo labels and student; return the folder and what was printed."""
    workdir = tmp_path_factory.mktemp("spinenet") / "run"
    status, output = run(CONFIG, workdir, **mocks, **SMALL, **request.param)
    assert status == 0, output
    return workdir, output


def read_json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text())


def test_teacher_and_student_are_trained_evaluated_and_summed_up(finished: tuple[pathlib.Path, str]) -> None:
    workdir, output = finished
    summary = read_json(workdir / "summary.json")
    for stage in ("teacher", "student"):
        assert summary[stage]["steps"] == STEPS
        assert summary[stage]["split"] == "tfds:coco/2017/validation"
        assert all(math.isfinite(summary[stage][key]) for key in ("ap", "ap50", "ap75", "seconds"))
        assert (workdir / summary[stage]["checkpoint"]).is_dir()
        assert f"{stage} step {STEPS}/{STEPS}  loss " in output
        assert f"{stage}: test AP " in output
    assert "control" not in summary
    assert summary["gain_over_teacher"] == summary["student"]["ap"] - summary["teacher"]["ap"]
    assert (workdir / "report.html").stat().st_size > 10_000
    assert "Traceback" not in output


def test_truth_has_cocos_own_ids_and_pixels(finished: tuple[pathlib.Path, str]) -> None:
    truth = read_json(finished[0] / "ground_truth.json")
    assert {row["category_id"] for row in truth["annotations"]} == CATEGORY_IDS
    assert [row["bbox"] for row in truth["annotations"]] == 3 * [[24, 18, 48, 36]]
    assert len(truth["categories"]) == 80


def test_pseudo_labels_are_of_open_images_by_soft_nms_of_03(finished: tuple[pathlib.Path, str]) -> None:
    workdir, output = finished
    manifest = read_json(workdir / "pseudo_labels" / "manifest.json")
    assert manifest["source"].startswith("tfds:open_images_v4/train")
    assert manifest["num_images"] == UNLABELED
    assert 0 < manifest["num_boxes"] <= UNLABELED * SMALL["postprocess.max_detections"]
    assert manifest["nms"]["soft_nms_sigma"] == 0.3
    assert manifest["teacher"]["checkpoint"] == f"teacher/checkpoints/{STEPS}"
    (shard,) = manifest["shards"]
    assert (workdir / "pseudo_labels" / shard["file"]).stat().st_size == shard["bytes"] > 0
    assert f"pseudo labels: {manifest['num_boxes']} boxes of score 0.001 or more on 6 images" in output


def test_student_learns_on_s3_from_both_sources_and_the_teacher_on_s1_from_one(
    finished: tuple[pathlib.Path, str],
) -> None:
    config = read_json(finished[0] / "config.json")
    assert config["teacher"]["policy"] == "s1"
    assert (config["student"]["policy"] or config["augment"]["policy"]) == "s3"
    for stage in ("teacher", "student"):
        lines = (finished[0] / stage / "metrics.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if "train/loss" in row]
        assert len(rows) == STEPS
        assert all(math.isfinite(row["train/loss"]) for row in rows)
        pseudo = [row.get("train/loss_pseudo", 0.0) for row in rows]
        assert all(value > 0 for value in pseudo) if stage == "student" else not any(pseudo)


def test_without_the_data_the_command_lists_every_set_its_size_and_its_command(
    tmp_path: pathlib.Path,
) -> None:
    workdir = tmp_path / "run"
    status, output = run(CONFIG, workdir, **{"data.dir": tmp_path / "a", "unlabeled.dir": tmp_path / "b"})
    assert status == 2
    assert "error: 2 data sets of this run are not ready" in output
    assert "27 GB" in output
    assert "600 GB" in output
    assert prepare_command("coco/2017", tmp_path / "a") in output
    assert prepare_command("open_images_v4", tmp_path / "b") in output
    assert "--config.data.dir=DATA_DIR, --config.unlabeled.dir=DATA_DIR" in output
    assert "Traceback" not in output
    assert not workdir.exists()
    assert not list(tmp_path.iterdir())


def test_only_the_missing_set_is_named(mocks: dict[str, pathlib.Path], tmp_path: pathlib.Path) -> None:
    config = coco_spinenet.get_config("size=49s")
    config.data.dir, config.unlabeled.dir = str(mocks["data.dir"]), str(tmp_path)
    with pytest.raises(InputError, match=r"^the data set open_images_v4 is not ready") as caught:
        check_data_sets(config)
    assert "coco/2017" not in str(caught.value)
    config.unlabeled.dir = str(mocks["unlabeled.dir"])
    check_data_sets(config)


def test_joint_trainings_images_are_among_the_missing(tmp_path: pathlib.Path) -> None:
    config = coco_retinanet.get_config("unlabeled=openimages")
    config.data.dir = config.unlabeled.dir = config.joint.dir = str(tmp_path)
    config.joint.kind = "tfds"
    detection = ["coco/2017", "open_images_v4"]
    for weight, names in ((0.0, detection), (0.5, [*detection, IMAGENET])):
        config.joint.weight = weight
        with pytest.raises(InputError) as caught:
            check_data_sets(config)
        assert re.findall("the data set ([^ ]+) is not ready", str(caught.value)) == names
    assert prepare_command(IMAGENET, tmp_path) in str(caught.value)
    assert "ILSVRC2012_img_train.tar" in str(caught.value)


def test_a_set_that_two_streams_share_is_named_once(tmp_path: pathlib.Path) -> None:
    config = coco_retinanet.get_config("unlabeled=imagenet")
    config.data.dir, config.joint.weight = str(tmp_path), 0.5
    config.joint.kind = config.unlabeled.kind = "tfds"
    config.joint.dir = config.unlabeled.dir = str(tmp_path)
    with pytest.raises(InputError, match=r"^2 data sets of this run are not ready") as caught:
        check_data_sets(config)
    assert str(caught.value).count(prepare_command(IMAGENET, tmp_path)) == 1
