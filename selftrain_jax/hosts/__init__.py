"""The processes of one run on many machines, a host each: joining them, sharing out work, exchanging results.

Use `initialized` before anything touches a device; without it this process is the only host, and everything
here still works. `shard_range` is a host's part of the work, `gather` gives every host the values of all
hosts, and `run_on_host0` runs a function on host 0 only.
"""

import json
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from selftrain_jax.errors import BUG, INTERRUPTED, RUN_AGAIN, USER_MISTAKE, InputError, RunAgainError
from selftrain_jax.hosts.peer_monitor import PeerMonitor, end_process, wait_for_peers

SINGLE_PROCESS, AUTO = "none", "auto"
SEEN_WITHIN_SECS = 30.0  # network file systems show a new file late

T = TypeVar("T")


@contextmanager
def initialized(
    where: str, *, num_hosts: int = 0, index: int = 0, wait_secs: float = 300.0
) -> Iterator[None]:
    """Start JAX on all hosts together; nothing happens where `where` is "none".

    `where` is "auto" (Cloud TPU, SLURM, Kubernetes, Open MPI, as JAX finds them) or host 0's
    "address:port"; the port after it must be free too. An error inside ends all hosts, with the exit code
    that it means on this one.

    Raises:
        InputError: there is no such cluster, or address, number and index do not make sense.
        RunAgainError: a host did not come within `wait_secs`.
    """
    if where == SINGLE_PROCESS:
        yield
        return
    peer_monitor = _join(where, num_hosts, index, wait_secs)
    try:
        yield
    except BaseException as error:
        code = _exit_code(error)
        peer_monitor.close(code, f"host {host_index()}: {error or type(error).__name__}")
        if code == BUG:
            traceback.print_exc()
        end_process(code, str(error))  # JAX would wait for the others, who end too
    jax.distributed.shutdown()  # waits for all
    peer_monitor.close()


def _join(where: str, num_hosts: int, index: int, wait_secs: float) -> PeerMonitor:
    if where == AUTO:
        where, num_hosts, index = _detect(wait_secs)
    _check(where, num_hosts, index)
    name, _, port = where.rpartition(":")
    peer_monitor = wait_for_peers(f"{name}:{int(port) + 1}", num_hosts, index, wait_secs)
    jax.distributed.initialize(where, num_hosts, index, cluster_detection_method="deactivate")
    return peer_monitor


def count() -> int:
    """Give the number of hosts; starts no device when there is one."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def host_index() -> int:
    """Give this host's place among them, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def shard_range(num_items: int) -> range:
    """Give this host's part of so many items: neighbours, in the order of the hosts, evenly."""
    index, hosts = host_index(), count()
    return range(num_items * index // hosts, num_items * (index + 1) // hosts)


def gather(value: Any) -> list[Any]:
    """Exchange what can be JSON; every host gets the values of all, in the order of the hosts."""
    if count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = process_allgather(np.array(len(text), np.int32)).reshape(-1)
    padded = np.zeros(2 ** math.ceil(math.log2(sizes.max())), np.uint8)  # few sizes: each is compiled
    padded[: len(text)] = text
    rows = process_allgather(padded).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def run_on_host0(act: Callable[[], T]) -> T:
    """Let host 0 act while the others wait; every host gets what came of it, which can be JSON."""
    return gather(act() if host_index() == 0 else None)[0]


def log(line: str) -> None:
    """Print a line; of many hosts the first alone does."""
    if host_index() == 0:
        print(line, flush=True)


def wait_for_all() -> None:
    """Wait until every host is here."""
    gather(None)


def check_shared(folder: Path) -> None:
    """See that all hosts write into the same folder, which exists.

    Raises:
        InputError: some host has another folder under this name.
    """
    if count() == 1:
        return
    sign = folder / f".seen-{run_on_host0(time.time_ns)}"
    run_on_host0(lambda: sign.write_text("A host wrote this to see who else can read it.\n"))
    seen = gather(_appears(sign))
    run_on_host0(lambda: sign.unlink())
    strangers = [host for host, sees in enumerate(seen) if not sees]
    if strangers:
        raise InputError(
            f"--workdir={folder} is not one folder for all hosts: what host 0 wrote there, hosts "
            f"{', '.join(map(str, strangers[:8]))} do not see. Put it on storage that all of them mount "
            "(NFS, Filestore, a bucket through gcsfuse)"
        )


def _exit_code(error: BaseException) -> int:
    codes = {InputError: USER_MISTAKE, RunAgainError: RUN_AGAIN, KeyboardInterrupt: INTERRUPTED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), BUG)


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + SEEN_WITHIN_SECS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _detect(wait_secs: float) -> tuple[str, int, int]:
    """Ask JAX where this process stands; it is what `jax.distributed.initialize` does without arguments."""
    from jax._src.clusters import ClusterEnv  # no public name; held by a test on every version we run on

    address, count, index, _ = ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, round(wait_secs)
    )
    if address is None or count is None or index is None:
        raise InputError(
            "--hosts=auto: this is no cluster that JAX knows (Cloud TPU, SLURM, Kubernetes, Open MPI); name "
            "host 0 on every host: --hosts=ADDRESS:PORT --num_hosts=N --host=I"
        )
    return address, count, index


def _check(where: str, num_hosts: int, index: int) -> None:
    name, _, port = where.rpartition(":")
    if not name or not port.isdigit() or not 0 < int(port) < 65535:
        raise InputError(f"--hosts={where} is not none, auto or ADDRESS:PORT (with a port under 65535)")
    if not 0 <= index < num_hosts:
        raise InputError(
            f"--host={index} --num_hosts={num_hosts}: hosts are counted from 0, and every process needs "
            "both: the number of all hosts and its own place"
        )
