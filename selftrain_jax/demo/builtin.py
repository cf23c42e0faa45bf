"""The built-in data sets, drawn at run time without a download: digits on photographs, mosaics of materials.

Call `read_builtin("train", num_images=100)` for digits to detect (boxes), or `read_builtin_masks` for
materials to segment (masks). Not in the paper: they replace COCO or PASCAL VOC (train, val, test) and their
unlabelled images on a machine without data.

Splits of the digits share no handwriting and no photograph, except that `unlabeled` has the photographs
of `train` and two more. Unlabelled images are cheap, so that split has more handwriting (six runs beside
train's three) and more photographs than `train`. `mosaics` says how its photographs are split.
"""

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.source import Source, encode_png, labels_cached
from selftrain_jax.demo import material, mosaics
from selftrain_jax.demo.scenes import Pool, Stamp, label_scene, lay_out, paint_scene
from selftrain_jax.errors import InputError
from selftrain_jax.types import Category, Example

SPLITS = ("train", "val", "test", "unlabeled")
CATEGORIES = tuple(Category(digit + 1, str(digit)) for digit in range(10))
MASK_CATEGORIES = mosaics.CATEGORIES  # materials; every pixel has one, so there is no background
MIN_SIZE_PX = 64
LABELS_MIB = 64.0  # of each split's labels that are kept, with their masks: 4,000 scenes of 128 px

# scikit-learn's digits are sorted by writer; here the runs begin. The borders are inferred from the order of
# the classes (14 runs for 13 writers, so one writer may have two): disjoint runs have no picture in common,
# and very nearly no writer.
RUN_STARTS = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
_RUNS = {"train": range(0, 3), "unlabeled": range(3, 9), "val": range(9, 11), "test": range(11, 14)}
_PHOTOS = {
    "train": ("coffee", "gravel", "retina"),
    "unlabeled": ("coffee", "gravel", "retina", "astronaut", "grass"),
    "val": ("brick", "hubble_deep_field"),
    "test": ("chelsea", "rocket"),
}


def split_pool(split: str) -> Pool:
    """Return the handwriting and the photographs of a split."""
    runs = _RUNS[split]
    return Pool(tuple(range(RUN_STARTS[runs.start], RUN_STARTS[runs.stop])), _PHOTOS[split])


def read_builtin(split: str, *, num_images: int, seed: int = 0, image_size_px: int = 128) -> Source:
    """Draw a split of any length; image `i` depends on (seed, split, i) alone, not on `num_images`.

    `unlabeled` is labelled too, to measure pseudo labels: give it to the teacher through `without_labels`.

    Raises: InputError for an unknown split, fewer than 1 image, a negative seed or images under 64 px.
    """
    _check(split, num_images, seed, image_size_px)
    pool = split_pool(split)
    key = (seed, SPLITS.index(split))

    def lay_out_image(index: int) -> list[Stamp]:
        return lay_out(np.random.default_rng((*key, index, 0)), pool, image_size_px)

    def read_labels(index: int) -> Example:
        boxes, classes, mask = label_scene(lay_out_image(index), image_size_px)
        is_crowd = np.zeros(len(classes), bool)
        return {
            "image_id": image_ids[index],
            "boxes": boxes,
            "classes": classes,
            "is_crowd": is_crowd,
            "mask": mask,
        }

    def read_image(index: int) -> UInt8[np.ndarray, "H W 3"]:
        distractors = material.distractor_inks(key[1], pool.digit_indices)
        paint_rng = np.random.default_rng((*key, index, 1))
        return paint_scene(paint_rng, lay_out_image(index), pool, distractors, image_size_px)

    image_ids = tuple(f"{split}-{index:06d}" for index in range(num_images))
    drawn = Source(
        name=f"builtin/{split}",
        categories=CATEGORIES,
        image_ids=image_ids,
        read_labels=read_labels,
        read_encoded=lambda index: encode_png(read_image(index)),
        read_image=read_image,
        file_names=tuple(f"{image_id}.png" for image_id in image_ids),
        read_size=lambda index: (image_size_px, image_size_px),
    )
    return labels_cached(drawn, LABELS_MIB)  # a start reads them several times; laying a scene out is slow


def read_builtin_masks(split: str, *, num_images: int, seed: int = 0, image_size_px: int = 128) -> Source:
    """Draw mosaics of materials with their masks; image `i` depends on (seed, split, i) alone.

    Raises: as `read_builtin`.
    """
    _check(split, num_images, seed, image_size_px)
    key = (seed, SPLITS.index(split))

    def lay_out_image(index: int) -> mosaics.Layout:
        return mosaics.lay_out(np.random.default_rng((*key, index, 0)), image_size_px)

    def read_image(index: int) -> UInt8[np.ndarray, "H W 3"]:
        return mosaics.paint(np.random.default_rng((*key, index, 1)), lay_out_image(index), split)

    image_ids = tuple(f"{split}-{index:06d}" for index in range(num_images))
    return Source(
        name=f"builtin-mosaics/{split}",
        categories=MASK_CATEGORIES,
        image_ids=image_ids,
        read_labels=lambda index: {"image_id": image_ids[index], "mask": lay_out_image(index).mask},
        read_encoded=lambda index: encode_png(read_image(index)),
        read_image=read_image,
    )


def _check(split: str, num_images: int, seed: int, image_size_px: int) -> None:
    if split not in SPLITS:
        raise InputError(f"The built-in data has no split {split!r}; choose one of {', '.join(SPLITS)}.")
    values = {"num_images": num_images, "seed": seed, "image_size_px": image_size_px}
    for (name, value), least in zip(values.items(), (1, 0, MIN_SIZE_PX), strict=True):
        if value < least:
            raise InputError(f"Built-in data with {name}={value}; expected at least {least}. Raise {name}.")
