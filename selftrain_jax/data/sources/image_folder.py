"""A folder of images without labels: what the teacher is to label (paper section 3.1).

Call `read_image_folder`.
"""

import os
import pathlib

from selftrain_jax.data.image_files import (
    is_text,
    path_inside,
    read_encoded_file,
    read_image_file,
    require_folder,
)
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_image_folder(root: str | os.PathLike) -> Source:
    """Find the images below `root`, sorted by relative path, which is also their `image_id`.

    Hidden files and folders are left out, and linked folders are not entered.

    Raises: InputError when the folder is missing or holds no image, a link leads out of it, or a
    name is not UTF-8.
    """
    folder = require_folder(pathlib.Path(root), "the image folder")
    image_ids = tuple(sorted(_relative_paths(folder)))
    if not image_ids:
        raise InputError(
            f"{folder}: holds no images; expected files named {', '.join('*' + s for s in SUFFIXES)}."
        )
    odd = [repr(image_id) for image_id in image_ids if not is_text(image_id)]
    if odd:
        raise InputError(
            f"{folder}: {len(odd)} images have names that are not UTF-8, the first {', '.join(odd[:5])}. "
            "Rename them (convmv -f latin1 -t utf8 does, if they come from an older system)."
        )
    outside = [image_id for image_id in image_ids if path_inside(folder, image_id) is None]
    if outside:
        raise InputError(
            f"{folder}: {len(outside)} images are links out of this folder, the first {outside[:5]}. Copy "
            "the files here or name the folder that really holds them."
        )
    return Source(
        name=f"folder:{folder.name}",
        categories=(),
        image_ids=image_ids,
        read_labels=lambda index: {"image_id": image_ids[index]},
        read_encoded=lambda index: read_encoded_file(folder / image_ids[index]),
        read_image=lambda index: read_image_file(folder / image_ids[index]),
    )


def _relative_paths(root: pathlib.Path) -> list[str]:
    found = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [
            (pathlib.Path(folder) / name).relative_to(root).as_posix()
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return found
