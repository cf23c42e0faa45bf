"""Image files, which are read only from inside the folder that the user named."""

import errno
import functools
import os
import pathlib
import re
import shlex
import stat
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Problem, Source, decode_image, encode_png, encoded_suffix, image_size
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example

LONGEST_SHOWN = 1000  # characters of a name
_ARCHIVE = re.compile(r"\.(zip|7z|rar|tar|tgz|tbz2|txz|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)
END_BYTES = 64  # in which an image file's end marker is looked for


def read_file(path: pathlib.Path) -> bytes:
    """Read a file's bytes.

    Raises:
        InputError: it cannot be read, or is a pipe, which would block.
    """
    try:
        _require_ordinary(path)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_image_size(path: pathlib.Path) -> tuple[int, int]:
    """Read (height, width) from a file's header, and no more of it.

    Raises:
        InputError: the file cannot be read, or as `image_size`.
    """
    try:
        _require_ordinary(path)
        with open(path, "rb") as file:
            return image_size(file, str(path))
    except OSError as error:
        raise _unreadable(path, error) from error


def read_encoded_file(path: pathlib.Path) -> bytes:
    """Read JPEG and PNG files as they are, and others (BMP, WEBP) as PNG without loss."""
    encoded = read_file(path)
    return encoded if encoded_suffix(encoded) else encode_png(decode_image(encoded, str(path)))


def read_image_file(path: pathlib.Path, size_px: tuple[int, int] | None = None) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a file and compare it with the (height, width) that its annotation states.

    Raises:
        InputError: it does not decode or has another size: then the boxes would not fit.
    """
    image = decode_image(read_file(path), str(path))
    height, width = image.shape[:2]
    _check_size(path, (height, width), size_px)
    return image


def check_image_file(path: pathlib.Path, size_px: tuple[int, int] | None = None) -> None:
    """Check a file by its header and its end; decode it only where the end looks cut off.

    Raises:
        InputError: as `read_image_file`; damage between header and end is not seen.
    """
    _check_size(path, read_image_size(path), size_px)
    if not _looks_whole(path):
        read_image_file(path, size_px)


def _check_size(path: pathlib.Path, found: tuple[int, int], stated: tuple[int, int] | None) -> None:
    if stated is not None and found != stated:
        raise InputError(
            f"{path}: the image is {found[1]} x {found[0]} pixels (width x height), its "
            f"annotation says {stated[1]} x {stated[0]}, so its boxes would not fit. Annotate the image as "
            "it is now; if width and height are swapped, the file carries an EXIF rotation: rotate its "
            "pixels and drop the tag."
        )


def _looks_whole(path: pathlib.Path) -> bool:
    """Say whether a file has its format's end marker, or the length that its header states."""
    try:
        with open(path, "rb") as file:
            start, length = file.read(8), file.seek(0, os.SEEK_END)
            file.seek(max(0, length - END_BYTES))
            end = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    if start.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in end
    if start.startswith(b"\x89PNG"):
        return b"IEND" in end
    if start.startswith(b"RIFF"):
        return int.from_bytes(start[4:8], "little") + 8 <= length
    return start.startswith(b"BM") and int.from_bytes(start[2:6], "little") <= length


def file_source(
    name: str,
    categories: tuple[Category, ...],
    image_ids: tuple[str, ...],
    path: Callable[[int], pathlib.Path],
    read_labels: Callable[[int], Example],
    sizes_px: Sequence[tuple[int, int]] | None = None,
    file_names: tuple[str, ...] = (),
) -> Source:
    """Make a source of image files.

    `sizes_px` (height, width) is what their annotations state, `file_names` are theirs where ids are not.
    """
    return Source(
        name=name,
        categories=categories,
        image_ids=image_ids,
        read_labels=read_labels,
        read_encoded=lambda index: read_encoded_file(path(index)),
        read_image=lambda index: read_image_file(path(index), sizes_px[index] if sizes_px else None),
        check_file=lambda index: check_image_file(path(index), sizes_px[index] if sizes_px else None),
        file_names=file_names,
        path=path,
        read_size=lambda index: read_image_size(path(index)),
    )


def fill_template(template: str, split: str, key: str) -> str:
    """Put a split's name into a path as "{split}/images".

    Raises:
        InputError: braces around anything else; the message names `key`.
    """
    if set("{}") & set(template.replace("{split}", "")):
        raise InputError(
            f"{key}={template!r} has braces other than those of {{split}}; expected a path in which "
            "{split} stands for the split's name, as {split}/images."
        )
    return template.replace("{split}", split)


def require_folder(path: pathlib.Path, what: str) -> pathlib.Path:
    """Return the folder with its links resolved.

    Raises:
        InputError: it is not a folder.
    """
    try:
        if path.is_dir():
            return path.resolve()
        found = "is not a folder" if path.exists() else "does not exist"
    except (OSError, ValueError):  # a name that no file can have
        found = "cannot be looked for"
    raise InputError(f"{str(path)[:LONGEST_SHOWN]}: {what} {found}. Check the path.")


def find_image(root: pathlib.Path, file_name: str, where: str) -> pathlib.Path | Problem:
    """Find the file that an annotation names, strictly inside `root` (links resolved)."""
    path, shown = path_inside(root, file_name), repr(file_name[:LONGEST_SHOWN])
    if path is None:
        return Problem(
            "malformed", where, f"file name {shown} leaves {root}; expected a path inside that folder"
        )
    if is_file(path):
        return path
    near = nearest_file(root, file_name)
    hint = f"; there is {near!r}" if near else ""
    return Problem("missing_image", where, f"image {shown} is not in {root}{hint}")


def nearest_file(root: pathlib.Path, file_name: str) -> str:
    """Return the file that a wrong name may mean: other case or suffix, or its last part; "" for none."""
    parts = [
        part for part in file_name[:LONGEST_SHOWN].replace("\\", "/").split("/") if part not in ("", "..")
    ]
    for skipped in range(len(parts)):  # the longest end of the name first
        *folders, last = parts[skipped:]
        folder = root.joinpath(*folders)
        there = _names_by_lower(folder, _mtime(folder))
        stem = last.lower().rpartition(".")[0] or last.lower()
        found = there.get(last.lower()) or there.get(stem)
        if found:
            return "/".join([*folders, found])
    return ""


@functools.lru_cache(maxsize=8)
def _names_by_lower(folder: pathlib.Path, _changed: int) -> dict[str, str]:
    """Map a folder's file names in lower case, and without their suffixes, to the names."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except (OSError, ValueError):
        return {}
    return {name.rpartition(".")[0].lower(): name for name in names} | {name.lower(): name for name in names}


def _mtime(folder: pathlib.Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


def is_file(path: pathlib.Path) -> bool:
    """Say whether there is such a file; False for a name that no file can have, such as one too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def unpack_command(path: pathlib.Path) -> str:
    """Return the command that unpacks an archive beside itself; "" for any other name."""
    match = _ARCHIVE.search(path.name)
    if match is None:
        return ""
    archive, folder = shlex.quote(str(path)), shlex.quote(str(path.with_name(path.name[: match.start()])))
    command = {".zip": f"unzip {archive} -d {folder}", ".7z": f"7z x {archive} -o{folder}"}
    is_tar = match[0].lower() not in (*command, ".rar")
    return command.get(
        match[0].lower(),
        f"mkdir -p {folder} && tar -xf {archive} -C {folder}" if is_tar else f"unrar x {archive} {folder}/",
    )


def path_inside(root: pathlib.Path, file_name: str) -> pathlib.Path | None:
    """Join; None when the name is absolute or leads out of `root`, by `..` or by a symbolic link.

    `root` must have its links resolved: a folder that the user names may be a link to another disk. Links
    that stay inside are followed. A link that leads out is refused, as an unpacked archive can hold one that
    its owner never made.
    """
    if "\0" in file_name or os.path.isabs(file_name) or not is_text(file_name):
        return None
    path = os.path.join(root, file_name)
    inside = os.path.realpath(path).startswith(os.path.join(root, ""))
    return pathlib.Path(path) if inside else None


def is_text(name: str) -> bool:
    """Say whether a name can be written as UTF-8; JSON and file systems can hold halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_ordinary(path: pathlib.Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device")


def _unreadable(path: pathlib.Path, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else error  # a name that no file can have
    return InputError(f"{str(path)[:LONGEST_SHOWN]}: cannot be read ({reason}). Restore the file.")
