import pathlib
import subprocess
import sys

import pytest

from selftrain_jax.errors import InputError
from selftrain_jax.jobs.workdir import hold_workdir

HOLD = """
import sys, pathlib
from selftrain_jax.jobs.workdir import hold_workdir
with hold_workdir(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.compiles
def test_a_second_run_on_a_folder_is_refused_until_the_first_is_gone(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "new/run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    refusal = pytest.raises(InputError, match=f"is in use by another run, process {first.pid} on .* since ")
    with refusal, hold_workdir(folder):
        pass
    first.kill()  # the system lets go of the lock
    first.wait()
    with hold_workdir(folder):
        pass


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    refusal = pytest.raises(InputError, match="file cannot be a folder: File exists")
    with refusal, hold_workdir(tmp_path / "file"):
        pass
