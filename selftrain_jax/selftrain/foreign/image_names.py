"""Which of our images a file of predictions means, by its names; call `match_images`."""

import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from selftrain_jax.data.formats.label_studio import UPLOAD_PREFIX
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list


def match_images(names: Iterable[str], image_ids: Sequence[str], where: str) -> dict[str, int]:
    """Return the position in `image_ids` of each name that means one of them; others are left out.

    A name means an image by its id, else by the file's name, its stem, or the number that its stem is. Where
    several files have the name, the one whose path ends alike.

    Raises:
        InputError: a name means several images, or two names the same one.
    """
    keys: defaultdict[str, list[int]] = defaultdict(list)
    for index, image_id in enumerate(image_ids):
        for key in _keys(image_id):
            keys[key].append(index)
    found: dict[str, int] = {}
    for name in names:
        position = _match_one(name, keys, image_ids, where)
        if position is not None:
            found[name] = position
    _check_distinct(found, image_ids, where)
    return found


def _keys(name: str) -> list[str]:
    """List what a name may be found by, the surest first."""
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    number = [f"number {int(stem)}"] if stem.isascii() and stem.isdecimal() else []
    return list(dict.fromkeys([f"id {name}", f"file {path.name}", f"stem {stem}", *number]))


SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".txt", ".tif", ".tiff")


def _match_one(name: str, keys: Mapping[str, list[int]], image_ids: Sequence[str], where: str) -> int | None:
    for key in _keys(name):
        candidates = keys.get(key, [])
        if len(candidates) > 1:
            alike = [index for index in candidates if _ends_alike(name, image_ids[index])]
            if len(alike) != 1:
                raise InputError(
                    f"{where}: image {name!r} may be any of {len(candidates)} images of this run: "
                    f"{shorten_list([image_ids[index] for index in candidates])}; name images by their path "
                    "below the folder of images"
                )
            candidates = alike
        if candidates:
            return candidates[0]
    return None


def _ends_alike(first: str, second: str) -> bool:
    """Tell whether the shorter of two paths, without suffix, is the end of the longer one."""
    parts = [PurePosixPath(text.replace("\\", "/")).with_suffix("").parts for text in (first, second)]
    length = min(map(len, parts))
    return parts[0][-length:] == parts[1][-length:]


def _check_distinct(found: Mapping[str, int], image_ids: Sequence[str], where: str) -> None:
    by_image: defaultdict[int, list[str]] = defaultdict(list)
    for name, index in found.items():
        by_image[index].append(name)
    for position, names in by_image.items():
        if len(names) > 1:
            raise InputError(
                f"{where}: {shorten_list([*map(repr, names)])} all mean the image {image_ids[position]!r}; "
                "predict for each image once, and name images by their path below the folder of images"
            )


def name_in_url(text: str) -> str:
    """Return the path of a file that a URL, or Label Studio's reference to a file, names."""
    url = urllib.parse.urlsplit(text)
    local = urllib.parse.parse_qs(url.query).get("d")  # /data/local-files/?d=folder/name.jpg
    path = local[0] if local else urllib.parse.unquote(url.path if url.scheme else text)
    folder, _, name = path.rpartition("/")
    if "/data/upload/" in f"{folder}/":
        return UPLOAD_PREFIX.sub("", name)
    return path.lstrip("/")
