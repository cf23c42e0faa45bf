"""The run of tiny.py by the command, in processes of its own, and all that it measured."""

import json
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from ml_collections import ConfigDict

from tests import tiny
from tests.processes import environment

ROOT = pathlib.Path(__file__).parents[1]
STAGES = ("teacher", "control", "student")
TIMES = ("training_secs", "seconds", "seconds_total", "cost")
LIMIT_SECS = 900


def start(
    workdir: pathlib.Path, log: pathlib.Path, *arguments: str, module: str = "selftrain_jax.main"
) -> subprocess.Popen:
    """Start the command; its output goes to a file, for a full pipe would stop it."""
    variables = environment(JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0", JAX_LOG_COMPILES="1")
    command = [sys.executable, "-m", module, "--config=tests/tiny.py", f"--workdir={workdir}"]
    with log.open("w") as file:
        return subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT
        )


def run(workdir: pathlib.Path, *arguments: str) -> tuple[int, str]:
    log = workdir.parent / f"{workdir.name}.log"
    status = start(workdir, log, *arguments).wait(timeout=LIMIT_SECS)
    return status, log.read_text()


def config_with(**changes: object) -> ConfigDict:
    """Return tiny.py with keys changed; a double underscore stands for a dot."""
    config = tiny.get_config()
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


def results(workdir: pathlib.Path) -> dict[str, object]:
    """Everything that a run measured, without the clock."""
    found = {}
    for stage in STAGES:
        evaluation = json.loads((workdir / stage / "evaluation.json").read_text())
        found[stage] = {key: value for key, value in evaluation.items() if key not in TIMES}
        found[f"{stage} detections"] = json.loads((workdir / stage / "detections.json").read_text())
        lines = (workdir / stage / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        found[f"{stage} metrics"] = [
            {key: value for key, value in row.items() if not key.startswith("speed/")} for row in rows
        ]
    for shard in sorted((workdir / "pseudo_labels").glob("*.tfrecord")):
        found[shard.name] = shard.read_bytes()
    manifest = json.loads((workdir / "pseudo_labels" / "manifest.json").read_text())
    return found | {"digest": manifest["teacher"]["digest"], "boxes": manifest["num_boxes"]}


def end_when(
    workdir: pathlib.Path, is_time: Callable[[], bool], number: int = signal.SIGKILL, *arguments: str
) -> int:
    """Run the command and send it a signal as soon as `is_time`; return how it ended."""
    process = start(workdir, workdir.parent / "ended.log", *arguments)
    deadline = time.monotonic() + LIMIT_SECS
    while process.poll() is None and not is_time():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait()
