"""A run's folder: where it is by default, and the lock that keeps other runs out of it."""

import datetime
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from selftrain_jax.errors import InputError

LOCK_FILE = ".lock"


@contextmanager
def hold_workdir(workdir: pathlib.Path) -> Iterator[None]:
    """Make the folder and lock out other runs; the lock is released however this process ends.

    Raises:
        InputError: it cannot be a folder, or another run writes into it.
    """
    _make_folder(workdir)
    with (workdir / LOCK_FILE).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InputError(
                f"{workdir} is in use by another run, {lock.read().strip() or 'which has just begun'}; "
                "wait for it, end it, or choose another --workdir"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.datetime.now():%F %T}")
        lock.flush()
        yield


def _make_folder(workdir: pathlib.Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"--workdir={workdir} cannot be a folder: {error.strerror}") from None
