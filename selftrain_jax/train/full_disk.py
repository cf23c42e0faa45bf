"""A disk too full for a checkpoint: said in a line, nothing half-written stays. Use `explain_full_disk`."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from selftrain_jax.errors import InputError

SPARE_MIB = 1.0  # for names and shapes


def check_room(directory: Path, size_mib: float) -> None:
    """Find out before a save whether it fits: of a disk that fills under it orbax prints tracebacks.

    Raises:
        OSError: there is no room (ENOSPC).
    """
    if shutil.disk_usage(directory).free < (1.1 * size_mib + SPARE_MIB) * 2**20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


@contextmanager
def explain_full_disk(directory: Path, size_mib: float) -> Iterator[None]:
    """Turn a full disk into an InputError, and remove what was half-written.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        remove_unfinished(directory)
        free_mib = shutil.disk_usage(directory).free / 2**20
        raise InputError(
            f"the disk is full: a checkpoint could not be saved in {directory}, where {free_mib:.0f} MiB are "
            f"free and a checkpoint takes about {size_mib:.0f} MiB. Make room or choose another "
            "workdir, then run the same command again; it goes on from the last whole checkpoint"
        ) from error


def remove_unfinished(directory: Path) -> None:
    """Remove what a crash or a full disk left half-written; orbax renames a checkpoint when it is whole."""
    if jax.process_index() == 0:
        for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(unfinished, ignore_errors=True)


def is_full_disk(error: BaseException) -> bool:
    """Look for ENOSPC along the chain of causes; tensorstore keeps only its text."""
    is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    cause = error.__cause__ or error.__context__
    return is_full or "No space left on device" in str(error) or (cause is not None and is_full_disk(cause))
