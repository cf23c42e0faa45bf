"""Random access to the images and labels of one split, labelled by humans or not.

Call a reader (`read_coco_json`, `read_voc`, `read_image_folder`, `read_tfds`) to get a `Source`, then
`label_fraction`, `subset` and `without_labels` to split it into labelled and unlabelled images.
"""

import copy
import dataclasses
import io
import math
import pathlib
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category, Example

MAX_IMAGE_PIXELS = 2**26  # 8192 x 8192; Pillow itself warns from 89 million
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
_ENTRY_BYTES = 96  # of a dict that has just grown: 60 for a slot and its share of the free ones; the key 32
_ARRAY_BYTES = 48  # what malloc adds to an array's three blocks (object, shape, elements)
_SIGNATURES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png"}


class Problem(NamedTuple):
    """One fault of a data set, described for the user."""

    kind: str  # missing_image unknown_class duplicate_id zero_area outside nan malformed
    where: str  # file (and line, or annotation) at fault
    message: str


@dataclass(frozen=True)
class Source:
    """Random access to one split of one data set. Reading is thread-safe."""

    name: str  # for messages, as "voc:bccd/train"
    categories: tuple[Category, ...]  # empty for unlabelled sources
    image_ids: tuple[str, ...]  # unique
    read_labels: Callable[[int], Example]  # all keys but `image`; unlabelled: only `image_id`
    read_encoded: Callable[[int], bytes]  # JPEG or PNG
    read_image: Callable[[int], UInt8[np.ndarray, "H W 3"]]  # RGB
    # Names data whose ids are positions and whose labels are read with the images; "" elsewhere.
    fingerprint: str = ""
    # Raises InputError where an image's file shows without decoding that it cannot be read; None: unknown.
    check_file: Callable[[int], None] | None = None
    # Names of the files below their folder, in the order of `image_ids`, where ids are something else.
    file_names: tuple[str, ...] = ()
    # Where an image lies; None where images are no files.
    path: Callable[[int], pathlib.Path] | None = None
    # Reads an image's (height, width) from the start of its file; None: `read_encoded` has to do.
    read_size: Callable[[int], tuple[int, int]] | None = None
    # What the reader recognised and decided, in at most three lines for the user.
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, index: int) -> Example:
        """Read an image with its labels.

        Raises:
            InputError: the image or its labels cannot be read.
        """
        return {**self.read_labels(index), "image": self.read_image(index)}

    def size_px(self, index: int) -> tuple[int, int]:
        """Read an image's (height, width) without decoding it.

        Raises:
            InputError: it cannot be read.
        """
        if self.read_size is not None:
            return self.read_size(index)
        return image_size(self.read_encoded(index), f"{self.name}, image {self.image_ids[index]}")


def subset(source: Source, indices: Sequence[int] | np.ndarray, name: str | None = None) -> Source:
    """Keep the images at `indices`, in that order.

    Raises:
        InputError: an index is out of range.
    """
    kept = [int(index) for index in indices]
    wrong = [index for index in kept if not 0 <= index < len(source)]
    if wrong:
        raise InputError(
            f"{source.name} has {len(source)} images, numbered from 0; got {len(wrong)} indices "
            f"out of range: {shorten_list(wrong)}. Choose indices below {len(source)}."
        )
    check_file, path, read_size = source.check_file, source.path, source.read_size
    return dataclasses.replace(
        source,
        name=name if name is not None else f"{source.name}[{len(kept)} of {len(source)}]",
        image_ids=tuple(source.image_ids[index] for index in kept),
        read_labels=lambda index: source.read_labels(kept[index]),
        read_encoded=lambda index: source.read_encoded(kept[index]),
        read_image=lambda index: source.read_image(kept[index]),
        check_file=None if check_file is None else (lambda index: check_file(kept[index])),
        file_names=tuple(source.file_names[index] for index in kept) if source.file_names else (),
        path=None if path is None else (lambda index: path(kept[index])),
        read_size=None if read_size is None else (lambda index: read_size(kept[index])),
    )


def without_labels(source: Source) -> Source:
    """Drop the labels: what the teacher is to label."""
    return dataclasses.replace(
        source,
        name=f"{source.name} (unlabelled)",
        categories=(),
        read_labels=lambda index: {"image_id": source.image_ids[index]},
    )


def concatenated(first: Source, second: Source, name: str) -> Source:
    """Put the images of two labelled sources of the same classes behind one another.

    An id that both have gets the second source's name before it there.
    """
    assert first.categories == second.categories, f"{first.name} and {second.name} have other classes"
    taken = set(first.image_ids)
    others = [f"{second.name}/{id}" if id in taken else id for id in second.image_ids]

    def choose(attribute: str) -> Callable[[int], Any]:
        of_first, of_second = getattr(first, attribute), getattr(second, attribute)
        return lambda index: of_first(index) if index < len(first) else of_second(index - len(first))

    return Source(
        name=name,
        categories=first.categories,
        image_ids=(*first.image_ids, *others),
        read_labels=choose("read_labels"),
        read_encoded=choose("read_encoded"),
        read_image=choose("read_image"),
        check_file=choose("check_file") if first.check_file and second.check_file else None,
        file_names=(*first.file_names, *second.file_names) if first.file_names and second.file_names else (),
        path=choose("path") if first.path and second.path else None,
        read_size=choose("size_px") if first.read_size or second.read_size else None,
    )


