"""The lock that keeps a second process out of a folder; call `hold_folder`, or `is_held` to look."""

import datetime
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selftrain_jax.errors import InputError

LOCK_FILE = ".lock"


@contextmanager
def hold_folder(folder: Path, flag: str) -> Iterator[None]:
    """Make a folder and lock out other processes; the lock is released however this process ends.

    `flag` is the command-line flag that names the folder.

    Raises:
        InputError: it cannot be a folder, cannot be written, or another process holds it.
    """
    _make_folder(folder, flag)
    try:
        lock = (folder / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{flag}={folder} cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise InputError(
                f"{folder} is in use by another run, {lock.read().strip() or 'which has just begun'}; "
                f"wait for it, end it, or choose another {flag}"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()} since {datetime.datetime.now():%F %T}")
        lock.flush()
        yield


def is_held(folder: Path) -> bool:
    """Tell whether a process holds a folder now; nothing is written."""
    try:
        with (folder / LOCK_FILE).open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _make_folder(folder: Path, flag: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{flag}={folder} cannot be a folder: {error.strerror}") from None
