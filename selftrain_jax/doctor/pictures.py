"""Thumbnails for the data doctor's page: problem boxes on their images, pairs of duplicates, masks.

Call `picture_problems`, `picture_duplicates` and `picture_masks`.
"""

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageOps

from selftrain_jax.data.source import Problem, Source
from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.doctor.diagnosis import Duplicates, Picture
from selftrain_jax.errors import InputError
from selftrain_jax.types import IGNORED

MAX_PICTURES = 24
SIDE_PX = 240
BORDER_PX = 20
# Problems name their image and box in words (`problems.describe_fault`).
_IMAGE_OF = re.compile(r"image (.+?): the box \(ymin, xmin, ymax, xmax\) = \(([^)]*)\)")

Box = tuple[float, ...]


def picture_problems(problems: Sequence[Problem], sources: Mapping[str, Source]) -> tuple[Picture, ...]:
    """Draw the boxes of the first problems of each kind that name an image and a box."""
    found: dict[str, list[Picture]] = {}
    for problem in problems:
        named = box_of(problem)
        pictures = found.setdefault(problem.kind, [])
        if named is None or len(pictures) >= MAX_PICTURES // 4:
            continue
        image = _find_image(sources, named[0])
        if image is not None:
            caption = f"[{problem.kind}] {problem.message} ({problem.where})"
            pictures.append(Picture(caption, (thumbnail(image, named[1]),)))
    return tuple(picture for pictures in found.values() for picture in pictures)[:MAX_PICTURES]


def picture_duplicates(
    duplicates: Sequence[Duplicates], sources: Mapping[str, Source]
) -> tuple[Picture, ...]:
    """Show the first pairs of every comparison side by side."""
    pictures = []
    indices = {
        name: {key: place for place, key in enumerate(source.image_ids)} for name, source in sources.items()
    }
    concerned = [found for found in duplicates if found.pairs]
    for found in concerned:
        for pair in found.pairs[: max(4, MAX_PICTURES // len(concerned))]:
            sides = (found.split, pair.image_id), (found.evaluation_split, pair.evaluation_image_id)
            jpegs = tuple(thumbnail(sources[name].read_image(indices[name][key])) for name, key in sides)
            how = "equal" if pair.is_exact else f"alike ({pair.distance} of 64 bits differ)"
            pictures.append(Picture(f"{how}: {' and '.join(f'{name} {key}' for name, key in sides)}", jpegs))
    return tuple(pictures)


def picture_masks(source: Source, split: str, count: int) -> list[Picture]:
    """Show masks of a split, evenly chosen, in their classes' colours beside their images."""
    pictures = []
    for index in np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)):
        try:
            image, mask = source.read_image(int(index)), source.read_labels(int(index))["mask"]
        except InputError:
            continue  # listed among the problems
        overlay = image // 2 + voc_palette()[mask] // 2
        known = np.where((mask == IGNORED)[:, :, None], image, overlay)
        jpegs = (thumbnail(image), thumbnail(known))
        pictures.append(Picture(f"{split} {source.image_ids[index]}; not coloured: ignored", jpegs))
    return pictures


def describe_box(image_id: str, box: Sequence[float], fault: str) -> str:
    """Put a fault of a box in the words that `box_of` reads."""
    values = ", ".join(f"{value:g}" for value in box)
    return f"image {image_id}: the box (ymin, xmin, ymax, xmax) = ({values}) {fault}"


def box_of(problem: Problem) -> tuple[str, Box] | None:
    """Read the image id and the yxyx box from a problem's message, if it names them as finite numbers."""
    match = _IMAGE_OF.match(problem.message)
    if match is None:
        return None
    box = tuple(float(value) for value in match[2].split(","))
    return (match[1], box) if np.isfinite(box).all() else None


def thumbnail(image: UInt8[np.ndarray, "H W 3"], box: Box | None = None) -> bytes:
    """Shrink an image to JPEG, with a box marked where one is given."""
    scale = SIDE_PX / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = Image.fromarray(image).resize((width, height))
    if box is not None:
        small = _mark(small, [side * scale for side in box])
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _mark(picture: Image.Image, box: Sequence[float]) -> Image.Image:
    """Draw a yxyx box, on a grey border where it lies outside the picture, however far."""
    ymin, xmin, ymax, xmax = box
    is_inside = min(box) >= 0 and max(xmin, xmax) <= picture.width and max(ymin, ymax) <= picture.height
    border = 0 if is_inside else BORDER_PX
    sheet = ImageOps.expand(picture, border, fill="grey")
    x = sorted(float(np.clip(side + border, 4, sheet.width - 5)) for side in (xmin, xmax))
    y = sorted(float(np.clip(side + border, 4, sheet.height - 5)) for side in (ymin, ymax))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x[0] - 4, y[0] - 4, x[1] + 4, y[1] + 4), outline="white", width=4)
    draw.rectangle((x[0] - 3, y[0] - 3, x[1] + 3, y[1] + 3), outline="red", width=2)
    return sheet


def _find_image(sources: Mapping[str, Source], image_id: str) -> UInt8[np.ndarray, "H W 3"] | None:
    """Read an image from the first split that has it and can read it."""
    for source in sources.values():
        if image_id in source.image_ids:
            try:
                return source.read_image(source.image_ids.index(image_id))
            except InputError:
                continue  # listed among the images that do not decode
    return None
