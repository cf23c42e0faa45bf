"""Images with masks, as config.data and config.unlabeled name them, and checks of their pixels.

Call `open_split`; before a run `check_sources`: a loss over no pixel teaches nothing, and evaluation needs
every mask.
"""

import os

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from selftrain_jax.data.problems import check_bad_count
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.png_masks import value_counts
from selftrain_jax.data.sources.voc_masks import read_voc_masks, refuse_tfds_masks
from selftrain_jax.demo.builtin import read_builtin_masks
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.config_values import require_dir
from selftrain_jax.tasks.segmentation.auto_kind import open_auto, read_folder_of_masks
from selftrain_jax.tasks.tiles import read_tiling
from selftrain_jax.threads import thread_pool
from selftrain_jax.types import IGNORED

KINDS = ("builtin", "voc", "folder", "auto")
HARD, SOFT = "hard", "soft"  # config.pseudo.mask_target
ONE, SCORE = "one", "score"  # config.pseudo.class_weight
MAX_TOP_K = 3


def check_config(config: ConfigDict) -> None:
    """Refuse TFDS, kind=auto without a folder, joint training, and pseudo labels and tiles that do not exist.

    Raises:
        InputError: one of them is asked for.
    """
    read_tiling(config)
    _check_pseudo(config.pseudo.mask_top_k, config.pseudo.mask_target, config.pseudo.class_weight)
    if config.data.kind == "tfds":
        refuse_tfds_masks(config.data.tfds)
    if config.data.kind == "auto" and not config.data.dir:
        raise InputError(
            "config.data.kind=auto without config.data.dir is TFDS, which has boxes and no masks; name the "
            "folder, --config.data.dir=FOLDER"
        )
    if config.joint.weight:
        raise InputError(
            f"config.joint.weight={config.joint.weight:g}: joint training is of detectors (Table 7); use 0"
        )


def _check_pseudo(top_k: int, target: str, weight: str) -> None:
    """Check config.pseudo's mask_top_k, mask_target and class_weight. Raises: InputError, naming the key."""
    if weight not in (ONE, SCORE):
        raise InputError(f"config.pseudo.class_weight={weight!r} is not one of {ONE}, {SCORE}.")
    if not 1 <= top_k <= MAX_TOP_K:
        raise InputError(
            f"config.pseudo.mask_top_k={top_k}: of each pixel 1 to {MAX_TOP_K} classes can be kept, 1 for "
            "the hard label alone"
        )
    if target not in (HARD, SOFT):
        raise InputError(f"config.pseudo.mask_target={target!r} is not one of {HARD}, {SOFT}")
    if target == SOFT and top_k == 1:
        raise InputError(
            "config.pseudo.mask_target=soft learns from the probabilities of several classes, but "
            "config.pseudo.mask_top_k=1 keeps one; use --config.pseudo.mask_top_k=2 (or 3), or "
            "--config.pseudo.mask_target=hard"
        )


def open_split(config: ConfigDict, group: str, split: str) -> Source:
    """Open a split of images with masks; `group` of the config is data or unlabeled.

    An empty config.unlabeled.dir stands for config.data.dir.

    Raises:
        InputError: they are missing or malformed, or such a data set has no masks.
    """
    data, where = config.data, config[group]
    if where.kind == "builtin":
        num_images, size_px = data.builtin[split], config.image.size_px
        return read_builtin_masks(split, num_images=num_images, seed=config.seed, image_size_px=size_px)
    if where.kind == "tfds":
        refuse_tfds_masks(where.tfds)
    if where.kind not in KINDS:
        raise InputError(
            f"config.{group}.kind={where.kind!r} of a data set with masks is not one of {', '.join(KINDS)}"
        )
    root = require_dir(where.dir or data.dir, f"config.{group}.dir", "the images and masks")
    if where.kind == "voc":
        return read_voc_masks(root, split, sbd=data.sbd)
    if where.kind == "auto":
        return open_auto(config, group, split, root)
    return read_folder_of_masks(config, root, split)


def check_sources(config: ConfigDict, human: Source, measured: list[Source]) -> None:
    """Make sure that some pixel can be learnt from, and that every mask of val and test is good.

    Raises:
        InputError: no labelled pixel in `human`, or a bad mask in `measured`.
    """
    require_labelled_pixels(human)
    if config.data.kind == "builtin":
        return  # drawn masks cannot be bad, and reading them all would draw them all
    for source in measured:
        check_masks(source)


Counts = Int[np.ndarray, "256"]


def count_each(source: Source) -> list[Counts | InputError]:
    """Count the pixels of every id in every mask, on all cores; a bad mask gives its error instead."""

    def count(index: int) -> Counts | InputError:
        try:
            return value_counts(source.read_labels(index)["mask"])
        except InputError as error:
            return error

    with thread_pool(os.cpu_count() or 1) as pool:
        return list(pool.map(count, range(len(source))))


def pixel_counts(source: Source, *, max_bad_images: int = 0) -> dict[str, int]:
    """Return the pixels of each class; ignored ones are left out.

    Raises:
        InputError: more than `max_bad_images` masks are bad; up to that many are skipped.
    """
    good, _ = _skip_bad(source, max_bad_images, "(config.data.max_bad_images)")
    total = sum(good, np.zeros(256, int))
    return {category.name: int(total[category.id]) for category in source.categories}


def check_masks(source: Source, *, max_bad_images: int = 0) -> None:
    """Read every mask, on all cores.

    Raises:
        InputError: more than `max_bad_images` masks are bad, or no pixel of the others has a class.
    """
    good, bad = _skip_bad(source, max_bad_images, "where mIoU is measured")
    if not any(np.delete(counts, IGNORED).any() for counts in good):
        raise _no_pixel_has_a_class(source, bad)


def require_labelled_pixels(source: Source) -> None:
    """Make sure that some pixel has a class; reads no further than the first mask with one.

    Raises:
        InputError: every pixel of every mask is ignored, or no mask can be read.
    """
    errors = []
    for index in range(len(source)):
        try:
            if np.any(source.read_labels(index)["mask"] != IGNORED):
                return
        except InputError as error:  # the reader of batches counts bad images and names them
            errors.append(error)
    raise _no_pixel_has_a_class(source, errors)


def _no_pixel_has_a_class(source: Source, bad: list[InputError]) -> InputError:
    first_error = f" {len(bad)} masks are bad, the first: {bad[0]}" if bad else ""
    return InputError(
        f"{source.name}: not one pixel of its {len(source)} masks has a class; all that can be read are "
        f"ignored.{first_error} Check config.data.ignore_value and config.data.mask_values, or label pixels."
    )


def _skip_bad(source: Source, max_bad: int, where: str) -> tuple[list[Counts], list[InputError]]:
    """Separate good masks from at most `max_bad` bad ones, the limit that applies `where`."""
    found = count_each(source)
    bad = [error for error in found if isinstance(error, InputError)]
    check_bad_count(bad, max_bad, f"masks of {source.name} are bad", where)
    return [counts for counts in found if not isinstance(counts, InputError)], bad
