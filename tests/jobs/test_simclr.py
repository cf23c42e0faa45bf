"""Pre-training with SimCLR as a user runs it: images without labels in, a start for a detector out."""

import json
import pathlib

import jax
import numpy as np
import pytest

from configs import pretrain
from selftrain_jax.build.pretraining import (
    build_pretrain_batches,
    build_pretrain_sources,
    build_pretraining,
    get_objective,
)
from selftrain_jax.data.pipeline import take_steps
from selftrain_jax.data.source import encode_png
from selftrain_jax.errors import InputError
from selftrain_jax.jobs.pretrain import run_pretrain
from selftrain_jax.pretrain.init_modes import init_variables
from selftrain_jax.stages.settings import deciding_settings
from selftrain_jax.tasks.lookup import get_task
from selftrain_jax.train.checkpoint import restore_variables
from selftrain_jax.types import Category

ARGUMENTS = "network=resnet18,size=64,batch=8,steps=30,objective=simclr"


@pytest.fixture
def config():
    config = pretrain.get_config(ARGUMENTS)
    config.data.update(kind="builtin", builtin=dict(train=32, val=9, test=0, unlabeled=0))
    config.model.update(width_factor=0.125, dtype="float32", max_level=5, head_convs=1)
    config.model.update(fpn_channels=8, head_channels=8)
    config.optimizer.update(name="momentum", warmup_steps=2)
    config.pretrain.update(learning_rate=0.05, min_area_frac=0.6)
    config.pretrain.simclr.update(temperature=0.5, jitter_strength=0.2, blur_frac=0.0)
    config.eval.every_steps = 15
    config.log.update(every_steps=1, tensorboard=False)
    return config


