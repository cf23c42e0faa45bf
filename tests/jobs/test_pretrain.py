"""`--job=pretrain` as a user runs it: a class folder in, a classifier that has learnt out."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import pretrain
from selftrain_jax.build.joint import build_joint_batches, build_joint_task, open_joint_source
from selftrain_jax.build.pretraining import (
    build_pretrain_batches,
    build_pretrain_schedule,
    build_pretrain_sources,
    build_pretraining,
)
from selftrain_jax.data.sampling import generator_permutation, raw_permutation
from selftrain_jax.data.source import encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.jobs import run_job
from selftrain_jax.jobs.pretrain import run_pretrain
from selftrain_jax.models.input_normalization import take_pixels
from selftrain_jax.tasks.classification.spec import build_classifier
from selftrain_jax.train.checkpoint import restore_variables
from selftrain_jax.types import Category
from tests.processes import environment

ROOT = pathlib.Path(__file__).parents[2]


def classes(number: int) -> tuple[Category, ...]:
    return tuple(Category(class_id, str(class_id)) for class_id in range(number))


ARGUMENTS = "network=resnet18,size=32,batch=16,steps=40"
OVERRIDES = {
    "model.width_factor": 0.125,
    "model.dtype": "float32",
    "optimizer.warmup_steps": 5,
    "pretrain.learning_rate": 0.05,
    "pretrain.min_area_frac": 0.6,
    "augment.flip_frac": 0.0,
    "eval.every_steps": 20,
    "log.tensorboard": False,
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Handwritten zeros, ones and fours of scikit-learn: 60 of each to train on, 20 to measure on."""
    from sklearn.datasets import load_digits

    root, data = tmp_path_factory.mktemp("digits"), load_digits()
    for digit in (0, 1, 4):
        images = data.images[data.target == digit][:80] * 15.9
        for number, image in enumerate(images):
            folder = root / ("train" if number < 60 else "val") / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.repeat(np.kron(image, np.ones((4, 4)))[..., None], 3, axis=2).astype(np.uint8)
            (folder / f"{number}.png").write_bytes(encode_png(pixels))
    return root


@pytest.fixture
def config(digits: pathlib.Path):
    config = pretrain.get_config(ARGUMENTS)
    config.data.dir = str(digits)
    config.update_from_flattened_dict(OVERRIDES)
    return config


