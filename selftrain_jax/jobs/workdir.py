"""A run's folder belongs to one config: `claim_workdir` writes it down or refuses another."""

import datetime
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import jax
from ml_collections import ConfigDict

from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, write_json

CONFIG_FILE = "config.json"
LOCK_FILE = ".lock"
# Keys that training does not read; they may change between calls.
FREE_KEYS = (
    "mesh",
    "predict",
    "log",
    "import_weights",
    "evaluate",
    "data.max_bad_images",
    "data.max_stall_secs",
)
PACKAGES = (
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "pycocotools",
    "tensorflow-cpu",
    "tensorflow",
)


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


def claim_workdir(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Make the folder and write the config into it, or check that it is the one it was made with.

    Raises:
        InputError: the folder holds a run of another config; the differing keys are shown.
    """
    wanted = json.loads(json.dumps(config.to_dict()))
    path = workdir / CONFIG_FILE
    if not path.exists():
        _make_folder(workdir)
        return write_json(path, wanted)
    found = read_json(path, "the run's config is damaged; choose another --workdir")
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no config; choose another --workdir")
    differing = differing_keys(found, wanted)
    if differing:
        raise InputError(
            f"{workdir} holds a run with another config:\n"
            + "\n".join(f"  {key:.99}: {was!r:.99} there, {now!r:.99} now" for key, was, now in differing[:9])
            + f"\n{len(differing)} in all. Use the same config, or another --workdir."
        )
    return None


def _make_folder(workdir: pathlib.Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"--workdir={workdir} cannot be a folder: {error.strerror}") from None


def differing_keys(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, old, new) wherever two configs differ, leaving out `FREE_KEYS`."""
    old, new = flatten(found), flatten(wanted)
    keys = [key for key in sorted(old | new) if not {key, key.split(".")[0]} & set(FREE_KEYS)]
    absent = "(absent)"
    pairs = [(key, old.get(key, absent), new.get(key, absent)) for key in keys]
    return [(key, was, now) for key, was, now in pairs if was != now]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def device_name() -> str:
    """Return what the run computes on, e.g. "2 x cpu (cpu)"."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