@pytest.fixture
def loose_images(tmp_path: pathlib.Path) -> pathlib.Path:
    """Images of no class: 6 to train on, 4 to measure on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        (tmp_path / split).mkdir()
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            (tmp_path / split / f"{number}.png").write_bytes(encode_png(pixels))
    return tmp_path


@pytest.mark.compiles
@pytest.mark.tf
def test_loss_falls_and_a_detector_starts_from_the_folder(config, tmp_path: pathlib.Path, capsys) -> None:
    run_pretrain(config, tmp_path)
    folder = tmp_path / "pretrain"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert losses[0] == pytest.approx(np.log(15), rel=0.15)  # a guess among 15 other views
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    output = capsys.readouterr().out
    assert "contrastive_top1 0." in output
    assert f"start a detector from it by --config.teacher.init={folder}" in output
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["objective"] == "simclr"
    assert evaluation["num_images"] == 8  # of 9: a whole batch
    assert 0 < evaluation["contrastive_top1"] <= 1
    assert "knn_top1" not in evaluation
    stage = json.loads((folder / "stage.json").read_text())
    assert stage["settings"]["pretrain.objective"] == "simclr"
    assert "pretrain.label_smoothing" not in stage["settings"]

    trained = restore_variables(
        folder, "last", jax.eval_shape(build_pretraining(config, ()).task.init, jax.random.key(0))
    )
    head = {f"projection{layer}{end}" for layer in (1, 2) for end in ("", "_bn")}
    assert set(trained["params"]) == {"backbone", *head}
    detector = get_task("detection").build_task(config, (Category(1, "one"),))
    template = jax.eval_shape(detector.init, jax.random.key(0))
    random = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
    started, report = init_variables(str(folder), template, random, lambda _: trained)
    assert set(report.loaded) == {"backbone"}
    for part in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, started[part]["backbone"], trained[part]["backbone"])
    run_pretrain(config, tmp_path)
    assert "finished before" in capsys.readouterr().out


@pytest.mark.compiles
@pytest.mark.tf
def test_classes_of_folders_are_used_to_measure_alone(config, tmp_path: pathlib.Path) -> None:
    for split in ("train", "val"):
        for name, value in (("dark", 20), ("light", 220)):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(4):
                image = np.full((40, 40, 3), value + number, np.uint8)
                (tmp_path / split / name / f"{number}.png").write_bytes(encode_png(image))
    config.data.update(kind="auto", dir=str(tmp_path))
    config.optimizer.name = "lars"
    train, val = build_pretrain_sources(config)
    objective, experiment = get_objective(config), build_pretraining(config, ())
    assert objective.headline(train) == "knn_top1"
    measure = objective.make_measure(config, experiment.task, experiment.mesh, train, val)
    scores = measure(jax.jit(experiment.task.init)(jax.random.key(0)))
    assert scores["knn_top1"] == 1  # of a random network too
    batch, _ = take_steps(build_pretrain_batches(config, train), 0, 1)[0]
    assert batch.images.shape == (8, 128, 64, 3)
    assert (batch.targets.classes == -1).all()
    (tmp_path / "val" / "dark").rename(tmp_path / "val" / "black")
    train, val = build_pretrain_sources(config)
    assert train.categories == val.categories == ()
    assert objective.headline(train) == "contrastive_top1"


@pytest.mark.tf
def test_images_of_no_class_are_read_and_small_ones_refused_by_name(config, loose_images) -> None:
    config.data.update(kind="folder", dir=str(loose_images))
    train, val = build_pretrain_sources(config)
    assert (len(train), len(val), train.categories) == (6, 4, ())
    batch, ids = take_steps(build_pretrain_batches(config, train), 0, 1)[0]
    assert set(ids) == {f"{number}.png" for number in range(6)}
    again, _ = take_steps(build_pretrain_batches(config, train), 0, 1)[0]
    np.testing.assert_array_equal(batch.images, again.images)
    first, second = np.split(batch.images, 2, axis=1)
    assert (first != second).any(axis=(1, 2, 3)).all()
    (loose_images / "train" / "3.png").write_bytes(encode_png(np.zeros((5, 6, 3), np.uint8)))
    with pytest.raises(InputError, match=r"3\.png has 5 x 6 pixels, too few for windows of 60 %"):
        take_steps(build_pretrain_batches(config, build_pretrain_sources(config)[0]), 0, 1)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pretrain.objective", "moco", r"objective='moco' is not one of classification, simclr"),
        ("pretrain.batch_size", 1, r"config\.pretrain\.batch_size=1: .*at least 2"),
        ("pretrain.simclr.temperature", 0.0, r"config\.pretrain: temperature is 0; expected .*above 0"),
        ("pretrain.simclr.jitter_strength", 2.0, r"jitter_strength is 2; expected 0 \(off\) to 1\.25"),
        ("pretrain.simclr.blur_frac", -0.5, "blur_frac is -0.5"),
        ("pretrain.simclr.projection_dim", 0, "the projection has 0 outputs"),
        ("pretrain.min_area_frac", 0.0, "min_area_frac is 0"),
        ("pretrain.augment", "randaugment", r"augment=randaugment with config\.pretrain\.objective=simclr"),
        ("image.size_px", 16, r"config\.image\.size_px=16 is too small .*use 32 or more"),
        ("optimizer.accumulation", 2, r"config\.optimizer\.accumulation=2 .*use 1"),
        ("optimizer.freeze_backbone", True, r"config\.optimizer\.freeze_backbone=True .*use False"),
        ("joint.weight", 0.5, r"config\.joint\.weight=0\.5 .*use 0: joint training is for detectors"),
        ("mesh.space", 2, r"config\.mesh\.space=2 .*use 1"),
        ("model.backbone", "resnet51", r"config\.model: .*resnet51"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_its_key(config, key: str, value, words: str) -> None:
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=words):
        build_pretraining(config, ())


def test_val_of_one_image_is_refused(config) -> None:
    config.data.builtin.val = 1
    train, val = build_pretrain_sources(config)
    experiment = build_pretraining(config, ())
    with pytest.raises(InputError, match=r"of the 1 images of val, .*at least 2"):
        get_objective(config).make_measure(config, experiment.task, experiment.mesh, train, val)


def test_an_objective_does_not_count_the_others_settings() -> None:
    found = {}
    for name in ("classification", "simclr"):
        config = pretrain.get_config(f"objective={name}")
        found[name] = deciding_settings(config, "pretrain", get_objective(config).idle_keys)
    assert not [key for key in found["classification"] if key.startswith("pretrain.simclr")]
    assert found["simclr"]["pretrain.simclr.temperature"] == 0.1
    assert "pretrain.label_smoothing" not in found["simclr"]


def test_recipe_is_that_of_the_paper() -> None:
    config = pretrain.get_config("objective=simclr,batch=4096")
    assert config.pretrain.learning_rate == pytest.approx(4.8)
    assert config.pretrain.steps == round(100 * 1_281_167 / 4096)
    assert config.optimizer.warmup_steps / config.pretrain.steps == pytest.approx(0.1, abs=1e-4)
    assert (config.optimizer.name, config.optimizer.weight_decay) == ("lars", 1e-6)
    shapes = jax.eval_shape(build_pretraining(config, ()).task.init, jax.random.key(0))["params"]
    count = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in shapes.items()}
    assert count.pop("backbone") == 23_508_032  # ResNet-50 without its 2048 x 1000 + 1000
    assert count == {
        "projection1": 2048 * 2048,
        "projection1_bn": 2 * 2048,
        "projection2": 2048 * 128,
        "projection2_bn": 128,
    }
    small = pretrain.get_config("objective=simclr,size=32").pretrain.simclr
    assert (small.temperature, small.jitter_strength, small.blur_frac) == (0.5, 0.5, 0.0)
