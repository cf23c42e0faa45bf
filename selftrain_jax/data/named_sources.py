"""Several sources as one: `join_sources`. The image ids say which source an image is of: `source_of`.

The first source keeps its ids; those of a further source begin with its name, as in coco/000042.jpg. So ids
that two sources share stay apart, and one source alone is what it is without names.
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.text import FIRST_SOURCE, shorten_list
from selftrain_jax.types import Example


def source_of(image_id: str, names: Collection[str]) -> str:
    """Return the name of the source that an image is of, among those of the further ones, or FIRST_SOURCE."""
    name, slash, _ = image_id.partition("/")
    return name if slash and name in names else FIRST_SOURCE


def indices_by_source(
    image_ids: Collection[str], names: Collection[str]
) -> dict[str, Int[np.ndarray, " own"]]:
    """Return where the images of each source are, in their order, by name; the first source's first."""
    found: dict[str, list[int]] = {name: [] for name in (FIRST_SOURCE, *names)}
    for index, image_id in enumerate(image_ids):
        found[source_of(image_id, names)].append(index)
    return {name: np.array(indices, np.int64) for name, indices in found.items()}


def join_sources(sources: Mapping[str, Source]) -> Source:
    """Put the images of sources behind one another, by name; the one called FIRST_SOURCE keeps its ids.

    Their classes are those of the first in order. One source alone is returned as it is.

    Raises:
        InputError: an id of the first source begins like those of a further one.
    """
    if list(sources) == [FIRST_SOURCE]:
        return sources[FIRST_SOURCE]
    further = [name for name in sources if name != FIRST_SOURCE]
    if FIRST_SOURCE in sources:
        _check_ids(sources[FIRST_SOURCE], further)
    parts = list(sources.values())
    ends = np.cumsum([len(source) for source in parts])
    image_ids = _add_names({name: source.image_ids for name, source in sources.items()})
    file_names = _add_names({name: source.file_names or source.image_ids for name, source in sources.items()})

    def find(index: int) -> tuple[Source, int]:
        part = int(np.searchsorted(ends, index, side="right"))
        return parts[part], index - int(ends[part]) + len(parts[part])

    def read(attribute: str, index: int) -> Any:
        source, own = find(index)
        return getattr(source, attribute)(own)

    def read_labels(index: int) -> Example:
        return {**read("read_labels", index), "image_id": image_ids[index]}

    def check_file(index: int) -> None:
        source, own = find(index)
        if source.check_file is not None:
            source.check_file(own)

    names = [source.name for source in parts]
    return Source(
        name=" and ".join(names),
        categories=parts[0].categories,
        image_ids=image_ids,
        read_labels=read_labels,
        read_encoded=lambda index: read("read_encoded", index),
        read_image=lambda index: read("read_image", index),
        fingerprint=" ".join(source.fingerprint for source in parts if source.fingerprint),
        check_file=check_file if any(source.check_file for source in parts) else None,
        file_names=file_names if any(source.file_names for source in parts) else (),
        path=(lambda index: read("path", index)) if all(source.path for source in parts) else None,
        read_size=partial(read, "size_px") if any(source.read_size for source in parts) else None,
        notes=tuple(dict.fromkeys(note for source in parts for note in source.notes)),
    )


def _add_names(names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Put the ids or file names of sources behind one another, a further source's after its own name."""
    return tuple(
        text if name == FIRST_SOURCE else f"{name}/{text}" for name, texts in names.items() for text in texts
    )


def _check_ids(source: Source, names: Collection[str]) -> None:
    taken = [image_id for image_id in source.image_ids if source_of(image_id, names) != FIRST_SOURCE]
    if taken:
        name = taken[0].partition("/")[0]
        raise InputError(
            f"{source.name} has {len(taken)} images whose ids begin with the name of a further source: "
            f"{shorten_list(taken, 3)}. Call config.unlabeled.also.{name} by another name."
        )


def of_known_sources(
    image_ids: Collection[str], known_ids: Collection[str], names: Collection[str]
) -> list[str]:
    """Return the images of those sources of which an image is among `known_ids`; of one source all."""
    known = {source_of(image_id, names) for image_id in known_ids}
    return (
        [image_id for image_id in image_ids if source_of(image_id, names) in known] if names else [*image_ids]
    )
