"""The command line: what a mistyped command prints."""

import pathlib
import subprocess
import sys

import pytest

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
        (["--config=configs/quickstart.py"], ["--workdir is missing"]),
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
