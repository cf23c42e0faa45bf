"""Downloads published weights and checks them: `fetch`. What it was the first time is in checksums.json.

Not in the paper. `fetch_hub.py` and `fetch_files.py` are the two ways in which weights are served.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file, read_json, write_json
from selftrain_jax.pretrain.catalogue import Weights, describe, explain_by_hand
from selftrain_jax.pretrain.fetch_files import fetch_files, unpack
from selftrain_jax.pretrain.fetch_hub import fetch_from_hub
from selftrain_jax.pretrain.fetched import BrokenOffError, Fetched, UnreachableError

CHECKSUMS_FILE = "checksums.json"
DOWNLOADS = "downloads"  # below the folder of weights: what is not complete or not converted yet


@contextmanager
def fetch(weights: Weights, folder: Path, target: Path) -> Iterator[Fetched]:
    """Download weights, to be converted in the block; then archives are deleted and the checksums kept.

    `folder` is config.pretrained.dir, `target` what the weights are converted into, for messages.

    Raises:
        UnreachableError: there is no network, or the server has no such file.
        InputError: the download broke off, a checksum differs, or the disk is too small.
    """
    downloads = folder / DOWNLOADS / weights.name
    print(f"downloading {describe(weights)}", flush=True)
    try:
        found = fetch_from_hub(weights, folder) if weights.repo else fetch_files(weights, downloads)
    except (UnreachableError, BrokenOffError) as error:
        raise type(error)(f"{error}\n{explain_by_hand(weights, target)}") from error
    try:
        known = check(weights, found, folder)
        with unpacked(found, downloads) as ready:
            yield ready
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CHECKSUMS_FILE, known)
    finally:
        shutil.rmtree(downloads, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are in it, or it is not there
            downloads.parent.rmdir()


@contextmanager
def take(weights: Weights, source: Path, folder: Path) -> Iterator[Fetched]:
    """Check what was brought by hand, a file, an archive or a checkpoint's prefix or folder, and unpack it.

    Raises:
        InputError: it is not there, or a checksum differs.
    """
    names = [_name(address) for address in weights.addresses]
    files = [source] if len(names) == 1 else [source / name for name in names]
    pairs = zip(names, files, strict=True)
    digests = {name: hash_file(file) for name, file in pairs if file.is_file()}
    found = Fetched(source, digests, str(source.absolute()), None)
    check(weights, found, folder)
    with unpacked(found, folder / DOWNLOADS / weights.name) as ready:
        yield ready


@contextmanager
def unpacked(found: Fetched, folder: Path) -> Iterator[Fetched]:
    """Unpack an archive beside `folder`, for as long as the block lasts."""
    scratch = folder.parent / f".{folder.name}.unpacked-{os.getpid()}"
    try:
        yield found._replace(path=unpack(found.path, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check(weights: Weights, found: Fetched, folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Compare checksums with the published ones, else with those of the first download of a file of the name.

    Returns all that are known, with these.

    Raises:
        InputError: one differs; the downloaded file is deleted.
    """
    path = folder / CHECKSUMS_FILE
    known = read_json(path, f"delete {path}; it is written anew") if path.exists() else {}
    published = dict(zip(map(_name, weights.addresses), weights.sha256, strict=False))
    first = published or (known.get(weights.name) if isinstance(known, dict) else None) or {}
    for name, digest in found.sha256.items():
        if first.get(name, digest) != digest:
            where = "the catalogue" if published else f"{path} of the first download"
            raise InputError(
                f"{weights.name}: {name} has the SHA-256 {digest}, and {where} says {first[name]}. The file "
                "was damaged on the way, or is not the one that it was; nothing was imported. Run the same "
                f"command again{'' if published else f', or remove the entry from {path} if you trust it'}"
            )
    return {**known, weights.name: {**first, **found.sha256}}


def _name(address: str) -> str:
    return address.rpartition("/")[2]
