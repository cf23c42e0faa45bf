"""What images look like: hashes of their pixels, and features of a teacher's backbone; call `look_at`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from selftrain_jax.data.source import Source
from selftrain_jax.doctor.duplicates import perceptual_hash
from selftrain_jax.errors import InputError
from selftrain_jax.selection.choose import Looks
from selftrain_jax.selftrain.inference import Fitted, Loaded, chunks_in_order, run_ahead, stack_fitted
from selftrain_jax.threads import NUM_READERS
from selftrain_jax.types import FittedImages

BATCHES_AHEAD = 2


class Embedder(NamedTuple):
    """A backbone with its weights; compiled once."""

    load: Callable[[UInt8[np.ndarray, "H W 3"]], Fitted]
    embed: Callable[[FittedImages], Float[Array, "B C"]]
    batch_size: int
    image_size_px: int


class Looked(NamedTuple):
    """The images of a source that decode, by their index, and why others do not."""

    indices: tuple[int, ...]
    looks: Looks
    errors: tuple[InputError, ...]


def look_at(source: Source, embedder: Embedder | None, *, batch_size: int = 16) -> Looked:
    """Read every image once and hash it; with an embedder compute its features too.

    The network always sees [batch_size, S, S, 3], whether an image decodes or not.
    """

    def load(image: UInt8[np.ndarray, "H W 3"]) -> tuple[Fitted | None, np.uint64]:
        return embedder and embedder.load(image), perceptual_hash(image)

    indices: list[int] = []
    errors: list[InputError] = []
    hashes: list[np.uint64] = []
    features: list[np.ndarray] = []
    chunks = chunks_in_order(len(source), embedder.batch_size if embedder else batch_size)
    looked = run_ahead(
        chunks,
        source=source,
        load=load,
        dispatch=lambda rows: _dispatch(rows, embedder) if embedder else None,
        batches_ahead=BATCHES_AHEAD,
        num_threads=NUM_READERS,
    )
    with closing(looked):
        for (_, of_chunk), (_, images, found) in zip(chunks, looked, strict=True):
            rows = None if found is None else np.asarray(jax.device_get(found), np.float32)
            for row, (index, image) in enumerate(zip(of_chunk, images, strict=True)):
                if isinstance(image, InputError):
                    errors.append(image)
                    continue
                indices.append(index)
                hashes.append(image.geometry)
                features += [] if rows is None else [_check_finite(rows[row], image)]
    stacked = np.stack(features) if features else np.zeros((len(indices), 0), np.float32)
    return Looked(tuple(indices), Looks(stacked, np.array(hashes, np.uint64)), tuple(errors))


def only(looks: Looks, positions: Sequence[int]) -> Looks:
    """Keep some images."""
    return Looks(looks.features[list(positions)], looks.hashes[list(positions)])


def _dispatch(rows: Mapping[int, Loaded], embedder: Embedder) -> Float[Array, "B C"]:
    fitted = {row: loaded.inputs for row, loaded in rows.items()}
    return embedder.embed(stack_fitted(fitted, embedder.batch_size, embedder.image_size_px))


def _check_finite(features: Float[np.ndarray, " C"], image: Loaded) -> Float[np.ndarray, " C"]:
    if not np.isfinite(features).all():
        raise InputError(
            f"image {image.image_id}: the backbone's features are not finite. Its checkpoint or its number "
            "type is broken; evaluate it, and try config.model.dtype=float32."
        )
    return features
