"""The files of a data set's folder, and how an image is found by the name that a document gives it.

Call `list_files`, then `make_finder` with the names of a document's images.
"""

import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from selftrain_jax.data.formats.label_studio import UPLOAD_PREFIX
from selftrain_jax.data.image_files import find_image, is_text, require_folder
from selftrain_jax.data.source import Problem
from selftrain_jax.data.sources.image_folder import SUFFIXES
from selftrain_jax.text import shorten_list

LABEL_SUFFIXES = (".json", ".txt", ".xml", ".csv", ".yaml", ".yml", ".data", ".names")
FindImage = Callable[[str, str], pathlib.Path | Problem]  # (name, where it is from)


class Tree(NamedTuple):
    """The files below a folder, without hidden ones; linked folders are not entered."""

    root: pathlib.Path  # links resolved
    files: tuple[str, ...]  # paths below root, sorted
    images: dict[str, list[str]]  # by file name in lower case

    def matching(self, pattern: str) -> list[str]:
        """Return the files whose whole path matches a regular expression, in any case of letters."""
        compiled = re.compile(pattern, re.IGNORECASE)
        return [path for path in self.files if compiled.fullmatch(path)]


def list_files(root: pathlib.Path) -> Tree:
    """List a folder.

    Raises:
        InputError: it is not a folder.
    """
    root = require_folder(root, "the data set")
    files: list[str] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "__MACOSX"]
        below = pathlib.Path(folder).relative_to(root)
        files += [(below / name).as_posix() for name in names if not name.startswith(".") and is_text(name)]
    files.sort()
    images: dict[str, list[str]] = {}
    for path in files:
        if path.lower().endswith(SUFFIXES):
            images.setdefault(path.rpartition("/")[2].lower(), []).append(path)
    return Tree(root, tuple(files), images)


def stamp(tree: Tree) -> str:
    """Return a digest that changes when a file comes or goes, or a label file changes."""
    digest = hashlib.sha256()
    for path in tree.files:
        digest.update(path.encode())
        if path.lower().endswith(LABEL_SUFFIXES):
            status = (tree.root / path).stat()
            digest.update(f"\0{status.st_mtime_ns}\0{status.st_size}\0".encode())
    return digest.hexdigest()


def split_of(path: str) -> str:
    """Return the part of a path that names a split, as "valid" of valid/images/a.jpg; "" for none."""
    return next((part for part in path.split("/")[:-1] if canonical(part)), "")


def canonical(name: str) -> str:
    """Return train, val or test for what tools call them, as val2017 or valid; "" for other names."""
    base = re.sub(r"[-_ ]?(19|20)\d\d$", "", name.lower())
    known = {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation", "dev"),
        "test": ("test", "testing"),
    }
    return next((split for split, names in known.items() if base in names), "")


def clean_name(name: str) -> str:
    """Return an image's path out of what tools write: a URL, Windows' backslashes, ../ in front."""
    if "?d=" in name:  # Label Studio's local files
        name = name.partition("?d=")[2]
    name = re.sub(r"^[a-z0-9]+://", "", unquote(name)) if "://" in name or "%" in name else name
    parts = name.partition("?")[0].replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def make_finder(tree: Tree, names: Sequence[str], folders: Sequence[str]) -> tuple[FindImage, str]:
    """Return how a document's images are found, and a word on it where names are not taken as they are.

    Names are paths below the first of `folders` (below the root) that holds the first image. Where none does,
    the file with the longest common end of the path is taken, whatever the folder.
    """
    known = set(tree.files)
    for folder in dict.fromkeys(folders):
        prefix = f"{folder}/" if folder else ""
        if any(prefix + name in known for name in names[:20]):
            top = (tree.root / folder).resolve() if folder else tree.root
            return functools.partial(find_image, top), ""
    first = names[0] if names else ""
    return (
        lambda name, where: find_by_end(tree, name, where)
    ), f"images are found by the end of {first!r:.80}"


def find_by_end(tree: Tree, name: str, where: str) -> pathlib.Path | Problem:
    """Find the image whose path ends like a name, or that has the name without a tool's prefix."""
    parts = clean_name(name).split("/")
    last = parts[-1].lower()
    found = tree.images.get(last) or tree.images.get(UPLOAD_PREFIX.sub("", last)) or []
    if not found:
        return Problem("missing_image", where, f"image {name!r:.300} is nowhere below {tree.root}")
    common = [_common_end(path.split("/"), parts) for path in found]
    best = [path for path, number in zip(found, common, strict=True) if number == max(common)]
    if len(best) > 1:
        message = f"image {name!r:.300} may be any of {shorten_list(best)}; expected one file of that name"
        return Problem("missing_image", where, message)
    return find_image(tree.root, best[0], where)


def _common_end(path: list[str], parts: list[str]) -> int:
    pairs = zip(reversed(path), reversed(parts), strict=False)
    return next((number for number, (left, right) in enumerate(pairs) if left != right), len(parts))
