"""Stages on a slice: the commands of launch/tpu_vm.sh by hand, and two of them against a fake gcloud."""

import os
from pathlib import Path

import pytest

from selftrain_jax.errors import InputError, StagesFailedError
from selftrain_jax.paper.run.command import run_rows
from selftrain_jax.paper.run.tpu_vm import read_slice
from tests.launch.launch_fakes import ROOT, runs_of
from tests.launch.tpu_cloud import OPTIONS, Cloud
from tests.paper.run.fakes import Starter, graph_of, leave

FLAGS = " ".join(["coco", *OPTIONS])
TEACHER, LABELS, STUDENT = "teacher-08d2bf20", "labels-7029ee18", "student-8b4c8106"  # Table 3, row 5


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_CLOUD", str(tmp_path))
    monkeypatch.setenv("FAKE_NOTES", str(tmp_path))
    monkeypatch.chdir(made.repository)
    return made


class FetchingStarter(Starter):
    """Plays launch/tpu_vm.sh: what the stage left is fetched to where --to says."""

    def __call__(self, command, log, tick) -> int:
        to = next(word for word in command if word.startswith("--to=")).partition("=")[2]
        code = leave([*(word for word in command if not word.startswith("--workdir")), f"--workdir={to}"])
        self.commands.append(list(command))
        return code


def test_every_stage_runs_on_the_slice_and_is_fetched(cloud: Cloud, tmp_path: Path) -> None:
    starter, runs = FetchingStarter(), tmp_path / "runs"
    run_rows(graph_of(("3", 5)), runs, ["--config.x=1"], "tpu_vm", FLAGS, starter)
    head = ["bash", "launch/tpu_vm.sh", "all", "coco", *OPTIONS]
    row = "--config=configs/paper.py:table=3,row=5,seed=0"
    assert starter.commands == [
        [*head, f"--workdir=bucket/coco/{TEACHER}", f"--to={runs}/{TEACHER}", "--",
         "--config=configs/paper.py:table=3,row=2,seed=0", "--config.x=1"],
        [*head, f"--workdir=bucket/coco/{LABELS}", f"--to={runs}/{LABELS}", "--", row,
         "--job=pseudo_label", f"--from_run=../bucket/coco/{TEACHER}", "--config.x=1"],
        [*head, f"--workdir=bucket/coco/{STUDENT}", f"--to={runs}/{STUDENT}", "--", row,
         f"--from_run=../bucket/coco/{LABELS}", "--config.x=1"],
    ]  # fmt: skip


def test_the_script_takes_the_commands_and_a_run_that_ends_badly_is_a_failed_stage(
    cloud: Cloud, tmp_path: Path
) -> None:
    cloud.plan("2")
    with pytest.raises(StagesFailedError, match=f"{TEACHER} failed"):
        run_rows(graph_of(("3", 2)), tmp_path / "runs", (), "tpu_vm", FLAGS)
    (arguments,) = runs_of(tmp_path)
    assert arguments[2].endswith(f"/bucket/coco/{TEACHER}")
    assert arguments[-1] == "--config=configs/paper.py:table=3,row=2,seed=0"
    assert "attempt 1 of worker 0 ends with 2" in (tmp_path / f"runs/{TEACHER}.log").read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "needs the slice's name"),
        ("--zone=z", "needs the slice's name"),
        ("paper --zone=z", "needs --bucket or --nfs"),
        ("paper --bucket=gs://b --workdir=w", "--workdir=w in --submit-flags is set for every stage"),
        ("paper --bucket='gs://b", "No closing quotation"),
    ],
)
def test_options_that_do_not_fit_are_refused(cloud: Cloud, flags: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_slice(flags)


def test_without_gcloud_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="there is no gcloud on PATH"):
        read_slice(FLAGS)
