"""The whole command on several processes of this machine against one: the same numbers, and a clear end."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from selftrain_jax.errors import RUN_AGAIN, USER_MISTAKE
from tests.processes import environment

pytestmark = pytest.mark.compiles

ROOT = pathlib.Path(__file__).parents[2]
NUM_DEVICES = 4  # of all hosts together
STAGES = ("teacher", "control", "student")
LIMIT_SECS = 900
BATCHES = ("--config.teacher.batch_size=8", "--config.student.batch_size=8")


def start(workdir: pathlib.Path, hosts: int, index: int, address: str, *more: str) -> subprocess.Popen:
    # Its own folder for each number of hosts: two of them must not read what was compiled for one.
    compiled = os.environ["JAX_COMPILATION_CACHE_DIR"] + f"/hosts{hosts}"
    variables = environment(NUM_DEVICES // hosts, JAX_COMPILATION_CACHE_DIR=compiled)
    command = [sys.executable, "-m", "selftrain_jax.main", "--config=tests/tiny.py", f"--workdir={workdir}"]
    if hosts > 1:
        command += [f"--hosts={address}", f"--num_hosts={hosts}", f"--host={index}", "--host_wait_secs=120"]
    with log_of(workdir, hosts, index).open("w") as file:
        return subprocess.Popen(
            [*command, *BATCHES, *more], cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT
        )


def log_of(workdir: pathlib.Path, hosts: int, index: int) -> pathlib.Path:
    return workdir.parent / f"{workdir.name}-{hosts}-{index}.log"


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def run(workdir: pathlib.Path, hosts: int, *more: str) -> list[str]:
    """Run to the end on so many hosts; return what each printed."""
    address = free_address()
    processes = [start(workdir, hosts, index, address, *more) for index in range(hosts)]
    codes = [process.wait(timeout=LIMIT_SECS) for process in processes]
    printed = [log_of(workdir, hosts, index).read_text() for index in range(hosts)]
    assert codes == [0] * hosts, "\n".join(printed)
    return printed


def metrics_of(workdir: pathlib.Path, stage: str) -> list[dict[str, float]]:
    lines = (workdir / stage / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{key: value for key, value in row.items() if not key.startswith("speed/")} for row in rows]


def assert_same_run(one: pathlib.Path, other: pathlib.Path) -> None:
    """Compare every logged number; sums over devices round differently, step by step."""
    for stage in STAGES:
        rows, others = metrics_of(one, stage), metrics_of(other, stage)
        assert [row.keys() for row in rows] == [row.keys() for row in others]
        for row, of_other in zip(rows, others, strict=True):
            keys = [key for key in row if key.startswith("train/")]
            np.testing.assert_allclose(
                [row[key] for key in keys],
                [of_other[key] for key in keys],
                rtol=0.02,
                atol=1e-3,
                err_msg=stage,
            )
    manifests = [json.loads((run / "pseudo_labels/manifest.json").read_text()) for run in (one, other)]
    assert manifests[0]["num_images"] == manifests[1]["num_images"] == 12
    assert [shard["records"] for shard in manifests[0]["shards"]] == [4, 4, 4]
    assert [shard["file"] for shard in manifests[0]["shards"]] == [s["file"] for s in manifests[1]["shards"]]
    boxes = [manifest["num_boxes"] for manifest in manifests]
    assert abs(boxes[0] - boxes[1]) <= 0.1 * boxes[0]
    assert (other / "report.html").stat().st_size > 50_000


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("hosts") / "alone"
    run(workdir, 1)
    return workdir


@pytest.mark.parametrize("hosts", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_hosts_give_the_numbers_of_one_process(alone: pathlib.Path, hosts: int) -> None:
    workdir = alone.parent / f"on{hosts}"
    printed = run(workdir, hosts)
    assert f"hosts: {hosts} of {hosts} are here" in printed[0]
    assert all("teacher step" not in text for text in printed[1:])  # one of them speaks
    assert_same_run(alone, workdir)


@pytest.mark.parametrize(
    ("said", "hosts"),
    [
        pytest.param((0, "teacher step 2/6"), 1, id="training"),
        pytest.param((1, "pseudo labels: 1 of 2 shards"), 4, id="labelling", marks=pytest.mark.slow),
    ],
)
def test_a_killed_host_ends_all_and_another_number_of_hosts_goes_on(
    alone: pathlib.Path, said: tuple[int, str], hosts: int
) -> None:
    workdir, address = alone.parent / f"killed{hosts}", free_address()
    first, second = (start(workdir, 2, index, address) for index in (0, 1))
    deadline = time.monotonic() + LIMIT_SECS
    while said[1] not in log_of(workdir, 2, said[0]).read_text():
        assert time.monotonic() < deadline
        assert first.poll() is None, log_of(workdir, 2, 0).read_text()
        time.sleep(0.05)
    second.send_signal(signal.SIGKILL)
    assert first.wait(timeout=30) == RUN_AGAIN
    assert "host 1 is gone; the same command resumes" in log_of(workdir, 2, 0).read_text()
    second.wait()
    run(workdir, hosts)
    assert_same_run(alone, workdir)


def test_a_mistake_ends_all_hosts_with_its_message(alone: pathlib.Path) -> None:
    """The folder holds a teacher of another seed, which host 0 sees."""
    address = free_address()
    processes = [start(alone, 2, index, address, "--config.seed=1") for index in (0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [USER_MISTAKE] * 2
    for index in (0, 1):
        assert "holds another teacher than this command's" in log_of(alone, 2, index).read_text()


def test_folders_that_are_not_shared_are_found_out(tmp_path: pathlib.Path) -> None:
    """As on machines without a common disk: each host has another folder behind --workdir."""
    address = free_address()
    processes = [start(tmp_path / f"own{index}", 2, index, address) for index in (0, 1)]
    assert [process.wait(timeout=180) for process in processes] == [USER_MISTAKE] * 2
    assert "is not one folder for all hosts" in log_of(tmp_path / "own0", 2, 0).read_text()
