"""The masks of PASCAL VOC 2012, alone or with those of SBD: the paper's segmentation data (Table 6).

Call `read_voc_masks`. SBD, the Semantic Boundaries Dataset, has masks for 11,355 of VOC's images.
"""

import functools
import os
import pathlib

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.image_files import file_source, read_file, read_image_size, require_folder
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.mat_file import read_struct_field
from selftrain_jax.data.sources.png_masks import DecodedMask, check_mask, check_palette, decode_mask
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category, Example

# fmt: off
CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)
# fmt: on
CATEGORIES = tuple(Category(number, name) for number, name in enumerate(CLASS_NAMES))
SPLIT_SIZES = {"train": 1464, "val": 1449, "trainval": 2913, "train_aug": 10582, "aug": 9118}
VOC_FOLDERS = ("", "VOC2012", "VOCdevkit/VOC2012")
# Below the folder that the user names: SBD as its makers pack it, and the PNGs that others made of it.
SBD_FOLDERS = ("", "cls", "dataset/cls", "benchmark_RELEASE/dataset/cls", "SegmentationClassAug")


def read_voc_masks(root: str | os.PathLike, split: str, *, sbd: str | os.PathLike = "") -> Source:
    """Read train, val or trainval of VOC 2012; with SBD's masks also train_aug and aug.

    `root` is the folder VOC2012 or one above it. `aug` is every image with a mask in SBD that is in neither
    of VOC's train and val: the paper's unlabelled images, whose masks here measure pseudo labels.
    `train_aug` is train, with VOC's own masks, and aug. `sbd` is SBD's folder or one of PNGs; empty stands
    for VOC2012/SegmentationClassAug.

    Raises:
        InputError: an unknown split, a split of another size than VOC 2012's (for other data there is
            `read_mask_folder`), or missing files; when an image is read, a bad mask.

    Paper: 1,464 train, 1,449 val, 9,118 aug ("9k"). Differs: SBD has no list of the 10,582; they follow
    from its files and VOC's lists.
    """
    if split not in SPLIT_SIZES:
        raise InputError(f"VOC has no split {split!r} of masks; choose one of {', '.join(SPLIT_SIZES)}.")
    folder = _find_voc(pathlib.Path(root))
    files = _find_masks(folder, split, sbd)
    images = folder / "JPEGImages"
    _require_files(images, ".jpg", list(files))
    image_ids, masks = tuple(files), tuple(files.values())

    def image_path(index: int) -> pathlib.Path:
        return images / f"{image_ids[index]}.jpg"

    def read_labels(index: int) -> Example:
        where, decoded = str(masks[index]), read_sbd_mask(masks[index])
        check_palette(decoded, voc_palette(), "VOC's colours", where)
        check_mask(decoded.mask, read_image_size(image_path(index)), len(CATEGORIES), where)
        return {"image_id": image_ids[index], "mask": decoded.mask}

    return file_source(f"voc masks:{folder.name}/{split}", CATEGORIES, image_ids, image_path, read_labels)


