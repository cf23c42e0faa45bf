"""The study of what to label next: its commands, the labels that it adds, its table, and what it resumes."""

import json
import pathlib
import sys

import numpy as np
import pytest

from configs import quickstart
from launch.study_selection import __main__ as study
from launch.study_selection.cells import Cell, list_cells, select_command, selection_folder, train_command
from launch.study_selection.data import annotations, label, write_data
from launch.study_selection.results import format_table
from selftrain_jax.data.sources.coco import read_coco_json
from selftrain_jax.demo.builtin import read_builtin
from selftrain_jax.tasks.detection.data import open_split

ARM = "uncertainty+diversity"


def read_flags(line):
    config = quickstart.get_config(line[3].partition(":")[2])
    flags = dict(
        flag.removeprefix("--config.").split("=", 1) for flag in line[5:] if flag.startswith("--config.")
    )
    for key in flags:
        value = config
        for part in key.split("."):
            value = value[part]  # a key that does not exist raises
    return flags


def test_each_round_chooses_by_the_teacher_before_and_trains_on_what_was_chosen():
    assert list_cells(["random", ARM], [3, 4], 0) == [Cell(3, "start", 0), Cell(4, "start", 0)]
    first, second = list_cells([ARM], [3], 1)[0], list_cells([ARM], [3], 2)[0]
    assert (first.before, second.before) == (Cell(3, "start", 0), first)
    runs = pathlib.Path("runs")
    train, select = train_command(second, runs, ["--x"]), select_command(second, runs, 50, ["--x"])
    assert (train[4], select[4]) == (f"--workdir=runs/3-{ARM}-2", f"--workdir=runs/3-{ARM}-1")
    assert read_flags(train)["data.train"] == f"3-{ARM}-2"
    found = read_flags(select)
    assert found["data.train"] == f"3-{ARM}-1"
    assert found["unlabeled.split"] == f"3-{ARM}-1-unlabelled"
    assert (found["select.by"], found["select.budget"]) == ("uncertainty,diversity", "50")
    assert train[-1] == select[-1] == "--x"


def test_labels_of_chosen_images_are_their_truth_and_the_rest_stays_unlabelled(tmp_path):
    sizes = {"train": 2, "unlabeled": 4, "val": 1, "test": 1}
    write_data(tmp_path, 5, sizes)
    chosen = ["unlabeled-000002", "unlabeled-000000"]
    label(tmp_path, "train", "unlabeled", chosen, ("more", "rest"))
    more = read_coco_json(annotations(tmp_path, "more"), tmp_path / "images")
    rest = read_coco_json(annotations(tmp_path, "rest"), tmp_path / "images")
    assert set(more.image_ids) == {"train-000000", "train-000001", *chosen}
    assert set(rest.image_ids) == {"unlabeled-000001", "unlabeled-000003"}
    truth = read_builtin("unlabeled", num_images=4, seed=5)
    example = more.read(more.image_ids.index("unlabeled-000002"))
    np.testing.assert_array_equal(example["image"], truth.read_image(2))
    np.testing.assert_allclose(example["boxes"], truth.read_labels(2)["boxes"], atol=1e-4)
    np.testing.assert_array_equal(example["classes"], truth.read_labels(2)["classes"])
    numbers = [box["id"] for box in json.loads(annotations(tmp_path, "more").read_text())["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))
    with pytest.raises(SystemExit, match="has no image nobody"):
        label(tmp_path, "more", "rest", ["nobody"], ("a", "b"))
    with pytest.raises(SystemExit, match="has 2 images, not 3; name other --runs"):
        write_data(tmp_path, 5, {**sizes, "train": 3})


def test_the_table_compares_seeds_that_both_have():
    def row(seed, arm, round, ap):
        return {
            "seed": seed,
            "arm": arm,
            "round": round,
            "num_images": 50 + 50 * round,
            "num_boxes": 7,
            "ap": ap,
        }

    rows = [row(0, "start", 0, 0.1), row(0, "random", 1, 0.2), row(1, "random", 1, 0.24)]
    rows += [row(0, ARM, 1, 0.23), row(1, ARM, 1, 0.25), row(2, ARM, 1, 0.9)]
    assert format_table(rows).splitlines()[2:] == [
        "| start | 50 | 7 | 10.0 |  |",
        "| random | 100 | 7 | 22.0 (2.8) |  |",
        f"| {ARM} | 100 | 7 | 46.0 (38.1) | +2.0 (1.4): +3.0, +1.0 |",
    ]


def fake_command(line):
    """Do what a command does: an evaluation, or a selection of the first images."""
    flags = read_flags(line)
    workdir = pathlib.Path(line[4].removeprefix("--workdir="))
    if "--job=train" in line:
        config = quickstart.get_config()
        config.update_from_flattened_dict({key: flags[key] for key in flags if not key.startswith("log")})
        count = len(open_split(config, "data", flags["data.train"]))
        (workdir / "teacher").mkdir(parents=True)
        (workdir / "teacher" / "evaluation.json").write_text(json.dumps({"ap": count / 100, "ap50": 0.5}))
        return
    split = annotations(pathlib.Path(flags["unlabeled.dir"]), flags["unlabeled.split"])
    ids = [image["id"] for image in json.loads(split.read_text())["images"]][: int(flags["select.budget"])]
    settings = {"budget": 2, "by": ["random"], "pool_factor": 4, "max_distance": 6, "seed": 0}
    settings |= dict.fromkeys(("model", "digest", "labelled_images", "unlabelled_images"), "a")
    counts = dict.fromkeys(
        ("num_labelled", "num_unlabelled", "num_undecodable", "like_labelled", "like_chosen"), 0
    )
    chosen = [{"rank": n, "image_id": id, "path": id, "reason": ""} for n, id in enumerate(ids, start=1)]
    document = {"settings": settings, "source": "a", **counts, "chosen": chosen}
    folder = pathlib.Path(flags["select.output"])
    folder.mkdir()
    (folder / "selection.json").write_text(json.dumps(document))


def test_study_adds_labels_round_by_round_and_resumes(tmp_path, monkeypatch, capsys):
    ran = []

    def run_parallel(lines, logs, parallel):
        for name, line in lines.items():
            fake_command(line)
            ran.append(name)
            yield name

    monkeypatch.setattr(study, "run_parallel", run_parallel)
    sizes = ["--seeds=0", "--arms=random", "--labels=2", "--budget=2", "--unlabelled=6", "--test=1"]
    monkeypatch.setattr(sys, "argv", ["study", *sizes, "--rounds=1", f"--runs={tmp_path}"])
    study.main()
    assert ran == ["0-start", "0-random-1-selection", "0-random-1"]
    monkeypatch.setattr(sys, "argv", ["study", *sizes, "--rounds=2", f"--runs={tmp_path}"])
    study.main()
    assert ran[3:] == ["0-random-2-selection", "0-random-2"]
    assert selection_folder(tmp_path, Cell(0, "random", 2)).exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(row["num_images"], row["ap"]) for row in results] == [(2, 0.02), (4, 0.04), (6, 0.06)]
    assert (tmp_path / "results.md").read_text().count("| random |") == 2
    assert "| random | 6 |" in capsys.readouterr().out
