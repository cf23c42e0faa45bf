"""VOC 2012 and SBD in full number, made of a few small files that are linked many times."""

import os
import pathlib

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

SIZE_PX = (6, 8)  # height, width
TRAIN = [f"2007_{number:06d}" for number in range(1464)]
VAL = [f"2008_{number:06d}" for number in range(1449)]
AUG = [f"2009_{number:06d}" for number in range(9118)]
SBD = [*TRAIN[:1000], *VAL[:1237], *AUG]  # SBD has masks for most of VOC's own images too: 11,355 in all


def colours(value: int) -> tuple[int, int, int]:
    """VOC's colour of an id, bit by bit."""
    red = green = blue = 0
    for place in range(8):
        red |= ((value >> 0) & 1) << (7 - place)
        green |= ((value >> 1) & 1) << (7 - place)
        blue |= ((value >> 2) & 1) << (7 - place)
        value >>= 3
    return red, green, blue


def palette_image(mask: np.ndarray, palette: list[tuple[int, int, int]] | None = None) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette([part for colour in palette or map(colours, range(256)) for part in colour])
    return image


def write_new(path: pathlib.Path, image: Image.Image) -> None:
    """Write a file of its own, in place of a possible link to a shared one."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def mask_of(value: int) -> np.ndarray:
    """Left half the id, right half background, last row void."""
    mask = np.zeros(SIZE_PX, np.uint8)
    mask[:, :4], mask[-1] = value, 255
    return mask


def write_voc(root: pathlib.Path, num_aug_images: int = 0) -> pathlib.Path:
    """Write VOC2012: in train the mask is of id 1, in val of id 2. Return its folder."""
    folder = root / "VOC2012"
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, image_ids in (("train", TRAIN), ("val", VAL), ("trainval", sorted(TRAIN + VAL))):
        (lists / f"{name}.txt").write_text("\n".join(image_ids) + "\n")
    picture = Image.fromarray(np.full((*SIZE_PX, 3), 90, np.uint8))
    _write_all(folder / "JPEGImages", ".jpg", [*TRAIN, *VAL, *AUG[:num_aug_images]], picture)
    _write_all(folder / "SegmentationClass", ".png", TRAIN, palette_image(mask_of(1)))
    _write_all(folder / "SegmentationClass", ".png", VAL, palette_image(mask_of(2)))
    return folder


def write_sbd_mat(path: pathlib.Path, segmentation: object) -> None:
    """Write one file as SBD's cls folder has them."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), object)
    boundaries[:, 0] = [csc_matrix(SIZE_PX, dtype=float) for _ in range(20)]
    content = {"Boundaries": boundaries, "Segmentation": segmentation, "CategoriesPresent": np.array([[1]])}
    savemat(path, {"GTcls": content}, do_compression=True)


def write_sbd(root: pathlib.Path) -> pathlib.Path:
    """Write SBD's 11,355 .mat files, all of id 3 and without void, in dataset/cls."""
    folder = root / "dataset" / "cls"
    write_sbd_mat(folder / f"{SBD[0]}.mat", np.where(mask_of(3) == 3, 3, 0).astype(np.uint8))
    _link(folder, ".mat", SBD)
    return root


def write_sbd_png(folder: pathlib.Path) -> pathlib.Path:
    """Write the same masks as grey PNGs."""
    _write_all(folder, ".png", SBD, Image.fromarray(mask_of(3)))
    return folder


def _write_all(folder: pathlib.Path, suffix: str, image_ids: list[str], image: Image.Image) -> None:
    write_new(folder / f"{image_ids[0]}{suffix}", image)
    _link(folder, suffix, image_ids)


def _link(folder: pathlib.Path, suffix: str, image_ids: list[str]) -> None:
    first = folder / f"{image_ids[0]}{suffix}"
    for image_id in image_ids[1:]:
        os.link(first, folder / f"{image_id}{suffix}")
