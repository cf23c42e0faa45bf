"""How many pixels of each class a source's masks hold.

Call `pixel_counts`, and `require_labelled_pixels` before a run: a loss over no pixel teaches nothing.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int

from selftrain_jax.data.mask_files import IGNORE, value_counts
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError

Counts = Int[np.ndarray, "256"]


def count_each(source: Source) -> list[Counts | InputError]:
    """Count the pixels of every id in every mask, on all cores; in place of a mask that is bad, say why."""

    def count(index: int) -> Counts | InputError:
        try:
            return value_counts(source.read_labels(index)["mask"])
        except InputError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(count, range(len(source))))


def pixel_counts(source: Source, *, max_bad_images: int = 0) -> dict[str, int]:
    """Return the pixels of each class; ignored ones are left out.

    Raises: InputError when more than `max_bad_images` masks are bad; so many are passed over.
    """
    found = count_each(source)
    bad = [error for error in found if isinstance(error, InputError)]
    if len(bad) > max_bad_images:
        shown = "; ".join(str(error) for error in bad[:5])
        raise InputError(
            f"{len(bad)} masks of {source.name} are bad, allowed are {max_bad_images} "
            f"(config.data.max_bad_images): {shown}"
        )
    total = sum((counts for counts in found if not isinstance(counts, InputError)), np.zeros(256, int))
    return {category.name: int(total[category.id]) for category in source.categories}


def require_labelled_pixels(source: Source) -> None:
    """Make sure that some pixel has a class; reads no further than the first mask with one.

    Raises: InputError when every pixel of every mask is ignored, or no mask can be read.
    """
    errors = []
    for index in range(len(source)):
        try:
            if np.any(source.read_labels(index)["mask"] != IGNORE):
                return
        except InputError as error:  # the reader of batches counts bad images and names them
            errors.append(error)
    first_error = f" {len(errors)} masks are bad, the first: {errors[0]}" if errors else ""
    raise InputError(
        f"{source.name}: not one pixel of its {len(source)} masks has a class; all that can be read are "
        f"ignored.{first_error} Check config.data.ignore_value and config.data.mask_values, or label pixels."
    )
