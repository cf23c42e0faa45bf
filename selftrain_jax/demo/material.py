"""Real pixels for the built-in data: handwritten digits and photographs that ship in packages.

Call `digit_inks`, `distractor_inks` and `photo` (`stored_photo`: unscaled); everything is loaded once,
from files.
An ink is an 8-bit picture of 12 x 12 cells, its shape within the inner 8 x 8 cells.
"""

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from selftrain_jax.errors import InputError

CELLS = 12  # cells along an ink: 8 of handwriting and 2 of margin on each side, so that it can turn
CELL_PX = 4
INK_PX = CELLS * CELL_PX
NUM_DISTRACTORS = 192  # inks of a bank, a quarter of each kind
FRAGMENT_DIGITS = (2, 3, 4, 5, 7)  # their halves look like no digit, unlike the halves of 0 1 6 8 9

# Licences as scikit-image states them: CC0, but astronaut, hubble_deep_field and rocket public domain,
# and ihc (a stained tissue) without known copyright restrictions.
JPEGS = ("hubble_deep_field", "retina", "rocket")  # the other photographs are PNG files

# Strokes on a grid 4 wide and 6 high: letters that no slant of 25 degrees makes a digit.
LETTERS = {
    "A": ((0, 6, 2, 0), (2, 0, 4, 6), (1, 4, 3, 4)),
    "E": ((0, 0, 0, 6), (0, 0, 4, 0), (0, 3, 3, 3), (0, 6, 4, 6)),
    "F": ((0, 0, 0, 6), (0, 0, 4, 0), (0, 3, 3, 3)),
    "H": ((0, 0, 0, 6), (4, 0, 4, 6), (0, 3, 4, 3)),
    "K": ((0, 0, 0, 6), (4, 0, 0, 3), (0, 3, 4, 6)),
    "M": ((0, 6, 0, 0), (0, 0, 2, 4), (2, 4, 4, 0), (4, 0, 4, 6)),
    "T": ((0, 0, 4, 0), (2, 0, 2, 6)),
    "V": ((0, 0, 2, 6), (2, 6, 4, 0)),
    "W": ((0, 0, 1, 6), (1, 6, 2, 2), (2, 2, 3, 6), (3, 6, 4, 0)),
    "X": ((0, 0, 4, 6), (4, 0, 0, 6)),
}


@functools.cache
def digit_classes() -> tuple[int, ...]:
    """Return the digit, 0 to 9, that each of scikit-learn's 1,797 handwritten pictures shows."""
    return tuple(int(digit) for digit in _load_digits()[1])


@functools.cache
def digit_inks() -> tuple[Image.Image, ...]:
    """Scale the 8 x 8 handwritten pictures up smoothly, into inks."""
    return tuple(_smooth_ink(cells) for cells in _load_digits()[0])


