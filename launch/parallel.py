"""Run commands side by side, each on its own cores; call `run_parallel`."""

import os
import pathlib
import queue
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed


def split_cores(parts: int) -> "queue.Queue[list[int]]":
    """Divide the cores that this process may use into `parts` groups.

    Raises:
        SystemExit: there are fewer cores.
    """
    cores, groups = sorted(os.sched_getaffinity(0)), queue.Queue()
    if not 1 <= parts <= len(cores):
        raise SystemExit(f"--parallel={parts}: use 1 to {len(cores)}, the number of cores")
    for part in range(parts):
        groups.put(cores[part::parts])
    return groups


def run_parallel(lines: Mapping[str, Sequence[str]], logs: pathlib.Path, parallel: int) -> Iterator[str]:
    """Run command lines by name, `parallel` at once, and yield each name when its command has ended.

    What a command prints goes to `<logs>/<name>.log`.

    Closed early, as by an error of whoever iterates, it begins no command that waits.

    Raises:
        SystemExit: a command failed, or there are too few cores; none that waits is begun then.
    """
    groups = split_cores(parallel)
    logs.mkdir(parents=True, exist_ok=True)

    def run(name: str) -> str:
        cores = groups.get()
        pin = ["taskset", "--cpu-list", ",".join(map(str, cores))]
        try:
            with (logs / f"{name}.log").open("a") as log:
                subprocess.run([*pin, *lines[name]], check=True, stdout=log, stderr=subprocess.STDOUT)
        finally:
            groups.put(cores)
        return name

    with ThreadPoolExecutor(parallel) as pool:
        runs = [pool.submit(run, name) for name in lines]
        try:
            for done in as_completed(runs):
                yield done.result()
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"a run failed: {error}; see its log in {logs}") from None
        finally:
            pool.shutdown(cancel_futures=True)