def run(workdir: pathlib.Path, digits: pathlib.Path) -> str:
    flags = [f"--config.{key}={value}" for key, value in OVERRIDES.items()]
    command = [sys.executable, "-m", "selftrain_jax.main", "--job=pretrain", f"--workdir={workdir}"]
    found = subprocess.run(
        [*command, f"--config=configs/pretrain.py:{ARGUMENTS}", f"--config.data.dir={digits}", *flags],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.compiles
@pytest.mark.tf
def test_command_learns_the_digits_of_a_class_folder_and_skips_when_finished(
    digits: pathlib.Path, tmp_path: pathlib.Path, config, capsys
) -> None:
    output = run(tmp_path / "run", digits)
    evaluation = json.loads((tmp_path / "run/pretrain/evaluation.json").read_text())
    assert evaluation["top1"] > 0.6  # chance is a third, 0.06 its deviation; 0.85 when written
    assert evaluation["top5"] == 1
    assert evaluation["num_images"] == 60
    assert evaluation["checkpoint_step"] == 40
    assert f"--config.teacher.init={tmp_path}/run/pretrain" in output
    rows = [json.loads(x) for x in (tmp_path / "run/pretrain/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "eval/top1" in row] == [20, 40]
    template = jax.eval_shape(build_pretraining(config, classes(3)).task.init, jax.random.key(0))
    variables = restore_variables(tmp_path / "run/pretrain", "best", template)
    assert {"stem", "stem_bn", "c2_block0"} <= set(variables["params"]["backbone"])
    run_job("pretrain", config, tmp_path / "run")
    assert "pretrain: finished before" in capsys.readouterr().out


def test_config_without_the_group_names_the_file(config, tmp_path: pathlib.Path) -> None:
    del config.pretrain
    with pytest.raises(InputError, match=r"configs/pretrain\.py"):
        run_pretrain(config, tmp_path)


def test_classes_that_differ_between_the_splits_are_refused(config, digits: pathlib.Path) -> None:
    config.data.val = "train"
    assert len(build_pretrain_sources(config)[1]) == 180
    (digits / "val2" / "0").mkdir(parents=True)
    (digits / "val2" / "0" / "x.png").write_bytes((digits / "val" / "0" / "60.png").read_bytes())
    config.data.val = "val2"
    with pytest.raises(InputError, match=r"only in .*train: 1, 4"):
        build_pretrain_sources(config)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model.backbone", "resnet51", r"config.model: .*resnet51.*resnet50"),
        ("pretrain.batch_size", 3, r"config.pretrain.batch_size=3: .*use 2 or 4"),
        ("pretrain.label_smoothing", 1.5, "label_smoothing is 1.5"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_its_key(config, key: str, value, words: str) -> None:
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=words):
        build_pretraining(config, classes(3))


def test_unknown_kind_and_missing_folder_are_refused(config) -> None:
    config.data.kind = "coco"
    with pytest.raises(InputError, match=r"config.data.kind='coco' .* folder, tfds, auto"):
        build_pretrain_sources(config)
    config.data.update(kind="folder", dir="")
    with pytest.raises(InputError, match=r"config.data.dir is empty; .* train/<class>"):
        build_pretrain_sources(config)


def test_default_is_90_epochs_of_imagenet_at_224_px() -> None:
    config = pretrain.get_config()
    assert config.pretrain.steps * config.pretrain.batch_size / 1_281_167 == pytest.approx(90, rel=1e-5)
    schedule = build_pretrain_schedule(config)
    assert schedule(config.optimizer.warmup_steps) == pytest.approx(0.1)
    assert schedule(0) == 0
    assert config.optimizer.warmup_steps / config.pretrain.steps == pytest.approx(5 / 90, rel=1e-4)
    assert (config.image.size_px, config.pretrain.label_smoothing) == (224, 0.1)
    config.optimizer.schedule = "step"
    with pytest.raises(InputError, match="pre-training has cosine only"):
        build_pretrain_schedule(config)
    shapes = jax.eval_shape(build_pretraining(config, classes(1000)).task.init, jax.random.key(0))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 25_557_032  # ResNet-50's known count


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "efficientnet_lite0"])
def test_classifier_has_the_detectors_backbone(config, name: str) -> None:
    from selftrain_jax.models.retinanet import make_retinanet

    config.model.update(backbone=name, width_factor=1.0)
    fields = {k: v for k, v in config.model.to_dict().items() if k != "anchor_size"}
    detector, classifier = make_retinanet(num_classes=3, **fields), build_classifier(config, 5)
    assert classifier.backbone == detector.backbone


@pytest.mark.compiles
@pytest.mark.tf
def test_joint_stream_and_task_come_from_the_config(config, digits: pathlib.Path) -> None:
    """What build.py calls for joint training, on the real detector and the real class folder."""
    from selftrain_jax.demo.builtin import read_builtin
    from selftrain_jax.tasks.lookup import get_task

    config.update(JOINT | {"image": {"size_px": 64}})
    config.joint.dir = str(digits)
    config.model.update(max_level=5, fpn_channels=8, head_channels=8, head_convs=1)
    detection = get_task(config.task).build_task(
        config, read_builtin("train", num_images=1, image_size_px=64).categories
    )
    source = open_joint_source(config)
    task = take_pixels(build_joint_task(config, detection, len(source.categories)))
    variables = jax.eval_shape(task.init, jax.random.key(0))
    assert variables["params"]["image_classifier"]["dense"]["kernel"].shape[1] == 3
    batches = build_joint_batches(config, "student", _detection_stream, source)
    batch, ids = next(batches(0))
    assert batch.auxiliary.images.shape == (4, 32, 32, 3)
    assert len(ids) == 2 + 4
    terms, changed = jax.eval_shape(task.loss, variables, batch, jax.random.key(0))
    assert terms.auxiliary.shape == ()
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(variables["batch_stats"])


@pytest.mark.tf
@pytest.mark.parametrize("permutation", [None, generator_permutation])
def test_class_streams_follow_the_order_that_they_are_given(config, digits, permutation) -> None:
    options = {} if permutation is None else {"permutation": permutation}
    order = (permutation or raw_permutation)(180, 3, 0)
    train, _ = build_pretrain_sources(config)
    _, ids = next(build_pretrain_batches(config, train, **options)(0))
    assert ids == [train.image_ids[index] for index in order[:16]]
    config.update(JOINT)
    config.joint.dir = str(digits)
    source = open_joint_source(config)
    _, ids = next(build_joint_batches(config, "student", _detection_stream, source, **options)(0))
    order = (permutation or raw_permutation)(180, 702, 0)
    assert ids[2:] == [source.image_ids[index] for index in order[:4]]


JOINT = {
    "joint": dict(
        weight=0.2,
        kind="auto",
        dir="",
        tfds="imagenet2012",
        split="train",
        size_px=32,
        batch_size=4,
        label_smoothing=0.1,
        augment="none",
        min_area_frac=0.08,
    )
}


def _detection_stream(start_step: int):
    from selftrain_jax.types import Batch, BoxTargets

    ones = np.ones((2, 3), bool)
    targets = BoxTargets(np.zeros((2, 3, 4), np.float32), ones.astype(np.int32), ones, ~ones)
    images, covered_px = np.zeros((2, 64, 64, 3), np.uint8), np.full((2, 2), 64, np.int32)
    yield Batch(images, targets, np.zeros(2, bool), covered_px=covered_px), ["a", "b"]
