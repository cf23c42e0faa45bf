"""What a download gives, and how it fails; both ways of serving share this."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.errors import InputError


class Fetched(NamedTuple):
    """What was downloaded."""

    path: Path  # the file; of several, their folder
    sha256: dict[str, str]  # of the files as they were served, by name
    address: str
    revision: str | None  # on the hub


class UnreachableError(InputError):
    """A file cannot be reached at all: there is no network, or no such file."""


class BrokenOffError(InputError):
    """A download began and did not come to its end; the same command goes on."""


def check_room(num_bytes: int | None, folder: Path) -> None:
    """See that a folder, which may not be there yet, can be written and holds a download.

    Raises:
        InputError: it cannot be written; or, with what is needed and what is free, the disk is too small.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    if not os.access(existing, os.W_OK):
        raise InputError(
            f"the download goes to {folder}, and {existing} cannot be written; set --config.pretrained.dir, "
            "or HF_HOME for the hub's cache, to a folder of yours"
        )
    free = shutil.disk_usage(existing).free
    if num_bytes is not None and num_bytes > free:
        raise InputError(
            f"the download takes {num_bytes / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free in {existing}; "
            "make room, or set --config.pretrained.dir to a folder on a larger disk"
        )


def brief(error: Exception) -> str:
    """Return the first line of an error's message, or its name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
