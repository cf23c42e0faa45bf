"""The project as others take it: what is installed, its command, its licence, its citation, its CI."""

import ast
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from .markdown import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def package_names(lines: list[str]) -> set[str]:
    return {
        re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in lines if not line.startswith("#")
    } - {""}


def test_requirements_are_what_a_run_needs_and_no_test_tool() -> None:
    run_time = package_names((ROOT / "requirements.txt").read_text().splitlines())
    dev, demo = package_names(EXTRAS["dev"]), package_names(EXTRAS["demo"])
    assert {"jax", "flax", "tensorflow", "jinja2"} <= run_time
    assert {"pytest", "ruff", "mypy", "beartype"} <= dev
    assert demo == {"scikit-image", "scikit-learn"}
    assert not run_time & (dev | demo)
    assert PROJECT["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}


@pytest.mark.parametrize("folder", ["selftrain_jax", "configs", "launch"])
def test_no_module_changes_the_import_path(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        names = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        assert "sys.path" not in names, path


def test_installing_gives_the_command_and_the_configs() -> None:
    module, _, function = PROJECT["project"]["scripts"]["selftrain"].partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    block = ast.unparse(tree.body[-1])
    assert block == f"if __name__ == '__main__':\n    {function}()"  # `python -m` does the same
    assert "configs*" in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]


@pytest.mark.parametrize("has_folder_of_that_name", [False, True])
def test_a_config_that_cannot_import_configs_says_what_to_do(
    tmp_path: pathlib.Path, has_folder_of_that_name: bool
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path/selftrain_jax").symlink_to(ROOT / "selftrain_jax")
    (tmp_path / "mine.py").write_text("from configs import common\n")
    if has_folder_of_that_name:
        (tmp_path / "configs").mkdir()
    # Editable installs are found by hooks that -S leaves out; the packages that this needs are named.
    paths = [tmp_path / "path", *(path for path in sys.path if path.endswith("site-packages"))]
    command = [sys.executable, "-S", "-m", "selftrain_jax.main", "--config=mine.py", "--workdir=run"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in ("'configs'", "pip install -e .", "repository's root"))


def test_the_command_shows_the_options_of_the_module() -> None:
    code = "import sys; sys.argv = ['selftrain', '--help']; from selftrain_jax.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "--workdir: Folder of the run" in done.stdout
    assert "--config=FILE.py" in done.stdout


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert re.search(r"^   Copyright \d{4} The selftrain_jax authors$", text, flags=re.MULTILINE)
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_the_citation_is_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["project"]["license"]
    paper = citation["preferred-citation"]
    assert (paper["type"], paper["year"]) == ("conference-paper", 2020)
    assert paper["title"] == "Rethinking Pre-training and Self-training"
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Zoph", "Ghiasi", "Lin", "Cui", "Liu", "Cubuk", "Le"]


def test_the_ci_runs_the_repositorys_own_checks_on_two_pythons() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"][0] == PROJECT["project"]["requires-python"].removeprefix(">=")
    assert len(job["strategy"]["matrix"]["python"]) > 1
    assert job["steps"][-1]["run"] == "bash .ci/run"
