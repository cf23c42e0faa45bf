"""The file of a gold set: which images are measured on and nothing else, by what their files hold.

`write_gold` writes it once; `read_gold` reads what every run that names it leaves out of training.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from selftrain_jax.data.contents import Content, read_content
from selftrain_jax.data.groups import image_name
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show, write_json

KIND, VERSION = "gold set", 1
REMEDY = "name the file that --job=gold wrote, as --config.data.gold=FILE, or restore it"


class GoldImage(NamedTuple):
    """An image of the set; the name is for people, the content decides."""

    name: str
    content: Content


def write_gold(path: pathlib.Path, source: Source, indices: Sequence[int], facts: Mapping[str, Any]) -> int:
    """Write the images at `indices` with the `facts` of how they were drawn; return how many differ.

    Raises:
        InputError: there is such a file, its folder does not exist, or an image cannot be read.
    """
    check_new(path)
    images = [(image_name(source, index), read_content(source, index)) for index in indices]
    names = {content: name for name, content in reversed(images)}  # of copies the first
    records = [
        {"name": name, "sha256": content.sha256, "num_bytes": content.num_bytes}
        for content, name in sorted(names.items(), key=lambda item: item[1])
    ]
    write_json(path, {"kind": KIND, "version": VERSION, **facts, "images": records})
    return len(records)


def check_new(path: pathlib.Path) -> None:
    """See that a gold set can be written. Raises: InputError, there is such a file or no folder for it."""
    if path.exists():
        raise InputError(
            f"{path} exists, and a gold set is never overwritten: numbers were measured on it. Name another "
            "--config.gold.file, or move the file away if nothing was."
        )
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no folder; make it, or name another --config.gold.file")


def read_gold(path: pathlib.Path) -> tuple[GoldImage, ...]:
    """Read a gold set. Raises: InputError, the file is missing, no JSON or no gold set."""
    document = read_json(path, REMEDY)
    match document:
        case {"kind": "gold set", "version": 1, "images": [_, *_] as records}:
            return tuple(_read_image(record, f"{path}, images[{n}]") for n, record in enumerate(records))
    found = show({key: document.get(key) for key in ("kind", "version")} if isinstance(document, dict) else 0)
    raise InputError(f"{path}: no gold set of version {VERSION} with images ({found}); {REMEDY}")


def _read_image(record: Any, where: str) -> GoldImage:
    match record:
        case {"name": str(name), "sha256": str(digest), "num_bytes": int(size)} if (
            re.fullmatch("[0-9a-f]{64}", digest) and size > 0
        ):
            return GoldImage(name, Content(digest, size))
    raise InputError(f"{where}: {show(record)}; expected name, sha256 (64 hex digits) and num_bytes")
