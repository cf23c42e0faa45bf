"""The data doctor's page about masks; call `mask_doctor_page`. `doctor_page` is that about boxes."""

import html
from collections.abc import Mapping, Sequence

from selftrain_jax.data.sources.voc_masks import voc_palette
from selftrain_jax.doctor.diagnosis import Diagnosis, MaskDiagnosis, MaskStatistics
from selftrain_jax.doctor.markup import bar, cells, gallery, page, section, table


def mask_doctor_page(diagnosis: MaskDiagnosis) -> str:
    """Lay a diagnosis out, verdicts first; sections without content are left out."""
    by_class = _classes_table(diagnosis.masks, diagnosis.class_ids)
    return page(
        diagnosis.images,
        [
            section("Splits", _splits_table(diagnosis.images, diagnosis.masks)),
            section("Pixels by class, and images with the class", by_class),
            section("Masks on their images", gallery(diagnosis.examples)),
        ],
    )


def _splits_table(images: Diagnosis, masks: Sequence[MaskStatistics]) -> str:
    of_masks = [
        cells(("masks", *(f"{split.num_masks:,}" for split in masks))),
        cells(("of them bad", *(f"{split.num_bad_masks:,}" for split in masks))),
        cells(("ignored throughout", *(f"{split.num_ignored_masks:,}" for split in masks))),
        cells(("pixels ignored", *(f"{split.ignored_frac:.1%}" for split in masks))),
    ]
    of_images = [
        cells(
            (
                split.split,
                split.source,
                f"{split.num_images:,}",
                f"{len(split.unreadable):,}",
                ", ".join(split.image_sizes),
            )
        )
        for split in images.splits
    ]
    return table(("", "source", "images", "do not decode", "width x height"), of_images) + table(
        ("", *(split.split for split in masks)), of_masks if masks else []
    )


def _classes_table(masks: Sequence[MaskStatistics], class_ids: Mapping[str, int]) -> str:
    rows = []
    for name, class_id in class_ids.items():
        counts = [_count(split, name) for split in masks]
        rows.append(_name(name, class_id) + "".join(counts))
    return table(("class", *(split.split for split in masks)), rows)


def _count(split: MaskStatistics, name: str) -> str:
    pixels, most = split.pixels_by_class[name], max(split.pixels_by_class.values())
    share = pixels / max(sum(split.pixels_by_class.values()), 1)
    return bar(pixels, most, f"{share:.2%} in {split.images_by_class[name]:,}")


def _name(name: str, class_id: int) -> str:
    colour = ",".join(map(str, voc_palette()[class_id]))
    return f'<td style="border-left:.8rem solid rgb({colour});padding-left:.5rem">{html.escape(name)}</td>'
