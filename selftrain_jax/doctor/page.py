"""The data doctor's page about boxes; call `doctor_page`. `mask_doctor_page` is that about masks."""

from collections.abc import Mapping, Sequence

from selftrain_jax.doctor.diagnosis import Diagnosis, SplitSummary
from selftrain_jax.doctor.markup import bar, cells, gallery, page, section, table

LISTED = 5  # image sizes of a split


def doctor_page(diagnosis: Diagnosis) -> str:
    """Lay a diagnosis out, verdicts first; sections without content are left out."""
    labelled = [split for split in diagnosis.splits if split.is_labelled]
    return page(
        diagnosis,
        [
            section("Splits", _splits_table(diagnosis.splits)),
            section("Boxes by class", _classes_table(labelled)),
            section("Problem boxes", gallery(diagnosis.problem_pictures)),
        ],
    )


def _splits_table(splits: Sequence[SplitSummary]) -> str:
    return table(
        ("", *(split.split for split in splits)),
        [
            cells(("source", *(split.source for split in splits))),
            cells(("images", *(f"{split.num_images:,}" for split in splits))),
            cells(("examined", *(f"{split.num_examined:,}" for split in splits))),
            cells(("do not decode", *(f"{len(split.unreadable):,}" for split in splits))),
            cells(("width x height: images", *(_first_of(split.image_sizes) for split in splits))),
            cells(("boxes", *(_if_labelled(split, split.num_boxes) for split in splits))),
            cells(("crowd or difficult", *(_if_labelled(split, split.num_crowd) for split in splits))),
            cells(
                (
                    "images without boxes",
                    *(_if_labelled(split, split.num_images_without_boxes) for split in splits),
                )
            ),
            cells(("boxes in an image", *(_boxes_in_an_image(split.boxes_per_image) for split in splits))),
            cells(("objects by COCO's sizes", *(_first_of(split.object_areas) for split in splits))),
            cells(("side of boxes, px", *(_sides(split.box_side_px) for split in splits))),
        ],
    )


def _classes_table(splits: Sequence[SplitSummary]) -> str:
    names = list(dict.fromkeys(name for split in splits for name in split.class_counts))
    most = [max(split.class_counts.values(), default=0) for split in splits]
    rows = [
        cells((name,))
        + "".join(bar(split.class_counts.get(name, 0), top) for split, top in zip(splits, most, strict=True))
        for name in names
    ]
    return table(("class", *(split.split for split in splits)), rows)


def _if_labelled(split: SplitSummary, count: int) -> str:
    return f"{count:,}" if split.is_labelled else "no labels"


def _first_of(counts: Mapping[str, int]) -> str:
    left = len(counts) - LISTED
    shown = [f"{key}: {count:,}" for key, count in list(counts.items())[:LISTED]]
    return ", ".join(shown + ([f"{left:,} more sizes"] if left > 0 else []))


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
