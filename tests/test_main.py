"""The command line: what a mistyped command prints."""

import pathlib
import subprocess
import sys

import pytest

from selftrain_jax.command_line import default_workdir

ROOT = pathlib.Path(__file__).parents[1]


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "selftrain_jax.main", *arguments], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config=configs/quickstart.py", "--workdir=x", "--config.optimizer.momentun=0.5"],
         ["optimizer.momentun", "did you mean --config.optimizer.momentum?"]),
        (["--config=configs/absent.py", "--workdir=x"], ["configs/absent.py", "No such file"]),
        (["--config=configs/quickstart.py", "--workdir=x", "--config.optimizer.momentum=fast"],
         ["optimizer.momentum", "fast"]),
        (["--config=configs/coco_retinanet.py:backbon=resnet50", "--workdir=x"], ["backbon", "'backbone'"]),
        (["--config=configs/coco_retinanet.py:alpha=much", "--workdir=x"], ["alpha", "float"]),
        (["--config=configs/quickstart.py", "--workdir=x", "--job=trian"], ["trian", "train"]),
        (["--config=configs/quickstart.py", "--seeds=0,one"], ["--seeds=0,one", "whole numbers"]),
        (["--config=configs/quickstart.py", "--seeds=1,1"], ["--seeds=1,1", "none twice"]),
        (["--config=configs/quickstart.py", "--round=0"], ["--round=0", "counted from 1"]),
        (["--config=configs/quickstart.py", "--redo=pupil"], ["pupil", "control_half|oracle|student"]),
        (["--workdir=x"], ["--config is missing"]),
        (["--config=configs/quickstart.py", "--workdir=x", "stray"], ["stray"]),
        (["--konfig=1"], ["konfig", "config"]),
    ],
)  # fmt: skip
def test_mistake_gets_one_clear_line_and_exit_status_2(arguments: list[str], words: list[str]) -> None:
    result = command(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert all(word in result.stderr for word in words), result.stderr
    assert not (ROOT / "x").exists()


def test_help_names_every_job() -> None:
    result = command("--help")
    assert all(job in result.stdout for job in ("selftrain", "pseudo_label", "doctor", "predict"))


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("configs/coco_spinenet.py", "runs/coco_spinenet"),
        ("configs/bccd.py:labels=10,seed=1", "runs/bccd-labels=10,seed=1"),
        ("/elsewhere/mine.py:init=runs/a b/c", "runs/mine-init=runs_a_b_c"),
    ],
)
def test_a_run_has_a_folder_of_its_own_without_being_asked(config: str, folder: str) -> None:
    assert default_workdir(config) == folder


def test_the_first_line_says_where_a_run_lies() -> None:
    result = command("--config=configs/bccd.py:seed=1", "--seeds=one")
    assert result.stdout == "workdir: runs/bccd-seed=1\n"
    assert not (ROOT / "runs/bccd-seed=1").exists()
