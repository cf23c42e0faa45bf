"""launch/colab.ipynb from its first cell to its last, with few steps, in a process without a screen."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOK = ROOT / "launch/colab.ipynb"
SMALL = """
WORKDIR = pathlib.Path({workdir!r})
TEACHER_STEPS, STUDENT_STEPS = 250, 60
NUM_UNLABELLED, NUM_TEST = 40, 20
THRESHOLD = 0.1
"""


def code_cells() -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_committed_without_outputs_and_its_cells_compile() -> None:
    for number, cell in enumerate(code_cells()):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        compile("".join(cell["source"]), f"cell {number}", "exec")
    parameters = [cell for cell in code_cells() if "parameters" in cell["metadata"].get("tags", [])]
    assert len(parameters) == 1
    names = {line.split(" =")[0] for line in "".join(parameters[0]["source"]).splitlines() if " = " in line}
    assert names == {line.split(" =")[0] for line in SMALL.splitlines() if " = " in line}


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: pathlib.Path) -> None:
    workdir, script = tmp_path / "run", tmp_path / "notebook.py"
    sources = []
    for cell in code_cells():
        is_parameters = "parameters" in cell["metadata"].get("tags", [])
        sources.append(SMALL.format(workdir=str(workdir)) if is_parameters else "".join(cell["source"]))
    script.write_text("\n".join(sources))
    # As in a notebook, the working directory is where Python looks for modules first.
    environment = {**os.environ, "MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", "import runpy, sys; runpy.run_path(sys.argv[1])", script],
        cwd=ROOT / "launch", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "student over control" in done.stdout
    assert "threshold 0.95: " in done.stdout
    assert (workdir / "report.html").exists()
    assert done.stdout.count(" digits: ") == 4  # a line for each picture that was predicted
