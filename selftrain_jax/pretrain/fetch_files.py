"""Archives and files by their address, through pooch: `fetch_files`; `unpack` takes a checkpoint out."""

import functools
import gzip
import hashlib
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file
from selftrain_jax.pretrain.catalogue import Weights
from selftrain_jax.pretrain.fetched import BrokenOffError, Fetched, UnreachableError, brief, check_room
from selftrain_jax.pretrain.tf_checkpoint import ARCHIVES, DATA_FILE

ATTEMPTS = 3
TIMEOUT_SECS = 30
PAUSE_SECS = 1.0  # before the second attempt, twice that before the third
CHUNK_BYTES = 2**14  # of what is left of a broken connection, a part of one is lost

Member = tuple[int, Callable[[], Any]]


def fetch_files(weights: Weights, folder: Path) -> Fetched:
    """Download a row's files into `folder`; one that broke off is gone on with, by the next command too.

    Raises:
        UnreachableError: an address cannot be reached, or has no such file.
        InputError: a download broke off for good, is no file, or does not fit onto the disk.
    """
    paths = [_fetch(url, folder) for url in weights.urls]
    digests = {path.name: hash_file(path) for path in paths}
    path = paths[0] if len(paths) == 1 else folder
    return Fetched(path, digests, " ".join(weights.urls), None)


def _fetch(url: str, folder: Path) -> Path:
    import pooch

    size, version = _probe(url)
    name = url.rpartition("/")[2]
    part = folder / f"{name}.{version}.part"
    check_room(None if size is None else size - (part.stat().st_size if part.exists() else 0), folder)
    pooch.get_logger().setLevel("WARNING")  # it would print the checksum and advice to pin it

    def download(url: str, output_file: str, _: Any) -> None:
        _resume(url, part, size)
        part.replace(output_file)

    return Path(pooch.retrieve(url, known_hash=None, fname=name, path=folder, downloader=download))


def _probe(url: str) -> tuple[int | None, str]:
    """Ask for a file's size, and a mark of its version. Raises: as `fetch_files`."""
    import requests

    try:
        answer = requests.head(url, allow_redirects=True, timeout=TIMEOUT_SECS)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise UnreachableError(f"{url} cannot be had ({brief(error)})") from error
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise UnreachableError(f"{url} answers with a web page, as of a login, in place of the file")
    length = answer.headers.get("Content-Length")
    mark = f"{answer.headers.get('ETag')} {answer.headers.get('Last-Modified')} {length}"
    return int(length) if length else None, hashlib.sha256(mark.encode()).hexdigest()[:8]


def _resume(url: str, part: Path, size: int | None) -> None:
    """Go on with `part` to its end. Raises: BrokenOffError when the connection breaks again and again."""
    import requests

    for attempt in range(ATTEMPTS):
        try:
            _append(url, part, size)
            return
        except requests.RequestException as error:
            if attempt == ATTEMPTS - 1:
                have = part.stat().st_size if part.exists() else 0
                of = "" if size is None else f" of {size:,}"
                raise BrokenOffError(
                    f"{url}: the download broke off after {have:,}{of} bytes ({brief(error)}); the same "
                    "command goes on from there"
                ) from error
            time.sleep(PAUSE_SECS * (attempt + 1))


def _append(url: str, part: Path, size: int | None) -> None:
    import requests
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() and size is not None else 0
    if size is not None and have == size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECS) as answer:
        answer.raise_for_status()
        is_rest = answer.status_code == requests.codes.partial_content
        bar = tqdm(total=size, initial=have * is_rest, unit="B", unit_scale=True, desc=url.rpartition("/")[2])
        with bar, part.open("ab" if is_rest else "wb") as file:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    if size is not None and (got := part.stat().st_size) != size:
        raise requests.ConnectionError(f"{got:,} of {size:,} bytes came")


def unpack(path: Path, folder: Path) -> Path:
    """Take the files of a TensorFlow checkpoint out of an archive, whatever folders it has them in.

    Returns `folder`, or `path` itself where it is no archive.

    Raises:
        InputError: the archive is damaged, has no checkpoint, or does not fit onto the disk.
    """
    if not path.name.endswith(ARCHIVES) or not path.is_file():
        return path
    try:
        with _open(path) as members:
            check_room(sum(size for size, _ in members.values()), folder)
            folder.mkdir(parents=True)
            for name, (_, read) in members.items():
                with read() as source, (folder / name).open("wb") as file:
                    shutil.copyfileobj(source, file, CHUNK_BYTES)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is not a whole archive ({brief(error)}); get it again") from error
    if not members:
        raise InputError(f"{path} has no TensorFlow checkpoint in it (.index and .data files)")
    return folder


@contextmanager
def _open(path: Path) -> Iterator[dict[str, Member]]:
    """Open an archive; give a checkpoint's files by bare name, each with its size and how to read it."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if is_of_checkpoint(info.filename)]
            yield {_bare(i.filename): (i.file_size, functools.partial(archive.open, i)) for i in infos}
    else:
        with tarfile.open(path) as tar:
            files = [info for info in tar if info.isfile() and is_of_checkpoint(info.name)]
            yield {_bare(i.name): (i.size, functools.partial(_extract, tar, i)) for i in files}


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Any:
    opened = tar.extractfile(info)
    assert opened is not None  # it is a file
    return opened


def is_of_checkpoint(name: str) -> bool:
    """Tell whether a member of an archive is one of the files that a checkpoint is read from."""
    bare = _bare(name)
    is_data = bare.endswith(".index") or DATA_FILE.search(bare) is not None
    return not bare.startswith(".") and (is_data or bare == "checkpoint")


def _bare(name: str) -> str:
    return name.rpartition("/")[2]
