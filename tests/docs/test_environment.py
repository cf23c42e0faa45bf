"""launch/environment.sh installs what is new to .venv and nothing twice; test.sh chooses the fast tests."""

import os
import pathlib
import shutil
import subprocess

import pytest

from .markdown import ROOT

# Makes .venv, notes what pip and pytest are asked for.
PYTHON = r"""#!/usr/bin/env bash
case "$*" in
  '-m venv .venv')
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    echo 'export PATH=$PWD/.venv/bin:$PATH' >.venv/bin/activate ;;
  '-m pip '*) echo "${!#}" >>pip; exit "${PIP_FAILS:-0}" ;;
  '-m pytest '*) printf '%s|' "$@" >pytest ;;
esac
"""
FILES = ("launch/environment.sh", "launch/test.sh", "requirements.txt", "pyproject.toml")


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "launch").mkdir()
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "python3").write_text(PYTHON)
    (tmp_path / "python3").chmod(0o755)
    return tmp_path


def run(repository: pathlib.Path, script: str, **environment: str) -> int:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=repository,
        env={**os.environ, "PATH": f"{repository}:{os.environ['PATH']}", "PYTHON": "python3", **environment},
        capture_output=True,
    ).returncode


def installed(repository: pathlib.Path) -> list[str]:
    return (repository / "pip").read_text().split()


SOURCE = "set -euo pipefail; source launch/environment.sh"


def test_a_run_installs_the_built_in_data_once(repository: pathlib.Path) -> None:
    assert run(repository, SOURCE) == 0
    assert run(repository, SOURCE) == 0
    assert installed(repository) == [".[demo]"]


def test_the_tests_add_their_tools_and_a_run_after_them_nothing(repository: pathlib.Path) -> None:
    for script in (SOURCE, f"extras=dev,demo; {SOURCE}", SOURCE, f"extras=dev,demo; {SOURCE}"):
        assert run(repository, script) == 0
    assert installed(repository) == [".[demo]", ".[dev,demo]"]


@pytest.mark.parametrize("file", ["requirements.txt", "pyproject.toml"])
def test_what_is_listed_anew_is_installed(repository: pathlib.Path, file: str) -> None:
    run(repository, SOURCE)
    with (repository / file).open("a") as text:
        text.write("# another line\n")
    run(repository, SOURCE)
    assert installed(repository) == [".[demo]", ".[demo]"]


def test_an_installation_that_failed_is_tried_again(repository: pathlib.Path) -> None:
    assert run(repository, SOURCE, PIP_FAILS="1") != 0
    assert run(repository, SOURCE) == 0
    assert installed(repository) == [".[demo]", ".[demo]"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", ""),
        ("--fast", "-m|not slow and not compiles|"),
        ("--fast tests/augment -k crop", "-m|not slow and not compiles|tests/augment|-k|crop|"),
        ("-m slow", "-m|slow|"),
    ],
)
def test_fast_leaves_out_what_is_slow_or_compiles(
    repository: pathlib.Path, arguments: str, expected: str
) -> None:
    assert run(repository, f"bash launch/test.sh {arguments}") == 0
    always = "-m|pytest|-n|2|--dist|loadfile|--no-loadscope-reorder|"
    assert (repository / "pytest").read_text() == always + expected
    assert installed(repository) == [".[dev,demo]"]
