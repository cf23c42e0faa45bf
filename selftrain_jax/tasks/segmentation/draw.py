"""Masks as pictures, for the galleries and the `predict` job. Call `overlay`, or `save_mask_png` for a file.

Pixels that are IGNORED (in pseudo masks those under the threshold, paper section 3.1) are hatched.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.segmentation.names import write_names
from selftrain_jax.types import IGNORED

HATCH_PERIOD_PX = 9  # from line to line, along a row
HATCH_LINE_PX = 3


def colour_mask(mask: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Paint every pixel in the colour of its class."""
    return voc_palette()[mask]


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    mask: UInt8[np.ndarray, "H W"],
    opacity: float = 0.5,
    names: Mapping[int, str] | None = None,
    font_px: int | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Tint an image with its mask: classes edged in their full colour, ignored pixels bare and hatched.

    drawn = (1 - opacity) image + opacity colour. With `names` every class that has room bears its name, in
    letters of `font_px`, or as large as fits a picture that is shown at a third of a page's width.
    """
    colours = colour_mask(mask).astype(np.float32)
    strength = np.where(class_edges(mask), 1.0, opacity)[..., None]
    tinted = (1 - strength) * image + strength * colours
    drawn = np.where((mask == IGNORED)[..., None], hatched(image), tinted)
    drawn = np.floor(drawn + 0.5).astype(np.uint8)
    return drawn if names is None else write_names(drawn, mask, names, font_px)


def class_edges(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Mark the pixels with another class (or none) above, below, left or right of them."""
    edges = np.zeros(mask.shape, dtype=bool)
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


def hatched(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw white diagonals with a dark side, to be seen on any image."""
    rows, columns = np.indices(image.shape[:2])
    place = (rows + columns) % HATCH_PERIOD_PX
    drawn = image.copy()
    drawn[place == 0] //= 3
    drawn[(place > 0) & (place < HATCH_LINE_PX)] = (
        255 - (255 - drawn[(place > 0) & (place < HATCH_LINE_PX)]) // 5
    )
    return drawn


def fit_mask(
    image: UInt8[np.ndarray, "H W 3"], mask: UInt8[np.ndarray, "H W"], longest_px: int
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """Scale an image and its mask (nearest pixel) so that the longer side has `longest_px`."""
    scale = longest_px / max(mask.shape)
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    resized = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    return np.asarray(Image.fromarray(image).resize(size, smooth)), np.asarray(resized)


def mask_path(folder: Path, image_id: str) -> Path:
    """Name the file of an image's class map; ids with a slash go into sub-folders, so none meet.

    Raises: InputError for an id that would leave the folder, or that no file can be named by.
    """
    parts = PurePosixPath(image_id).parts
    is_plain = "/".join(parts) == image_id != "" and not {"..", "/"} & set(parts) and "\0" not in image_id
    if not is_plain or not all(len(os.fsencode(f"{part}.png.unfinished")) < 256 for part in parts):
        raise InputError(
            f"{folder}: the image id {image_id[:300]!r} cannot name a file there; expected a relative path "
            "without '..' and of names of at most 240 bytes. Rename the image."
        )
    return folder / f"{image_id}.png"


def save_mask_png(path: Path, mask: UInt8[np.ndarray, "H W"]) -> None:
    """Write class ids as a PNG with the colours of PASCAL VOC's files; whole or not at all.

    Folders above it are made.
    """
    picture = Image.fromarray(mask).convert("L")
    picture.putpalette(voc_palette().tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".png.unfinished")
    picture.save(unfinished, format="PNG", optimize=True)
    os.replace(unfinished, path)


def read_mask_png(path: Path) -> UInt8[np.ndarray, "H W"]:
    """Read the class ids that `save_mask_png` wrote.

    Raises: InputError when the file is no single-channel PNG or is damaged.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            mode, mask = picture.mode, np.array(picture)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: no whole PNG ({error}); delete it and evaluate its stage again") from error
    if mode not in ("P", "L"):
        raise InputError(
            f"{path}: a PNG of mode {mode}; expected class ids, mode P or L, as evaluation writes"
        )
    return mask
