"""What the data doctor's page says about masks: tables, and masks on their images."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.source import Source
from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.doctor.examine import Diagnosis
from selftrain_jax.doctor.page import bar, gallery, thumbnail, words_table
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Block, Cell, Section
from selftrain_jax.html.galleries import Picture
from selftrain_jax.types import IGNORED

EXAMPLES = 6  # masks shown of a split


class MaskStatistics(NamedTuple):
    """A split's masks in numbers; bad masks are left out."""

    split: str
    num_masks: int
    num_bad_masks: int
    num_ignored_masks: int  # masks without one pixel that has a class
    num_pixels: int
    ignored_frac: float  # of the pixels
    pixels_by_class: Mapping[str, int]
    images_by_class: Mapping[str, int]

    def share(self, name: str) -> float:
        """Divide a class's pixels by those that have any."""
        return self.pixels_by_class[name] / max(sum(self.pixels_by_class.values()), 1)


def page_sections(
    images: Diagnosis,
    masks: Sequence[MaskStatistics],
    class_ids: Mapping[str, int],
    sources: Mapping[str, Source],
) -> list[Section]:
    """Show the splits, the pixels by class, and some masks of each split in `sources`."""
    pictures = [row for name, source in sources.items() for row in picture_masks(source, name, EXAMPLES)]
    lead = "Colours as in the table of classes. What is not coloured is ignored."
    return [
        Section("splits", "Splits", "", _splits_tables(images, masks)),
        Section(
            "classes", "Pixels by class, and images with the class", "", _classes_table(masks, class_ids)
        ),
        Section("masks", "Masks on their images", lead, gallery(pictures)),
    ]


def picture_masks(source: Source, split: str, count: int) -> list[list[Picture]]:
    """Show masks of a split, evenly chosen, in their classes' colours beside their images."""
    rows = []
    for index in np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)):
        try:
            image, mask = source.read_image(int(index)), source.read_labels(int(index))["mask"]
        except InputError:
            continue  # listed among the problems
        tinted = image // 2 + voc_palette()[mask] // 2
        drawn = np.where((mask == IGNORED)[:, :, None], image, tinted)
        caption = f"{split} {source.image_ids[index]}"
        mask_picture = Picture(thumbnail(drawn), "mask", f"{caption}, its mask")
        rows.append([Picture(thumbnail(image), caption, caption), mask_picture])
    return rows


def _splits_tables(images: Diagnosis, masks: Sequence[MaskStatistics]) -> list[Block]:
    of_images = [
        (
            split.split,
            split.source,
            f"{split.num_images:,}",
            f"{len(split.unreadable):,}",
            ", ".join(split.image_sizes),
        )
        for split in images.splits
    ]
    of_masks = [
        ("masks", *(f"{split.num_masks:,}" for split in masks)),
        ("of them bad", *(f"{split.num_bad_masks:,}" for split in masks)),
        ("ignored throughout", *(f"{split.num_ignored_masks:,}" for split in masks)),
        ("pixels ignored", *(f"{split.ignored_frac:.1%}" for split in masks)),
    ]
    header = ("", "source", "images", "do not decode", "width x height")
    names = ("", *(split.split for split in masks))
    return [*words_table(header, of_images), *words_table(names, of_masks if masks else [])]


def _classes_table(masks: Sequence[MaskStatistics], class_ids: Mapping[str, int]) -> list[Block]:
    rows = []
    for name, class_id in class_ids.items():
        color = ",".join(map(str, voc_palette()[class_id]))
        rows.append([Cell(name, color=f"rgb({color})"), *(_class_bar(split, name) for split in masks)])
    return words_table(("class", *(split.split for split in masks)), rows)


def _class_bar(split: MaskStatistics, name: str) -> Cell:
    text = f"{split.share(name):.2%} in {split.images_by_class[name]:,}"
    return bar(split.pixels_by_class[name], max(split.pixels_by_class.values()), text)
