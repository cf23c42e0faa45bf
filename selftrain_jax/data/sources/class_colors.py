"""Masks whose pixels are colours that stand for classes, as annotation tools draw them.

Call `parse_colors`, or `read_labelmap` for CVAT's labelmap.txt; then `decode_colors` for each mask.
"""

import io
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from selftrain_jax.data.source import MAX_IMAGE_PIXELS
from selftrain_jax.data.sources.png_masks import PNG_SIGNATURE
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import IGNORED

Colors = Mapping[tuple[int, int, int], int]  # (red, green, blue) -> class, 255 = ignore
_COLOR = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*=\s*(\d{1,3})\s*")


def parse_colors(text: str, num_classes: int) -> Colors:
    """Parse "0,0,0=0;128,0,0=1": red, green and blue, and the class.

    Raises:
        InputError: the text is no such list, gives a colour twice or names a class that is not there.
    """
    colors: dict[tuple[int, int, int], int] = {}
    for item in filter(str.strip, text.split(";")):
        match = _COLOR.fullmatch(item)
        red, green, blue, class_id = map(int, match.groups()) if match else (256, 0, 0, 0)
        is_class = class_id < num_classes or class_id == IGNORED
        if max(red, green, blue) > 255 or not is_class or (red, green, blue) in colors:
            raise InputError(
                f"mask colors {text!r:.300}: cannot take {item.strip()[:60]!r}; expected red,green,blue (0 "
                f"to 255, each colour once) = its class (0 to {num_classes - 1}, or {IGNORED} to ignore), as "
                "0,0,0=0;128,0,0=1. Fix config.data.mask_colors."
            )
        colors[red, green, blue] = class_id
    return colors


def read_labelmap(text: str, where: str) -> tuple[tuple[str, ...], Colors]:
    """Read CVAT's labelmap.txt, lines `name:red,green,blue:parts:actions`; background becomes class 0.

    Raises:
        InputError: a line has not that form.
    """
    names, colors = ["background"], {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        values = rest.partition(":")[0].split(",")
        if len(values) != 3 or not all(value.strip().isdecimal() for value in values):
            raise InputError(f"{where}:{number}: {line!r:.200}; expected name:red,green,blue::")
        if name != "background":
            names.append(name)
        red, green, blue = map(int, values)
        colors[red, green, blue] = 0 if name == "background" else len(names) - 1
    return tuple(names), colors


def decode_colors(encoded: bytes, colors: Colors, where: str) -> UInt8[np.ndarray, "H W"]:
    """Decode a PNG of any colour type to classes.

    Raises:
        InputError: no PNG, a damaged or too large one, or a colour that is no class.
    """
    if not encoded.startswith(PNG_SIGNATURE):
        raise InputError(f"{where}: the mask is no PNG; colours of a JPEG are blurred. Save it as PNG.")
    try:
        with Image.open(io.BytesIO(encoded), formats=["PNG"]) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise ValueError("it is too large")
            pixels = np.array(image.convert("RGB")).astype(np.int32)
    except Exception as error:  # Pillow's decoders raise many types on damaged bytes
        raise InputError(
            f"{where}: the mask is damaged ({error}). Replace the file or leave it out."
        ) from error
    codes = pixels @ np.array([65536, 256, 1])
    found, inverse = np.unique(codes, return_inverse=True)
    known = {red * 65536 + green * 256 + blue: class_id for (red, green, blue), class_id in colors.items()}
    unknown = [
        (int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in found if int(code) not in known
    ]
    if unknown:
        raise InputError(
            f"{where}: {len(unknown)} colours have no class: {shorten_list(unknown)}; known are "
            f"{shorten_list(list(colors), 10)}. Add them to config.data.mask_colors (=255 ignores)."
        )
    classes = np.array([known[int(code)] for code in found], np.uint8)
    return classes[inverse.reshape(codes.shape)]
