"""`--job=export_labels` for boxes: choose images, and write them for a tool; call `export_review`."""

import datetime
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from selftrain_jax.data.source import Source, image_size
from selftrain_jax.errors import InputError
from selftrain_jax.run_files.review import Review, SentBox, SentImage
from selftrain_jax.selftrain.checks import class_thresholds
from selftrain_jax.selftrain.manifest import read_manifest
from selftrain_jax.selftrain.records import open_records
from selftrain_jax.tasks.config_values import LabelThresholds
from selftrain_jax.tasks.detection.pseudo.source import is_label
from selftrain_jax.tasks.detection.review import choose
from selftrain_jax.tasks.detection.review.read_back import FORMATS
from selftrain_jax.tasks.detection.review.send import (
    Layout,
    check_output,
    find_files,
    select_boxes,
    thresholds_by_id,
    write_review,
)
from selftrain_jax.tasks.detection.run_files import BoxTotals
from selftrain_jax.types import Example

EXIF_ORIENTATION = 0x0112


def export_review(
    config: ConfigDict,
    *,
    labels: Path,
    source: Source,
    thresholds: LabelThresholds,
    output: Path,
    label_set: str,
    layer: str,
    reviewed: Collection[str],
    detect: Callable[[Sequence[str]], Mapping[str, Example]],
) -> str:
    """Write the chosen images with the boxes that are labels; return what was written, in a sentence.

    `source` has the files of the images; `reviewed` are those that people have corrected, which stay.
    `detect` runs the student on images, for `review.choose=disagreements` alone.

    Raises:
        InputError: a value of config.review does not exist, the folder is not empty, images are gone, or
            there are fewer than asked for.
    """
    settings = config.review
    _check(settings)
    check_output(output)
    manifest = read_manifest(labels, BoxTotals)
    records = open_records(labels, manifest, max_damaged=config.data.max_bad_images)
    scores = class_thresholds(manifest.categories, config.pseudo.threshold, thresholds.per_class)
    ignored = [id for id, name in manifest.categories if name in thresholds.ignored]
    scores, iou = thresholds_by_id(scores, ignored), config.pseudo.agnostic_iou
    positions = {image_id: index for index, image_id in enumerate(source.image_ids)}
    free = [
        index
        for index, image_id in enumerate(records.image_ids)
        if image_id in positions and image_id not in reviewed
    ]
    boxes = [select_boxes(records.read_labels(index), scores, iou) for index in free]
    ids = [records.image_ids[index] for index in free]

    def find_by_student() -> list[int]:
        found = detect(ids)
        return choose.order_by_disagreement(boxes, lambda index: _labels_of(found[ids[index]], scores, iou))

    chosen = choose.choose_images(_order(config, boxes, ids, find_by_student), settings.count, len(records))
    if not chosen:
        raise InputError(f"{labels}: no image is left to go out; all {len(records)} were reviewed")
    files = find_files(source, [positions[ids[index]] for index in chosen], output)
    images = tuple(
        SentImage(
            image_id=ids[index],
            name=file.name,
            path=str(file.path),
            size_px=image_size(records.read_encoded(free[index]), file.name),
            boxes=boxes[index],
        )
        for index, file in zip(chosen, files, strict=True)
    )
    review = Review(
        label_set=label_set,
        layer=layer,
        teacher=manifest.provenance.get("teacher", {}),
        format=settings.format,
        choose=settings.choose,
        threshold=config.pseudo.threshold,
        per_class_thresholds=dict(thresholds.per_class),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        categories=manifest.categories,
        images=images,
    )
    layout = Layout(settings.url_prefix, Path(settings.url_root), settings.yolo_scores)
    write_review(review, files, output, layout)
    turned = sum(_is_turned(file.path) for file in files)
    return _describe(review, len(records), len(reviewed), turned, output)


def _check(settings: ConfigDict) -> None:
    for key, known in (("format", FORMATS), ("choose", choose.CHOICES)):
        if settings[key] not in known:
            raise InputError(f"config.review.{key}={settings[key]!r} is not one of {', '.join(known)}")


def _order(
    config: ConfigDict,
    boxes: Sequence[Sequence[SentBox]],
    image_ids: Sequence[str],
    by_disagreement: Callable[[], list[int]],
) -> list[int]:
    way, selection = config.review.choose, config.review.selection
    if way == choose.LEAST_SURE:
        return choose.order_by_uncertainty(boxes)
    if way == choose.RAREST_CLASS:
        return choose.order_by_rarity(boxes)
    if way == choose.DISAGREEMENTS:
        return by_disagreement()
    if way == choose.RANDOM:
        return choose.order_at_random(len(boxes), config.seed)
    if way == choose.SELECTION:
        if not selection:
            raise InputError("config.review.choose=selection needs --config.review.selection=FILE")
        return choose.read_selection(Path(selection), image_ids)
    return list(range(len(boxes)))


def _labels_of(found: Example, thresholds: np.ndarray, agnostic_iou: float) -> Example:
    kept = is_label(found, thresholds, agnostic_iou)
    return {"boxes": found["boxes"][kept], "classes": found["classes"][kept]}


def _is_turned(path: Path) -> bool:
    with Image.open(path) as image:
        return image.getexif().get(EXIF_ORIENTATION, 1) != 1


def _describe(review: Review, num_images: int, num_reviewed: int, num_turned: int, output: Path) -> str:
    num_boxes = sum(len(image.boxes) for image in review.images)
    lines = [
        f"{len(review.images)} of {num_images} images ({review.choose}) with {num_boxes} boxes for "
        f"{review.format} are in {output}"
    ]
    if num_reviewed:
        lines.append(f"{num_reviewed} images that were reviewed before stayed")
    if num_turned:
        lines.append(
            f"warning: {num_turned} images have an EXIF turn, which many tools follow and these boxes do "
            "not: turn the pixels themselves (exiftran -ai) before labelling"
        )
    return "; ".join(lines)
