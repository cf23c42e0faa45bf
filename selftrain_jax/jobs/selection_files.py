"""The files of a selection: images to label, selection.txt, selection.html and selection.json.

Call `place_files`, then `write_selection`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from selftrain_jax.data.image_files import path_inside
from selftrain_jax.data.source import Source, encoded_suffix
from selftrain_jax.errors import InputError
from selftrain_jax.html.galleries import Picture
from selftrain_jax.io import atomic_write, write_json
from selftrain_jax.run_files.selection import SELECTION_FILE, Selection
from selftrain_jax.selection.criteria import class_weights
from selftrain_jax.selection.page import write_selection_page


def place_files(source: Source, indices: Sequence[int], output: Path) -> dict[str, Path]:
    """Return the chosen images' files by image id; `output` is made.

    Where images are no files of their own (TFDS, built-in data), they are written to `output`/images.

    Raises:
        InputError: an image's id can name no file, or its path has line breaks.
    """
    output.mkdir(parents=True, exist_ok=True)
    return {source.image_ids[index]: _file_of(source, index, output) for index in indices}


def write_selection(
    output: Path, selection: Selection, pictures: Sequence[Picture], human_counts: Mapping[str, int]
) -> None:
    """Write selection.txt, selection.html and, last, selection.json."""
    with atomic_write(output / "selection.txt") as file:
        file.writelines(f"{image.path}\n" for image in selection.chosen)
    classes = _class_rows(human_counts, selection)
    write_selection_page(output / "selection.html", selection, pictures, classes)
    write_json(output / SELECTION_FILE, selection.to_json())


def summarise(selection: Selection, output: Path) -> str:
    """Say in lines what was chosen, what was left out and where it is."""
    settings, count = selection.settings, len(selection.chosen)
    by = ", ".join(settings.by)
    lines = [f"select: {count} of {selection.num_unlabelled} images by {by}, of {settings.model}"]
    if selection.like_labelled or selection.like_chosen:
        lines.append(
            f"near-duplicates left out: {selection.like_labelled} of labelled images, "
            f"{selection.like_chosen} of chosen ones"
        )
    if count < settings.budget:
        lines.append(
            f"warning: {settings.budget - count} fewer than asked for: the others look like labelled or "
            "chosen ones or do not decode; --config.select.max_distance=-1 compares no looks"
        )
    if selection.radius_before is not None:
        before, after = selection.radius_before, selection.radius_after
        lines.append(f"farthest unlabelled image: {before:.2f} before, {after:.2f} after")
    return "\n".join([*lines, f"written to {output}: selection.txt, selection.json, selection.html"])


def _file_of(source: Source, index: int, output: Path) -> Path:
    """Return an image's file; one is written to `images/` where the image is no file of its own.

    Raises:
        InputError: the image's id can name no file, or its path is of several lines.
    """
    if source.path is not None:
        path = source.path(index).absolute()
    else:
        path = _write_image(source, index, output.absolute() / "images")
    if len(str(path).splitlines()) != 1:
        raise InputError(
            f"{str(path)!r}: the path has line breaks; selection.txt has one path a line: rename it"
        )
    return path


def _write_image(source: Source, index: int, folder: Path) -> Path:
    encoded, image_id = source.read_encoded(index), source.image_ids[index]
    folder.mkdir(parents=True, exist_ok=True)
    suffix = encoded_suffix(encoded) or ""
    name = image_id if image_id.lower().endswith(suffix) else f"{image_id}{suffix}"
    path = path_inside(folder.resolve(), name)
    if path is None:
        raise InputError(
            f"{source.name}: the image id {image_id!r} cannot name a file in {folder}; rename it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        file.write(encoded)
    return path


def _class_rows(human_counts: Mapping[str, int], selection: Selection) -> list[list[str]]:
    counts = np.array(list(human_counts.values()), np.float64)
    leading = Counter(image.rarest_class for image in selection.chosen)
    rows = zip(human_counts.items(), class_weights(counts), strict=True)
    return [[name, f"{count:,}", f"{weight:,.1f}", f"{leading[name]:,}"] for (name, count), weight in rows]
