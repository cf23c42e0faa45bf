"""Examine a segmentation data set before training: bad masks, pixels by class, and leaked test images.

Call `examine_masks`, then `format_mask_diagnosis` and `write_mask_report`. Paper: not in it, like `doctor`.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Int

from selftrain_jax.data.source import Problem, Source, without_labels
from selftrain_jax.doctor.diagnosis import MaskDiagnosis, MaskStatistics, Verdict
from selftrain_jax.doctor.examine import TRAIN, examine
from selftrain_jax.doctor.pictures import picture_masks
from selftrain_jax.doctor.report import LISTED, to_json, verdict_lines
from selftrain_jax.errors import InputError, printable
from selftrain_jax.tasks.segmentation.data import Counts, count_each
from selftrain_jax.tasks.segmentation.doctor_page import mask_doctor_page
from selftrain_jax.types import IGNORED

EXAMPLES = 6  # masks shown of a split
UNLABELLED_TRUTH = "unlabelled truth"  # masks that pseudo masks are held against; nobody trains on them


def examine_masks(
    *,
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    problems: Iterable[Problem] = (),
    max_images: int | None = None,
) -> MaskDiagnosis:
    """Read every mask, then every image, for what `doctor.examine` finds: images that repeat, above all.

    `labelled` names the splits; None stands for one that could not be opened, and `problems`
    say why. Masks of the unlabelled images, where there are any, are a split of their own:
    "unlabelled truth". They are not trained on, so that what is bad in them is no error.
    """
    sources = {name: source for name, source in labelled.items() if source is not None}
    if unlabelled is not None and any(unlabelled.categories == each.categories for each in sources.values()):
        sources[UNLABELLED_TRUTH] = unlabelled
    counts = {name: count_each(source) for name, source in sources.items()}
    found = [problem for name in sources for problem in _problems(name, sources[name], counts[name])]
    problems = [*problems, *found]
    images = examine(
        labelled={name: _images_only(source) for name, source in labelled.items()},
        unlabelled=_images_only(unlabelled),
        problems=[problem for problem in problems if problem.kind not in ("ignored_mask", "bad_truth")],
        max_images=max_images,
    )
    masks = tuple(summarise_masks(name, sources[name], counts[name]) for name in sources)
    verdicts = [verdict._replace(remedy=_of_masks(verdict.remedy)) for verdict in images.verdicts]
    verdicts += [
        verdict
        for split in masks
        for verdict in (_judge_truth(split) if split.split == UNLABELLED_TRUTH else _judge(split))
    ]
    verdicts.sort(key=lambda verdict: ("error", "warning", "ok").index(verdict.level))
    images = dataclasses.replace(images, problems=tuple(problems), verdicts=tuple(verdicts))
    shown = {name: source for name, source in sources.items() if name != UNLABELLED_TRUTH}
    examples = [
        picture for name, source in shown.items() for picture in picture_masks(source, name, EXAMPLES)
    ]
    class_ids = {category.name: category.id for source in sources.values() for category in source.categories}
    return MaskDiagnosis(images, masks, tuple(examples), class_ids)


def summarise_masks(split: str, source: Source, found: list[Counts | InputError]) -> MaskStatistics:
    """Add up the pixels that `mask_pixels.count_each` found."""
    good = [counts for counts in found if not isinstance(counts, InputError)]
    table = np.array(good, np.int64).reshape(-1, 256)
    ids = {category.name: category.id for category in source.categories}
    pixels, images = table.sum(axis=0), (table > 0).sum(axis=0)
    return MaskStatistics(
        split=split,
        num_masks=len(found),
        num_bad_masks=len(found) - len(good),
        num_ignored_masks=int(_is_ignored(table).sum()),
        num_pixels=int(table.sum()),
        ignored_frac=float(pixels[IGNORED] / max(table.sum(), 1)),
        pixels_by_class={name: int(pixels[number]) for name, number in ids.items()},
        images_by_class={name: int(images[number]) for name, number in ids.items()},
    )


def format_mask_diagnosis(diagnosis: MaskDiagnosis) -> str:
    """Write the splits, the share of each class, the verdicts and the first problems, for a terminal."""
    images = diagnosis.images
    lines = ["Splits"]
    lines += [f"  {split.split}: {split.num_images:,} images ({split.source})" for split in images.splits]
    return printable("\n".join([*lines, "", *_class_table(diagnosis.masks), "", *verdict_lines(images)]))


def write_mask_report(diagnosis: MaskDiagnosis, directory: str | os.PathLike) -> pathlib.Path:
    """Write doctor.json, as `doctor_report` does and with the masks' numbers, and doctor.html; return it."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    content = to_json(diagnosis.images) | {"masks": [split._asdict() for split in diagnosis.masks]}
    (directory / "doctor.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    path = directory / "doctor.html"
    path.write_text(mask_doctor_page(diagnosis), encoding="utf-8", errors="backslashreplace")
    return path


def _problems(split: str, source: Source, found: list[Counts | InputError]) -> Iterator[Problem]:
    bad_kind = "bad_truth" if split == UNLABELLED_TRUTH else "bad_mask"
    for image_id, counts in zip(source.image_ids, found, strict=True):
        where = f"{source.name}, image {image_id}"
        if isinstance(counts, InputError):
            yield Problem(bad_kind, where, str(counts))
        elif _is_ignored(counts[None])[0]:
            yield Problem("ignored_mask", where, "every pixel is ignored, so nothing is learnt from it")


def _is_ignored(table: Int[np.ndarray, "N 256"]) -> Bool[np.ndarray, " N"]:
    return ~np.any(np.delete(table, IGNORED, axis=1), axis=1)


def _images_only(source: Source | None) -> Source | None:
    if source is None:
        return None
    return dataclasses.replace(without_labels(source), name=source.name)


def _of_masks(remedy: str) -> str:
    return remedy.replace("in AP", "in mIoU")


def _judge(masks: MaskStatistics) -> Iterator[Verdict]:
    name = masks.split
    if masks.ignored_frac == 1 or not masks.num_pixels:
        remedy = "Check config.data.ignore_value and config.data.mask_values, or label pixels."
        yield Verdict("error", f"{name}: not one pixel has a class", remedy)
        return
    if masks.num_ignored_masks:
        finding = f"{name}: {masks.num_ignored_masks:,} of {masks.num_masks:,} masks are ignored throughout"
        yield Verdict("warning", finding, "Nothing, if they are meant so; they count for nothing.")
    absent = [class_name for class_name, count in masks.pixels_by_class.items() if not count]
    if absent:
        more = f" and {len(absent) - LISTED} more classes" if len(absent) > LISTED else ""
        remedy = "The network cannot learn them; label some." if name == TRAIN else "mIoU leaves them out."
        yield Verdict("warning", f"{name}: no pixel of {', '.join(absent[:LISTED])}{more}", remedy)
    else:
        finding = f"{name}: {masks.num_masks:,} masks, every class present, "
        yield Verdict("ok", f"{finding}{masks.ignored_frac:.1%} of the pixels ignored", "")


def _judge_truth(masks: MaskStatistics) -> Iterator[Verdict]:
    name, bad = masks.split, masks.num_bad_masks
    if bad:
        finding = f"{name}: {bad:,} of {masks.num_masks:,} masks are bad [bad_truth]"
        remedy = "Mend them: the quality figures leave out up to config.data.max_bad_images."
        yield Verdict("warning", finding, remedy)
    if masks.ignored_frac == 1 or not masks.num_pixels:
        yield Verdict("warning", f"{name}: not one pixel has a class", "The quality figures will be empty.")
    elif not bad:
        finding = f"{name}: {masks.num_masks:,} masks, {masks.ignored_frac:.1%} of the pixels ignored"
        yield Verdict("ok", finding, "")


def _class_table(splits: tuple[MaskStatistics, ...]) -> list[str]:
    """Write a row a class: its share of the labelled pixels, and the images with it, in each split."""
    names = list(splits[0].pixels_by_class) if splits else []
    width = max((len(name) for name in names), default=0)
    lines = [f"  {'':{width}}" + "".join(f"{split.split:>20}" for split in splits)]
    for name in names:
        cells = [
            f"{split.pixels_by_class[name] / max(sum(split.pixels_by_class.values()), 1):.2%}"
            f" in {split.images_by_class[name]:,}"
            for split in splits
        ]
        lines.append(f"  {name:{width}}" + "".join(f"{cell:>20}" for cell in cells))
    return ["Share of the labelled pixels, and images with the class", *lines] if names else []
