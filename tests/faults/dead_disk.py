"""The command on a disk that is dead in one place: reading the file named by DEAD_FILE never returns."""

import os
import pathlib

from selftrain_jax.main import main

_read_bytes = pathlib.Path.read_bytes


def _read_or_hang(path: pathlib.Path) -> bytes:
    if path.name == os.environ["DEAD_FILE"]:
        os.read(os.pipe()[0], 1)  # in the kernel, as a read from a dead disk
    return _read_bytes(path)


if __name__ == "__main__":
    pathlib.Path.read_bytes = _read_or_hang  # type: ignore[method-assign]
    main()
