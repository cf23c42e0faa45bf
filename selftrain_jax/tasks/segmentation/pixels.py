"""How many pixels of each class there are in a source's masks.

Call `pixel_counts`; and before a run `require_labelled_pixels`, as nothing is learned from no pixel, and
`check_masks`, as evaluation needs every mask.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int

from selftrain_jax.data.problems import check_bad_count
from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.png_masks import value_counts
from selftrain_jax.errors import InputError
from selftrain_jax.types import IGNORED

Counts = Int[np.ndarray, "256"]


def count_each(source: Source) -> list[Counts | InputError]:
    """Count the pixels of every id in every mask, on all cores; a bad mask gives its error."""

    def count(index: int) -> Counts | InputError:
        try:
            return value_counts(source.read_labels(index)["mask"])
        except InputError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(count, range(len(source))))


def pixel_counts(source: Source, *, max_bad_images: int = 0) -> dict[str, int]:
    """Return the pixels of each class; ignored ones are left out.

    Up to `max_bad_images` bad masks are skipped.

    Raises:
        InputError: more masks are bad.
    """
    good, _ = _split_bad(source, max_bad_images, "(config.data.max_bad_images)")
    total = sum(good, np.zeros(256, int))
    return {category.name: int(total[category.id]) for category in source.categories}


def check_masks(source: Source, *, max_bad_images: int = 0) -> None:
    """Read every mask, on all cores.

    Raises:
        InputError: more than `max_bad_images` masks are bad, or no pixel of the others has a class, so that
            mIoU is undefined.
    """
    good, bad = _split_bad(source, max_bad_images, "where mIoU is measured")
    if not any(np.delete(counts, IGNORED).any() for counts in good):
        raise _no_pixel_has_a_class(source, bad)


def require_labelled_pixels(source: Source) -> None:
    """Check that some pixel has a class; stop reading at the first mask with one.

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


def _split_bad(source: Source, max_bad: int, limit: str) -> tuple[list[Counts], list[InputError]]:
    """Separate good masks from bad ones.

    Raises:
        InputError: more than `max_bad` masks are bad.
    """
    found = count_each(source)
    bad = [error for error in found if isinstance(error, InputError)]
    check_bad_count(bad, max_bad, f"masks of {source.name} are bad", limit)
    return [counts for counts in found if not isinstance(counts, InputError)], bad
