"""Images by what their files hold, whatever their names: SHA-256 of the encoded bytes; call `find_copies`."""

import hashlib
import os
from collections.abc import Collection
from typing import NamedTuple

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import hash_file
from selftrain_jax.threads import thread_pool


class Content(NamedTuple):
    """What identifies an image's file."""

    sha256: str  # of the file's bytes
    num_bytes: int


def read_content(source: Source, index: int) -> Content:
    """Hash an image's file, or what is read in its place where there is none.

    Raises:
        InputError: it cannot be read.
    """
    if source.path is None:
        encoded = source.read_encoded(index)
        return Content(hashlib.sha256(encoded).hexdigest(), len(encoded))
    path = source.path(index)
    try:
        return Content(hash_file(path), path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Restore the file.") from error


def read_contents(source: Source) -> list[Content | None]:
    """Hash all images on all cores; None stands for one that cannot be read, which others count."""

    def read(index: int) -> Content | None:
        try:
            return read_content(source, index)
        except InputError:
            return None

    with thread_pool(os.cpu_count() or 1) as pool:
        return list(pool.map(read, range(len(source))))


def find_copies(source: Source, wanted: Collection[Content]) -> dict[int, Content]:
    """Return the images whose content is wanted, by index; of files only those of a wanted size are read."""
    contents, sizes = set(wanted), {content.num_bytes for content in wanted}

    def find(index: int) -> Content | None:
        try:
            if source.path is not None and source.path(index).stat().st_size not in sizes:
                return None
            return read_content(source, index)
        except (OSError, InputError):
            return None

    with thread_pool(os.cpu_count() or 1) as pool:
        found = list(pool.map(find, range(len(source) if contents else 0)))
    return {index: content for index, content in enumerate(found) if content in contents and content}