@functools.cache
def distractor_inks(seed: int, digit_indices: tuple[int, ...]) -> tuple[Image.Image, ...]:
    """Draw shapes that are no digits: letters, long lines, blobs, and halves of the given digits."""
    rng = np.random.default_rng((seed, NUM_DISTRACTORS))
    fragments = [index for index in digit_indices if digit_classes()[index] in FRAGMENT_DIGITS]
    inks = []
    for _ in range(NUM_DISTRACTORS // 4):
        inks += [_letter(rng), _line(rng), _blob(rng), _half_digit(rng, int(rng.choice(fragments)))]
    return tuple(inks)


@functools.cache
def stored_photo(name: str) -> Image.Image:
    """Load a photograph in RGB, at the size of its file. Raises: InputError when that is missing."""
    file_name = f"{name}.{'jpg' if name in JPEGS else 'png'}"
    path = _package_file("skimage", f"data/{file_name}")
    if path is None:
        raise InputError(
            f"The built-in data's photograph {name!r} is missing: no file data/{file_name} in scikit-image. "
            "It comes inside scikit-image 0.24 to 0.26: python -m pip install 'scikit-image>=0.24,<0.27'."
        )
    with Image.open(path) as stored:
        return stored.convert("RGB")


@functools.cache
def photo(name: str, short_side_px: int) -> Image.Image:
    """Load a photograph, scaled to a short side. Raises: InputError when its file is missing."""
    picture = stored_photo(name)
    scale = short_side_px / min(picture.size)
    width, height = (math.ceil(side * scale) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


@functools.cache
def photo_pixels(name: str, short_side_px: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return the pixels of `photo`."""
    return np.asarray(photo(name, short_side_px))


@functools.cache
def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    path = _package_file("sklearn", "datasets/data/digits.csv.gz")  # importing the package takes a second
    if path is None:
        raise InputError(
            "The built-in data's handwriting is missing: no file datasets/data/digits.csv.gz. It comes "
            "inside scikit-learn: python -m pip install 'scikit-learn>=1.5'."
        )
    table = np.loadtxt(path, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)


def _package_file(package: str, name: str) -> Path | None:
    """Find a file inside a package without importing it."""
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((path for folder in folders if (path := Path(folder, name)).is_file()), None)


def _smooth_ink(cells: np.ndarray) -> Image.Image:
    """Scale 8 x 8 cells of 0..16 up and centre the strokes."""
    levels = np.clip(cells * (255 / 16), 0, 255).astype(np.uint8)
    rows, columns = np.nonzero(levels > 80)
    top, left = (2 + round((7 - places.min() - places.max()) / 2) for places in (rows, columns))
    padded = np.zeros((CELLS, CELLS), np.uint8)
    padded[top : top + 8, left : left + 8] = levels
    return Image.fromarray(padded).resize((INK_PX, INK_PX), Image.Resampling.LANCZOS)


def _draw(segments: np.ndarray, width_px: float) -> Image.Image:
    """Draw line segments [N, (x0 y0 x1 y1)], given in cells, as soft as an enlarged digit."""
    sheet = Image.new("L", (INK_PX, INK_PX))
    draw = ImageDraw.Draw(sheet)
    for segment in segments * CELL_PX:
        draw.line([float(place) for place in segment], fill=255, width=round(width_px))
    coarse = sheet.resize((CELLS, CELLS), Image.Resampling.BOX)
    return coarse.resize((INK_PX, INK_PX), Image.Resampling.LANCZOS)


def _letter(rng: np.random.Generator) -> Image.Image:
    strokes = np.array(LETTERS[str(rng.choice(sorted(LETTERS)))], float)
    strokes = strokes * (7 / 6) + (3.7, 2.5, 3.7, 2.5) + rng.normal(0, 0.3, strokes.shape)
    return _draw(strokes, rng.uniform(5, 8))


def _line(rng: np.random.Generator) -> Image.Image:
    ends = np.array([[1, 6, 6, 6], [6, 6, 11, 6]], float) + rng.normal(0, 0.5, (2, 4)) * (0, 1, 0, 1)
    ends[1, :2] = ends[0, 2:]  # one bent stroke
    return _draw(ends, rng.uniform(4, 6))


def _blob(rng: np.random.Generator) -> Image.Image:
    coarse = np.zeros((6, 6), np.uint8)
    coarse[1:5, 1:5] = rng.integers(0, 256, (4, 4))
    coarse[2:4, 2:4] = 255
    return Image.fromarray(coarse).resize((INK_PX, INK_PX), Image.Resampling.BICUBIC)


def _half_digit(rng: np.random.Generator, index: int) -> Image.Image:
    """Cut a digit through its middle, and keep the left, right, upper or lower half."""
    pixels = np.array(digit_inks()[index])
    half = INK_PX // 2
    kept = (np.s_[:, :half], np.s_[:, half:], np.s_[:half], np.s_[half:])[rng.integers(4)]
    pixels[kept] = 0
    return Image.fromarray(pixels)
