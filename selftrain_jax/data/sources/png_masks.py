"""Mask files: PNGs whose pixels are class ids, decoded without loss.

Call `decode_mask`, then `check_palette` where the colours are known, and `check_mask`.
"""

import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from selftrain_jax.data.image_files import read_file
from selftrain_jax.data.source import MAX_IMAGE_PIXELS
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import IGNORED

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3  # PNG's colour types whose values can be ids
_HEADER_BYTES = 26
_COLOUR_TYPES = {2: "colour (RGB)", 4: "grey with transparency (LA)", 6: "colour with transparency (RGBA)"}
_GREY_STEPS = {2: 85, 4: 17}  # Pillow stretches grey of few bits to 0..255: value * 85, value * 17
_CONVERT = (
    "Save the class id of every pixel as a grey or palette PNG of 8 bits, as Pillow does with "
    "Image.fromarray(ids.astype('uint8')).save('mask.png'). Colours of classes are read with "
    "--config.data.kind=folder '--config.data.mask_colors=0,0,0=0;128,0,0=1'."
)


class DecodedMask(NamedTuple):
    """The values of a mask file as they are stored, and their colours, None for grey."""

    mask: UInt8[np.ndarray, "H W"]
    palette: UInt8[np.ndarray, "P 3"] | None


def decode_mask(encoded: bytes, where: str) -> DecodedMask:
    """Decode a PNG of type palette or grey, of 1, 2, 4 or 8 bits; a pixel's value is its id.

    Raises:
        InputError: another kind of file, colour, transparency, 16 bits, a damaged file, or too many pixels.
    """
    bits, colour_type = _read_header(encoded, where)
    try:
        with Image.open(io.BytesIO(encoded), formats=["PNG"]) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS or image.mode not in ("1", "L", "P"):
                raise ValueError("it has two headers")  # Pillow takes the last
            values = np.array(image).astype(np.uint8)  # Pillow makes booleans of 1 bit
            colours = image.getpalette("RGB") if colour_type == PALETTE else None
    except Exception as error:  # Pillow's decoders raise many types on damaged bytes
        raise InputError(
            f"{where}: the mask is damaged or cut off ({error}). Replace the file or leave it out."
        ) from error
    if colour_type == GREY:
        values //= _GREY_STEPS.get(bits, 1)
    return DecodedMask(values, None if colours is None else np.array(colours, np.uint8).reshape(-1, 3))


def check_mask(
    mask: UInt8[np.ndarray, "H W"], size_px: tuple[int, int], num_classes: int, where: str
) -> None:
    """Check a mask's size (height, width) and ids.

    Raises:
        InputError: another size than the image's, or ids that are neither a class nor 255.
    """
    if mask.shape != tuple(size_px):
        raise InputError(
            f"{where}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels (width x height), its image is "
            f"{size_px[1]} x {size_px[0]}; expected the same size. Label the image as it is now, or resize "
            "the mask with nearest neighbour."
        )
    counts = value_counts(mask)
    outside = [value for value in np.flatnonzero(counts).tolist() if num_classes <= value < IGNORED]
    if outside:
        raise InputError(
            f"{where}: ids outside the classes: {list_values(outside, counts)}; expected 0 to "
            f"{num_classes - 1}, or {IGNORED} for pixels to ignore. Fix the mask or name all classes."
        )


def check_palette(decoded: DecodedMask, expected: UInt8[np.ndarray, "P 3"], origin: str, where: str) -> None:
    """Compare the colours of the ids in use with those of `origin`, as far as both palettes reach.

    A mask whose palette was sorted again, as some image tools do, still looks right, but its ids are wrong.
    Grey masks have no colours and pass.

    Raises:
        InputError: an id has another colour.
    """
    if decoded.palette is None:
        return
    known = min(len(decoded.palette), len(expected))
    used = np.flatnonzero(value_counts(decoded.mask)[:known])
    wrong = [value for value in used.tolist() if np.any(decoded.palette[value] != expected[value])]
    if wrong:
        value = wrong[0]
        found, due = (tuple(colours[value].tolist()) for colours in (decoded.palette, expected))
        raise InputError(
            f"{where}: its palette does not match {origin}: {len(wrong)} of the ids in use have another "
            f"colour, the first {value}: {found} instead of {due}. Its ids probably mean other classes; "
            "save it again with the palette of the others, or all as grey."
        )


def first_palette(paths: Iterable[Path]) -> tuple[Path, UInt8[np.ndarray, "P 3"]] | None:
    """Find the first file with a palette that decodes; of grey ones only the headers are read."""
    for path in paths:
        try:
            with open(path, "rb") as file:
                header = file.read(_HEADER_BYTES)
            if _read_header(header, str(path))[1] == PALETTE:
                palette = decode_mask(read_file(path), str(path)).palette
                assert palette is not None
                return path, palette
        except (InputError, OSError):
            continue  # reported when this mask itself is read
    return None


def value_counts(mask: UInt8[np.ndarray, "H W"]) -> Int[np.ndarray, "256"]:
    """Count the pixels of every value."""
    return np.bincount(mask.ravel(), minlength=256)


def list_values(values: list[int], counts: Int[np.ndarray, "256"]) -> str:
    """List values with their pixels, for messages."""
    return shorten_list([f"{value} ({counts[value]} pixels)" for value in values])


def _read_header(encoded: bytes, where: str) -> tuple[int, int]:
    """Return bits per value and colour type of what can be a mask."""
    if not encoded.startswith(PNG_SIGNATURE):
        found = "a JPEG, which blurs ids," if encoded.startswith(b"\xff\xd8") else "no PNG"
        raise InputError(f"{where}: the mask is {found} ({len(encoded)} bytes); expected a PNG. {_CONVERT}")
    if len(encoded) < _HEADER_BYTES:
        raise InputError(f"{where}: the mask is cut off ({len(encoded)} bytes). Replace the file.")
    width, height, bits, colour_type = struct.unpack(">IIBB", encoded[16:_HEADER_BYTES])
    if colour_type not in (GREY, PALETTE) or bits > 8:
        found = _COLOUR_TYPES.get(colour_type, f"of {bits} bits (I;16)" if bits == 16 else "of no known type")
        raise InputError(f"{where}: the mask is {found}; expected one channel of ids. {_CONVERT}")
    if width * height > MAX_IMAGE_PIXELS:
        raise InputError(
            f"{where}: the mask is too large ({width} x {height} pixels); expected at most "
            f"{MAX_IMAGE_PIXELS} pixels. Scale or tile it with its image."
        )
    return bits, colour_type