def label_fraction(
    num_examples: int, percent: int | float, *, seed: int, fold: int
) -> tuple[Int[np.ndarray, " labelled"], Int[np.ndarray, " remainder"]]:
    """Split indices into `percent` % labelled ones and the remainder, both sorted.

    The labelled part is the first floor(n * percent / 100) of one permutation for each seed and
    fold, at least one: so the 1 % of a fold is part of its 2 %, and so on. The permutation sorts
    raw PCG64 output, which numpy keeps the same on all platforms and in all versions.

    Raises:
        InputError: a percentage outside (0, 100], no examples, or a negative seed or fold.

    Paper: 20 %, 50 % and 100 % of COCO; how the subsets were drawn is not stated.
    """
    if not 0 < percent <= 100:
        raise InputError(
            f"label percentage is {percent}; expected above 0 and at most 100, as 1, 2, 5, 10 or 20."
        )
    if num_examples < 1:
        raise InputError("there are no images to choose the labelled ones from. Check the training split.")
    if seed < 0 or fold < 0:
        raise InputError(f"seed is {seed} and fold is {fold}; expected 0 or above.")
    bits = np.random.PCG64(np.random.SeedSequence((seed, fold)))
    order = np.argsort(bits.random_raw(num_examples), kind="stable")
    num_labelled = max(1, math.floor(num_examples * percent / 100 + 1e-9))
    return np.sort(order[:num_labelled]), np.sort(order[num_labelled:])


def cached(source: Source, budget_mib: float) -> Source:
    """Keep decoded images and labels in memory after the first reading, until they fill the budget.

    All that is kept counts: arrays, strings, Python's objects around them, the cache's own entries. Each
    reading gives labels of its own, whose arrays are shared.
    """
    keep = _keeping(budget_mib)
    return dataclasses.replace(
        source, read_image=keep(source.read_image), read_labels=keep(source.read_labels)
    )


def labels_cached(source: Source, budget_mib: float) -> Source:
    """Keep labels as `cached` does, and no image: for a split that is measured on again and again."""
    return dataclasses.replace(source, read_labels=_keeping(budget_mib)(source.read_labels))


def _keeping(budget_mib: float) -> Callable[[Callable[[int], Any]], Callable[[int], Any]]:
    """Return what lets functions read everything once, as long as all that they return fits the budget."""
    free_bytes, lock = budget_mib * 2**20, threading.Lock()

    def keep(read: Callable[[int], Any]) -> Callable[[int], Any]:
        kept: dict[int, Any] = {}

        def read_once(index: int) -> Any:
            nonlocal free_bytes
            if index in kept:
                return copy.copy(kept[index]) if isinstance(kept[index], dict) else kept[index]
            value = read(index)
            num_bytes = _ENTRY_BYTES + _num_bytes(value)
            with lock:
                if index not in kept and num_bytes <= free_bytes:  # another thread may have read it too
                    free_bytes -= num_bytes
                    kept[index] = _without_views(value)
            return value

        return read_once

    return keep


def _num_bytes(value: Any) -> int:
    """Return the bytes that a read value takes once it has no views; a dict's keys are shared by all."""
    if isinstance(value, np.ndarray):
        return sys.getsizeof(value) + (0 if value.flags.owndata else value.nbytes) + _ARRAY_BYTES
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sys.getsizeof(value) + sum(map(_num_bytes, parts))


def _without_views(value: Any) -> Any:
    """Copy the arrays that are views of others: a view would keep all of the other one in memory."""
    if isinstance(value, dict):
        return {key: _without_views(part) for key, part in value.items()}
    return value.copy() if isinstance(value, np.ndarray) and not value.flags.owndata else value


def decode_image(encoded: bytes, where: str) -> UInt8[np.ndarray, "H W 3"]:
    """Decode to RGB as the pixels are stored: the EXIF orientation is ignored.

    Annotation files and TensorFlow's decoder count pixels as stored, so boxes keep fitting.
    Grey becomes RGB, transparency is dropped.

    Raises:
        InputError: bytes that are no whole image, more than `MAX_IMAGE_PIXELS`, or over 8 bits a channel.
    """
    with _open_header(io.BytesIO(encoded), where) as image:
        try:
            return np.array(image.convert("RGB"))
        except Exception as error:  # Pillow's decoders raise many types on damaged bytes
            raise InputError(
                f"{where}: the image is damaged or cut off ({error}). Replace the file or leave it out."
            ) from error


def image_size(encoded: bytes | io.BufferedReader, where: str) -> tuple[int, int]:
    """Read (height, width) from the header alone, of bytes or of an open file.

    Raises:
        InputError: as `decode_image`.
    """
    with _open_header(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded, where) as image:
        return image.height, image.width


def encoded_suffix(encoded: bytes) -> str | None:
    """Return the file suffix of JPEG and PNG bytes (".jpg", ".png"); None for other bytes."""
    return next((suffix for start, suffix in _SIGNATURES.items() if encoded.startswith(start)), None)


def encode_png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Encode without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _open_header(file: io.BytesIO | io.BufferedReader, where: str) -> Image.Image:
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(where, str(error)) from error
    except Exception as error:  # Pillow's header parsers raise many types on damaged bytes
        num_bytes = file.seek(0, io.SEEK_END)
        raise InputError(
            f"{where}: not an image ({num_bytes} bytes); expected one of {', '.join(IMAGE_FORMATS)}. "
            "Replace the file or leave it out."
        ) from error
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise _too_large(where, f"{image.width} x {image.height} pixels")
    if image.mode[0] in "IF":
        raise InputError(
            f"{where}: pixels of mode {image.mode}; expected 8 bits a channel. Convert the image."
        )
    return image


def _too_large(where: str, found: str) -> InputError:
    return InputError(
        f"{where}: the image is too large ({found}); expected at most {MAX_IMAGE_PIXELS} pixels. "
        "Scale or tile it."
    )
