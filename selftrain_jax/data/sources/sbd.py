"""SBD, the Semantic Boundaries Dataset: masks for 11,355 images of PASCAL VOC (paper section 3.1, "aug").

Call `find_sbd_masks`, then `read_sbd_mask`.
"""

import os
import pathlib

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.image_files import read_file, require_folder
from selftrain_jax.data.sources.mat_file import read_struct_field
from selftrain_jax.data.sources.png_masks import DecodedMask, decode_mask
from selftrain_jax.errors import InputError

# Below the folder that the user names: SBD as its makers pack it, and the PNGs that others made of it.
PLACES = ("", "cls", "dataset/cls", "benchmark_RELEASE/dataset/cls", "SegmentationClassAug")


def find_sbd_masks(root: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Find the masks by image id: cls/*.mat of SBD, or a folder of PNGs (SegmentationClassAug).

    Raises: InputError when there are none, or two for one image.
    """
    top = require_folder(pathlib.Path(root), "the SBD folder (config.data.sbd)")
    for folder in (top / place for place in PLACES):
        files = [path for suffix in ("*.mat", "*.png") for path in folder.glob(suffix)]
        if files:
            masks = {path.stem: path for path in files}
            if len(masks) < len(files):
                raise InputError(
                    f"{folder}: {len(files)} masks for {len(masks)} images; expected .mat files or PNGs, not "
                    "both. Remove the ones or the others."
                )
            return masks
    raise InputError(
        f"{top}: no masks of SBD found; expected *.mat or *.png in it or in {', '.join(PLACES[1:])}. Name "
        "SBD's folder with --config.data.sbd."
    )


def read_sbd_mask(path: pathlib.Path) -> DecodedMask:
    """Read one mask; SBD's own .mat files ignore no pixel. Raises: InputError for a malformed file."""
    encoded = read_file(path)
    if path.suffix == ".png":
        return decode_mask(encoded, str(path))
    return DecodedMask(_decode_mat(encoded, str(path)), None)


def _decode_mat(encoded: bytes, where: str) -> UInt8[np.ndarray, "H W"]:
    values = read_struct_field(encoded, "GTcls", "Segmentation", where)
    if values.ndim != 2 or not _are_ids(values):
        raise InputError(
            f"{where}: GTcls.Segmentation is {values.dtype.name} {values.shape}; expected ids of 0 to 255, "
            "height by width. Unpack SBD again."
        )
    return values.astype(np.uint8)


def _are_ids(values: np.ndarray) -> bool:
    return values.size > 0 and bool(np.isin(values, range(256)).all())
