"""What the data doctor's page says about boxes: tables, and problem boxes on their images."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageOps

from selftrain_jax.data.source import Problem, Source
from selftrain_jax.doctor.examine import Diagnosis, SplitSummary
from selftrain_jax.doctor.page import MAX_PICTURES, SIDE_PX, bar, gallery, thumbnail, words_table
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Block, Cell, Section
from selftrain_jax.html.galleries import Picture
from selftrain_jax.tasks.detection.box_statistics import BoxStatistics

LISTED = 5  # image sizes of a split
BORDER_PX = 20
# Problems name their image and box in words (`problems.describe_fault`).
_IMAGE_OF = re.compile(r"image (.+?): the box \(ymin, xmin, ymax, xmax\) = \(([^)]*)\)")

Box = tuple[float, ...]


def page_sections(
    diagnosis: Diagnosis, boxes: Sequence[BoxStatistics], sources: Mapping[str, Source]
) -> list[Section]:
    """Show the splits, the boxes by class, and the first problem boxes."""
    splits = diagnosis.splits
    pictures = [[picture] for picture in picture_problems(diagnosis.problems, sources)]
    return [
        Section("splits", "Splits", "", _splits_table(splits, boxes)),
        Section("classes", "Boxes by class", "", _classes_table(splits, boxes)),
        Section("problem-boxes", "Problem boxes", "", gallery(pictures)),
    ]


def picture_problems(problems: Sequence[Problem], sources: Mapping[str, Source]) -> list[Picture]:
    """Draw the boxes of the first problems of each kind that name an image and a box."""
    pictures: dict[str, list[Picture]] = {}
    for problem in problems:
        named = box_of(problem)
        of_kind = pictures.setdefault(problem.kind, [])
        if named is None or len(of_kind) >= MAX_PICTURES // 4:
            continue
        image = _find_image(sources, named[0])
        if image is not None:
            caption = f"[{problem.kind}] {problem.message} ({problem.where})"
            of_kind.append(Picture(marked_thumbnail(image, named[1]), caption, caption))
    return [picture for of_kind in pictures.values() for picture in of_kind][:MAX_PICTURES]


def box_of(problem: Problem) -> tuple[str, Box] | None:
    """Read the image id and the yxyx box from a problem's message, if it names them as finite numbers."""
    match = _IMAGE_OF.match(problem.message)
    if match is None:
        return None
    box = tuple(float(value) for value in match[2].split(","))
    return (match[1], box) if np.isfinite(box).all() else None


def marked_thumbnail(image: UInt8[np.ndarray, "H W 3"], box: Box) -> UInt8[np.ndarray, "h w 3"]:
    """Shrink an image and mark a yxyx box, on a grey border where it lies outside the image, however far."""
    picture = Image.fromarray(thumbnail(image))
    ymin, xmin, ymax, xmax = (side * SIDE_PX / max(image.shape[:2]) for side in box)
    is_inside = min(box) >= 0 and max(xmin, xmax) <= picture.width and max(ymin, ymax) <= picture.height
    border = 0 if is_inside else BORDER_PX
    sheet = ImageOps.expand(picture, border, fill="grey")
    x = sorted(float(np.clip(side + border, 4, sheet.width - 5)) for side in (xmin, xmax))
    y = sorted(float(np.clip(side + border, 4, sheet.height - 5)) for side in (ymin, ymax))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x[0] - 4, y[0] - 4, x[1] + 4, y[1] + 4), outline="white", width=4)
    draw.rectangle((x[0] - 3, y[0] - 3, x[1] + 3, y[1] + 3), outline="red", width=2)
    return np.asarray(sheet)


def _find_image(sources: Mapping[str, Source], image_id: str) -> UInt8[np.ndarray, "H W 3"] | None:
    """Read an image from the first split that has it and can read it."""
    for source in sources.values():
        if image_id in source.image_ids:
            try:
                return source.read_image(source.image_ids.index(image_id))
            except InputError:
                continue  # listed among the images that do not decode
    return None


def _splits_table(splits: Sequence[SplitSummary], boxes: Sequence[BoxStatistics]) -> list[Block]:
    def of_labels(counts: Iterable[int]) -> list[str]:
        pairs = zip(splits, counts, strict=True)
        return [f"{count:,}" if split.is_labelled else "no labels" for split, count in pairs]

    rows: list[Sequence[str]] = [
        ("source", *(split.source for split in splits)),
        ("images", *(f"{split.num_images:,}" for split in splits)),
        ("examined", *(f"{split.num_examined:,}" for split in splits)),
        ("do not decode", *(f"{len(split.unreadable):,}" for split in splits)),
        ("width x height: images", *(_first_of(split.image_sizes) for split in splits)),
        ("boxes", *of_labels(counts.num_boxes for counts in boxes)),
        ("crowd or difficult", *of_labels(counts.num_crowd for counts in boxes)),
        ("images without boxes", *of_labels(counts.num_images_without_boxes for counts in boxes)),
        ("boxes in an image", *(_boxes_in_an_image(counts.boxes_per_image) for counts in boxes)),
        ("objects by COCO's sizes", *(_first_of(counts.object_areas) for counts in boxes)),
        ("side of boxes, px", *(_sides(counts.box_side_px) for counts in boxes)),
    ]
    return words_table(("", *(split.split for split in splits)), rows)


def _classes_table(splits: Sequence[SplitSummary], boxes: Sequence[BoxStatistics]) -> list[Block]:
    names = [split.split for split in splits if split.is_labelled]
    pairs = zip(splits, boxes, strict=True)
    counts = [of_split.class_counts for split, of_split in pairs if split.is_labelled]
    classes = dict.fromkeys(name for of_split in counts for name in of_split)
    rows = [
        [Cell(name), *(bar(of_split.get(name, 0), max(of_split.values(), default=0)) for of_split in counts)]
        for name in classes
    ]
    return words_table(("class", *names), rows)


def _first_of(counts: Mapping[str, int]) -> str:
    left = len(counts) - LISTED
    shown = [f"{key}: {count:,}" for key, count in counts.items()]
    return ", ".join(shown[:LISTED] + ([f"{left:,} more sizes"] if left > 0 else []))


def _boxes_in_an_image(boxes_per_image: Mapping[int, int]) -> str:
    num_images = sum(boxes_per_image.values())
    if not num_images:
        return ""
    mean = sum(boxes * images for boxes, images in boxes_per_image.items()) / num_images
    return f"{min(boxes_per_image)} to {max(boxes_per_image)}, {mean:.1f} on average"


def _sides(quantiles: Sequence[float]) -> str:
    if not quantiles:
        return ""
    least, low, middle, high, greatest = quantiles
    return f"{least:g} to {greatest:g}, half of them {low:g} to {high:g}, median {middle:g}"
