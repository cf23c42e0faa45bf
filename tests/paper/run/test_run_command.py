"""`python -m selftrain_jax.paper run | status`: one-sentence errors and exit codes."""

from pathlib import Path

import pytest

from selftrain_jax.paper.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--table=15", "--runs=DIR/runs"], "table=15 of the paper is not one of"),
        (["run", "--table=3", "--row=19", "--runs=DIR/runs"], "rows 1 to 18, not row=19"),
        (["run", "--table=3"], "the following arguments are required: --runs"),
        (["run", "--table=3", "--runs=DIR/file"], "--runs=DIR/file cannot be a folder: File exists"),
        (["run", "--table=3", "--runs=DIR/file/x"], "cannot be a folder: Not a directory"),
        (["run", "--table=3", "--runs=/proc/runs"], "--runs=/proc/runs cannot be"),
        (["run", "--table=3", "--runs=DIR/runs", "--submit=pbs"], "invalid choice: 'pbs'"),
        (["run", "--table=3", "--runs=DIR/runs", "--submit-flags=x"], "--submit-flags is for --submit"),
        (["run", "--table=3", "--runs=DIR/runs", "x"], "unexpected x; flags for every run come after --"),
        (["run", "--table=3", "--runs=DIR/runs", "--", "--job=train"], "--job after -- is set by"),
        (["status", "--runs=DIR"], "has no rows.json: nothing was run there"),
        (["status"], "the following arguments are required: --runs"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, capsys
) -> None:
    (tmp_path / "file").touch()
    places = str(tmp_path)
    assert main([own.replace("DIR", places) for own in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words.replace("DIR", places) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_failed_stage_is_exit_code_1_and_named(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("selftrain_jax.paper.run.command.sys.executable", "/no/python")
    assert main(["run", "--table=3", "--row=5", f"--runs={tmp_path}"]) == 1
    said = capsys.readouterr()
    assert "teacher-08d2bf20 failed" in said.err
    assert "/no/python cannot be started" in said.err
    assert "student-8b4c8106: waiting for teacher-08d2bf20, which failed" in said.err
    assert main(["status", f"--runs={tmp_path}"]) == 0
    assert "1 failed, 2 waiting for one that failed" in capsys.readouterr().out
