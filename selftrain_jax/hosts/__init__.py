"""Runs on many hosts, one process each: starting together, sharing work, exchanging results.

Enter `initialized` before anything uses a device; without it this process is the only host, and everything
here still works. `shard_range` is a host's part of the work, `gather` returns the values of all hosts to
every host, and `run_on_host0` runs a function on host 0 only.
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
from selftrain_jax.text import shorten_list

SINGLE_PROCESS, AUTO = "none", "auto"
MAX_VISIBLE_SECS = 30.0  # network file systems show new files with a delay
EARLY_END_SECS = 3.0  # a lost connection is noticed within milliseconds, unless the machine is busy

T = TypeVar("T")


@contextmanager
def initialized(
    where: str, *, num_hosts: int = 0, index: int = 0, wait_secs: float = 300.0
) -> Iterator[None]:
    """Start JAX on all hosts together; with "none" do nothing.

    `where` is "none", "auto" (Cloud TPU, SLURM, Kubernetes, Open MPI, as JAX detects them) or "address:port"
    of host 0, whose next port must be free too. An error inside ends all hosts with the same exit code.

    Raises:
        InputError: there is no such cluster, or address, number and index are invalid.
        RunAgainError: a host did not connect within `wait_secs`.
    """
    if where == SINGLE_PROCESS:
        yield
        return
    peer_monitor = _join(where, num_hosts, index, wait_secs)
    try:
        yield
    except BaseException as error:
        code = _exit_code(error)
        if code == BUG:  # or a collective operation that failed because another host is gone: then the
            time.sleep(EARLY_END_SECS)  # monitor notices, and ends this process meanwhile
        peer_monitor.close(code, f"host {host_index()}: {error or type(error).__name__}")
        if code == BUG:
            traceback.print_exc()
        end_process(code, str(error))  # JAX would wait for the others, which end too
    jax.distributed.shutdown()  # waits for all
    peer_monitor.close()


def _join(where: str, num_hosts: int, index: int, wait_secs: float) -> PeerMonitor:
    if where == AUTO:
        where, num_hosts, index = _detect(wait_secs)
    name, _, port = where.rpartition(":")
    if not name or not port.isdigit() or not 0 < int(port) < 65535:
        raise InputError(f"--hosts={where} is not none, auto or ADDRESS:PORT (with a port under 65535)")
    if not 0 <= index < num_hosts:
        raise InputError(
            f"--host={index} --num_hosts={num_hosts}: hosts are counted from 0; give every process the "
            "number of all hosts and its own index"
        )
    peer_monitor = wait_for_peers(f"{name}:{int(port) + 1}", num_hosts, index, wait_secs)
    jax.distributed.initialize(where, num_hosts, index, cluster_detection_method="deactivate")
    return peer_monitor


def count() -> int:
    """Return the number of hosts, without starting a device if there is one host."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def host_index() -> int:
    """Return the index of this host, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def shard_range(num_items: int) -> range:
    """Return this host's range of `num_items`, divided evenly among the hosts in order."""
    index, hosts = host_index(), count()
    return range(num_items * index // hosts, num_items * (index + 1) // hosts)


def gather(value: Any) -> list[Any]:
    """Exchange values that are JSON; every host gets those of all hosts, in order."""
    if count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = process_allgather(np.array(len(text), np.int32)).reshape(-1)
    padded = np.zeros(2 ** math.ceil(math.log2(sizes.max())), np.uint8)  # few sizes, as each is compiled
    padded[: len(text)] = text
    texts = process_allgather(padded).reshape(len(sizes), -1)
    return [json.loads(text[:size].tobytes()) for text, size in zip(texts, sizes, strict=True)]


def run_on_host0(function: Callable[[], T]) -> T:
    """Call the function on host 0 while the others wait; every host gets its result, which must be JSON."""
    return gather(function() if host_index() == 0 else None)[0]


def log(line: str) -> None:
    """Print a line on host 0 only."""
    if host_index() == 0:
        print(line, flush=True)


def wait_for_all() -> None:
    """Wait until every host has called this."""
    gather(None)


def check_shared(folder: Path) -> None:
    """Check that a folder is the same one on all hosts.

    Raises:
        InputError: some hosts have another folder under this name.
    """
    if count() == 1:
        return
    probe = folder / f".seen-{run_on_host0(time.time_ns)}"
    run_on_host0(lambda: probe.write_text("Host 0 wrote this to find out which hosts can read it.\n"))
    visible = gather(_becomes_visible(probe))
    run_on_host0(lambda: probe.unlink())
    others = [host for host, is_visible in enumerate(visible) if not is_visible]
    if others:
        raise InputError(
            f"--workdir={folder} is not one folder for all hosts: what host 0 wrote there is not visible to "
            f"hosts {shorten_list(others, 8)}. Put it on storage that all of them mount (NFS, Filestore, a "
            "bucket through gcsfuse)"
        )


def _exit_code(error: BaseException) -> int:
    codes = {InputError: USER_MISTAKE, RunAgainError: RUN_AGAIN, KeyboardInterrupt: INTERRUPTED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), BUG)


def _becomes_visible(path: Path) -> bool:
    deadline = time.monotonic() + MAX_VISIBLE_SECS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _detect(wait_secs: float) -> tuple[str, int, int]:
    """Ask JAX for host 0's address, number and index, as `jax.distributed.initialize` does by default."""
    from jax._src.clusters import ClusterEnv  # not public; a test checks it

    address, count, index, _ = ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, round(wait_secs)
    )
    if address is None or count is None or index is None:
        raise InputError(
            "--hosts=auto: JAX detects no cluster (Cloud TPU, SLURM, Kubernetes, Open MPI); name host 0 on "
            "every host: --hosts=ADDRESS:PORT --num_hosts=N --host=I"
        )
    return address, count, index
