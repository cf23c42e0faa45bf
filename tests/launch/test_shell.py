"""launch/gpu.sh, and what holds for all shell scripts."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.launch.launch_fakes import PROGRAMS, ROOT, copy_repository, runs_of, write_programs

SCRIPTS = [*sorted((ROOT / "launch").rglob("*.sh")), ROOT / "launch/slurm.sbatch", ROOT / ".ci/run"]


def test_shellcheck_finds_nothing():
    beside_python = pathlib.Path(sys.executable).with_name("shellcheck")
    shellcheck = beside_python if beside_python.exists() else shutil.which("shellcheck")
    assert shellcheck, "shellcheck is missing; pip install -e .[dev]"
    command = [shellcheck, "--shell=bash", "--external-sources", *SCRIPTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_script_names_a_package_host(script):
    assert not re.search(r"https?://|--find-links|--index-url|pip install.* -f ", script.read_text())


@pytest.fixture
def gpu(tmp_path):
    copy_repository(tmp_path / "repository")

    def call(*arguments, gpus, **environment):
        write_programs(tmp_path / "bin", PROGRAMS | {"nvidia-smi": gpus})
        (tmp_path / "plan").write_text("0 0 0\n")
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "launch/gpu.sh", *arguments],
            cwd=tmp_path / "repository", capture_output=True, text=True, timeout=30,
            env=os.environ | {"PATH": path, "FAKE_NOTES": str(tmp_path), **environment},
        )  # fmt: skip

    return call


H100 = "echo '580.65.06, 9.0'; echo '580.65.06, 9.0'"
V100 = "echo '580.65.06, 7.0'"
OLD_DRIVER = "echo '550.54.14, 8.0'"
OLDER_DRIVER = "echo '470.82.01, 8.0'"
NONE = "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9"


@pytest.mark.parametrize(("gpus", "extra"), [(H100, "cuda13"), (V100, "cuda12"), (OLD_DRIVER, "cuda12")])
def test_the_wheels_fit_driver_and_gpu(gpu, tmp_path, gpus, extra):
    done = gpu("--config.seed=3", gpus=gpus)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pip-0").read_text().splitlines()[-1].endswith(f" jax[{extra}]")
    expected = ["--config=configs/quickstart.py", "--config.seed=3"]
    assert runs_of(tmp_path)[0][2:] == expected


def test_a_second_run_installs_nothing(gpu, tmp_path):
    gpu("configs/bccd.py:seed=1", gpus=H100)
    installed = (tmp_path / "pip-0").read_text()
    assert gpu("configs/bccd.py:seed=1", gpus=H100).returncode == 0
    assert (tmp_path / "pip-0").read_text() == installed
    assert runs_of(tmp_path)[1][2:] == ["--config=configs/bccd.py:seed=1"]


def test_without_a_gpu_nothing_is_installed_or_run(gpu, tmp_path):
    done = gpu(gpus=NONE)
    assert done.returncode == 2
    assert "error: nvidia-smi finds no NVIDIA GPU here" in done.stderr
    assert not (tmp_path / "repository/.venv").exists()


def test_a_driver_too_old_for_jax_is_named_with_the_version_it_needs(gpu, tmp_path):
    done = gpu("--install", gpus=OLDER_DRIVER)
    assert done.returncode == 2
    assert "driver here is 470.82.01; JAX needs 525 or newer for CUDA 12, 580 for CUDA 13" in done.stderr
    assert not (tmp_path / "repository/.venv").exists()
    assert gpu("--install", gpus=OLDER_DRIVER, CUDA="12").returncode == 0  # what the message says


def test_a_login_node_installs_what_it_is_told(gpu, tmp_path):
    assert "say CUDA=12 or CUDA=13" in gpu("--install", gpus=NONE).stderr
    assert gpu("--install", gpus=NONE, CUDA="12").returncode == 0
    assert (tmp_path / "pip-0").read_text().splitlines()[-1].endswith(" jax[cuda12]")
    assert runs_of(tmp_path) == []
    assert "expected 12 or 13" in gpu("--install", gpus=H100, CUDA="11").stderr


def test_a_gpu_that_jax_cannot_use_is_an_error(gpu, tmp_path):
    done = gpu(gpus=H100, FAKE_JAX_FAILS="1")
    assert done.returncode == 2
    assert "error: JAX cannot use the GPU" in done.stderr
    assert runs_of(tmp_path) == []