def find_sbd_masks(root: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Find SBD's masks by image id: cls/*.mat of SBD, or a folder of PNGs (SegmentationClassAug).

    Raises:
        InputError: there are none, or two for one image.
    """
    top = require_folder(pathlib.Path(root), "the SBD folder (config.data.sbd)")
    for folder in (top / name for name in SBD_FOLDERS):
        files = [path for suffix in ("*.mat", "*.png") for path in folder.glob(suffix)]
        if files:
            masks = {path.stem: path for path in files}
            if len(masks) < len(files):
                raise InputError(
                    f"{folder}: {len(files)} masks for {len(masks)} images; expected .mat files or PNGs, not "
                    "both. Remove one kind."
                )
            return masks
    raise InputError(
        f"{top}: no masks of SBD found; expected *.mat or *.png in it or in {', '.join(SBD_FOLDERS[1:])}. "
        "Name SBD's folder with --config.data.sbd."
    )


def read_sbd_mask(path: pathlib.Path) -> DecodedMask:
    """Read a PNG of VOC's or others', or one of SBD's own .mat files, which ignore no pixel.

    Raises:
        InputError: the file is malformed.
    """
    if path.suffix == ".png":
        return decode_mask(read_file(path), str(path))
    values = read_struct_field(read_file(path), "GTcls", "Segmentation", str(path))
    are_ids = values.size > 0 and bool(np.isin(values, range(256)).all())
    if values.ndim != 2 or not are_ids:
        raise InputError(
            f"{path}: GTcls.Segmentation is {values.dtype.name} {values.shape}; expected ids of 0 to 255, "
            "height by width. Unpack SBD again."
        )
    return DecodedMask(values.astype(np.uint8), None)


@functools.cache
def voc_palette() -> UInt8[np.ndarray, "256 3"]:
    """Return the colour of every id: its bits go to red, green and blue in turn, the high bits first."""
    ids = np.arange(256)[:, None]
    bits = [((ids >> (3 * bit + np.arange(3))) & 1) << (7 - bit) for bit in range(3)]
    return np.sum(bits, axis=0).astype(np.uint8)


def refuse_tfds_masks(name: str) -> None:
    """Refuse masks from TFDS and say where they can come from.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"{name} was asked for masks, but TFDS's voc has boxes and no masks, and its other sets are not read "
        "as masks here. Point --config.data.dir at a VOCdevkit folder with "
        "--config.data.kind=voc, or at images and PNG masks with --config.data.kind=folder."
    )


def _find_voc(root: pathlib.Path) -> pathlib.Path:
    top = require_folder(root, "the VOC folder (config.data.dir)")
    for folder in (top / name for name in VOC_FOLDERS):
        if (folder / "ImageSets" / "Segmentation").is_dir():
            return folder
    raise InputError(
        f"{top}: no ImageSets/Segmentation in it, nor in {' or '.join(VOC_FOLDERS[1:])}; expected VOC 2012's "
        "folder as VOCtrainval_11-May-2012.tar unpacks. For other data: --config.data.kind=folder."
    )


def _find_masks(folder: pathlib.Path, split: str, sbd: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Find the mask files of a split by image id, VOC's own before SBD's."""
    voc_ids = _read_list(folder, {"train_aug": "train", "aug": ""}.get(split, split))
    voc_masks = folder / "SegmentationClass"
    _require_files(voc_masks, ".png", voc_ids)
    files = {image_id: voc_masks / f"{image_id}.png" for image_id in voc_ids}
    if split in ("train_aug", "aug"):
        found = find_sbd_masks(sbd or folder / "SegmentationClassAug")
        taken = {*_read_list(folder, "train"), *_read_list(folder, "val")}
        files |= {image_id: found[image_id] for image_id in sorted(found.keys() - taken)}
        where = (
            f"{next(iter(found.values())).parent}: its masks outside VOC's train and val, for {split}, give"
        )
        _require_size(len(files), split, where)
    return files


def _read_list(folder: pathlib.Path, name: str) -> list[str]:
    """Read the image ids of one of VOC's own lists; an empty name stands for no image."""
    if not name:
        return []
    path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
    image_ids = read_file(path).decode("utf-8-sig", "replace").split()
    if len(set(image_ids)) < len(image_ids):
        repeated = len(image_ids) - len(set(image_ids))
        raise InputError(f"{path}: {repeated} ids are listed twice. Unpack VOC again.")
    _require_size(len(image_ids), name, f"{path}:")
    return image_ids


def _require_size(found: int, split: str, where: str) -> None:
    if found != SPLIT_SIZES[split]:
        raise InputError(
            f"{where} {found} images; expected {SPLIT_SIZES[split]}, the size of {split} in VOC 2012. Unpack "
            "the archive again; for other data in these folders use --config.data.kind=folder "
            "--config.data.images=JPEGImages --config.data.masks=SegmentationClass "
            "'--config.data.lists=ImageSets/Segmentation/{split}.txt'."
        )


def _require_files(folder: pathlib.Path, suffix: str, image_ids: list[str]) -> None:
    """Compare a list with the folder, reading the folder once and opening no file."""
    if not image_ids:
        return
    there = set(os.listdir(require_folder(folder, "a folder of VOC 2012")))
    missing = [f"{image_id}{suffix}" for image_id in image_ids if f"{image_id}{suffix}" not in there]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(image_ids)} files are missing: "
            f"{shorten_list(list(map(repr, missing)))}. Unpack the archive again."
        )
