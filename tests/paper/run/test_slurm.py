"""Stages as jobs, against an sbatch that hands out numbers and notes its arguments, and a squeue."""

import json
import os
from pathlib import Path

import pytest

from selftrain_jax.paper.__main__ import main
from selftrain_jax.paper.run.command import run_rows
from tests.launch.launch_fakes import ROOT, write_programs
from tests.paper.run.fakes import Starter, graph_of

TEACHER, LABELS, STUDENT = "teacher-08d2bf20", "labels-7029ee18", "student-8b4c8106"  # Table 3, row 5
SLURM = {
    "sbatch": r"""
        [[ ! -e $FAKE_NOTES/refuse ]] || { echo "sbatch: error: invalid partition" >&2; exit 1; }
        printf '%s\0' "$@" >>"$FAKE_NOTES/sbatch" && echo >>"$FAKE_NOTES/sbatch"
        echo "$((100 + $(grep -ac '' "$FAKE_NOTES/sbatch")));cluster" """,
    "squeue": r"""
        grep -q "^${2#--jobs=}$" "$FAKE_NOTES/queued" 2>/dev/null && echo PENDING ||
          { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }""",
}


class Slurm:
    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        write_programs(folder / "bin", SLURM)

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "sbatch"
        return [own.split("\0")[:-1] for own in path.read_text().splitlines()] if path.exists() else []

    def submit(self, *arguments: str, row: str = "5") -> int:
        return main(["run", "--table=3", f"--row={row}", f"--runs={self.runs}", "--submit=slurm", *arguments])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    made = Slurm(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_NOTES", str(tmp_path))
    monkeypatch.chdir(ROOT)
    return made


def test_each_job_waits_for_the_one_that_it_needs(slurm: Slurm, capsys) -> None:
    assert slurm.submit("--submit-flags=--nodes=4 --partition='a b'", "--", "--config.note=$HOME 'x'") == 0
    runs, options = slurm.runs, ["--nodes=4", "--partition=a b", "launch/slurm.sbatch"]
    after = "--kill-on-invalid-dep=yes"
    assert slurm.calls == [
        ["--parsable", f"--job-name={TEACHER}", f"--output={runs}/{TEACHER}.log", *options,
         "--config=configs/paper.py:table=3,row=2,seed=0", f"--workdir={runs}/{TEACHER}",
         "--config.note=$HOME 'x'"],
        ["--parsable", f"--job-name={LABELS}", f"--output={runs}/{LABELS}.log", after,
         "--dependency=afterok:101", *options, "--config=configs/paper.py:table=3,row=5,seed=0",
         f"--workdir={runs}/{LABELS}", "--job=pseudo_label", f"--from_run={runs}/{TEACHER}",
         "--config.note=$HOME 'x'"],
        ["--parsable", f"--job-name={STUDENT}", f"--output={runs}/{STUDENT}.log", after,
         "--dependency=afterok:102", *options, "--config=configs/paper.py:table=3,row=5,seed=0",
         f"--workdir={runs}/{STUDENT}", f"--from_run={runs}/{LABELS}", "--config.note=$HOME 'x'"],
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        f"{TEACHER}: job 101", f"{LABELS}: job 102 after 101", f"{STUDENT}: job 103 after 102",
    ]  # fmt: skip


def test_what_is_queued_or_done_is_not_submitted_again(slurm: Slurm, capsys) -> None:
    run_rows(graph_of(("3", 2)), slurm.runs, start=Starter())
    capsys.readouterr()
    assert slurm.submit() == 0
    (slurm.folder / "queued").write_text("101\n")  # the labels; the student's job is gone
    assert slurm.submit() == 0
    assert [call[1] for call in slurm.calls] == [
        f"--job-name={own}" for own in (LABELS, STUDENT, STUDENT)
    ]  # fmt: skip
    assert not any("dependency" in word for word in slurm.calls[0])
    assert "--dependency=afterok:101" in slurm.calls[2]
    assert capsys.readouterr().out.splitlines()[-3:] == [
        f"{TEACHER}: done", f"{LABELS}: job 101 is in the queue", f"{STUDENT}: job 103 after 101",
    ]  # fmt: skip


def test_a_job_that_is_refused_ends_it_and_keeps_the_numbers(slurm: Slurm, capsys) -> None:
    (slurm.folder / "refuse").touch()
    assert slurm.submit() == 2
    assert capsys.readouterr().err == f"error: sbatch refused {TEACHER}: sbatch: error: invalid partition\n"
    (slurm.folder / "refuse").unlink()
    assert slurm.submit() == 0
    assert json.loads((slurm.runs / "jobs.json").read_text()) == {
        TEACHER: "101", LABELS: "102", STUDENT: "103",
    }  # fmt: skip


def test_without_sbatch_nothing_is_written(slurm: Slurm, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert slurm.submit() == 2
    assert capsys.readouterr().err.startswith("error: --submit=slurm: there is no sbatch on PATH")
    assert not slurm.runs.exists()


def test_it_is_called_from_the_repositorys_root(slurm: Slurm, monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert slurm.submit() == 2
    assert "there is no launch/slurm.sbatch here" in capsys.readouterr().err
