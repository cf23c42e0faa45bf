"""Examine a segmentation data set before training: bad masks, pixels by class, and leaked test images.

Call `examine`; `find_problems` has nothing to yield, as masks are read when their split is examined.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from ml_collections import ConfigDict

from selftrain_jax.data.source import Problem, Source, without_labels
from selftrain_jax.data.tile_source import find_tiles
from selftrain_jax.doctor import verdicts
from selftrain_jax.doctor.class_names import judge_names
from selftrain_jax.doctor.duplicates import (
    MAX_DISTANCE,
    TRAIN,
    UNLABELLED,
    find_copies,
    find_duplicates,
    is_unlabelled,
)
from selftrain_jax.doctor.examine import Diagnosis, SplitSummary, scan_splits, summarise
from selftrain_jax.doctor.neighbours import judge_neighbours
from selftrain_jax.doctor.page import to_json, verdict_lines, write_diagnosis
from selftrain_jax.doctor.turns import judge_turns
from selftrain_jax.doctor.verdicts import ProblemKind
from selftrain_jax.errors import InputError, printable
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.segmentation.data import Counts, count_each
from selftrain_jax.tasks.segmentation.doctor_page import MaskStatistics, page_sections
from selftrain_jax.tasks.tiles import judge_tiles, read_tiling
from selftrain_jax.text import shorten_list
from selftrain_jax.types import IGNORED

# Ends the name of the masks of unlabelled images, that pseudo masks are compared with; nobody trains on them.
TRUTH = " truth"
MOSTLY_IGNORED = 0.5  # VOC's outlines are 5 % of its pixels
BAD_MASKS = "masks that do not fit their image or classes"


class MaskDiagnosis(NamedTuple):
    """All that the doctor found: in the images, and in the masks."""

    images: Diagnosis  # its verdicts and problems include those of the masks
    masks: tuple[MaskStatistics, ...]
    class_ids: Mapping[str, int]
    sources: Mapping[str, Source]  # by split


def find_problems(config: ConfigDict, split: str) -> Iterator[Problem]:
    """Yield nothing: a bad mask is found when its split is examined."""
    yield from ()


def examine(
    config: ConfigDict,
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    problems: Iterable[Problem],
    errors: Iterable[Finding],
    workdir: Path,
    further: Mapping[str, Source] | None = None,
) -> bool:
    """Print what is found in the splits, write doctor.json and doctor.html; say whether there are errors.

    `errors` are what the run refuses beside that. `further` are more sources of unlabelled images.
    """
    diagnosis = examine_masks(
        labelled=labelled,
        unlabelled=unlabelled,
        further=further,
        problems=problems,
        errors=[*errors, *_judge_tiles(config, labelled.get(TRAIN))],
        max_bad_images=config.data.max_bad_images,
    )
    print(format_diagnosis(diagnosis))
    print(f"with pictures: {write_report(diagnosis, workdir)}")
    return diagnosis.images.has_errors


def _judge_tiles(config: ConfigDict, train: Source | None) -> list[Finding]:
    """Judge the tiles of train, unless the config's are refused; that is said elsewhere."""
    try:
        tiling = read_tiling(config)
    except InputError:
        return []
    if train is None or tiling is None:
        return []
    return list(judge_tiles(TRAIN, find_tiles(train, tiling), tiling))


def examine_masks(
    *,
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    problems: Iterable[Problem] = (),
    further: Mapping[str, Source] | None = None,
    errors: Iterable[Finding] = (),
    max_bad_images: int = 0,
) -> MaskDiagnosis:
    """Read every mask, then every image, for images that repeat above all.

    `labelled` names the splits; None stands for one that could not be opened, and `problems`
    say why; `errors` are what else a run refuses. Up to `max_bad_images` images or masks to train on may be
    bad. Masks of the unlabelled images, where there are any, are a split of their own: "unlabelled truth".
    They are not trained on, but the quality of pseudo masks is not measured with more bad ones than that.
    """
    sources = {name: source for name, source in labelled.items() if source is not None}
    with_masks = dict(sources)
    if unlabelled is not None:
        if any(unlabelled.categories == source.categories for source in sources.values()):
            with_masks[f"{UNLABELLED}{TRUTH}"] = unlabelled
        sources[UNLABELLED] = unlabelled
    for name, source in (further or {}).items():
        if any(source.categories == other.categories for other in sources.values()):
            with_masks[f"{name}{TRUTH}"] = source
    counts = {name: count_each(source) for name, source in with_masks.items()}
    masks = tuple(summarise_masks(name, source, counts[name]) for name, source in with_masks.items())
    of_masks = [each for name, source in with_masks.items() for each in _problems(name, source, counts[name])]
    images = _examine_images(
        labelled, unlabelled, [*problems, *of_masks], errors, masks, max_bad_images, further or {}
    )
    sources |= further or {}
    class_ids = {name: id for source in with_masks.values() for id, name in source.categories}
    return MaskDiagnosis(images, masks, class_ids, sources)


def _examine_images(
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    problems: list[Problem],
    errors: Iterable[Finding],
    masks: tuple[MaskStatistics, ...],
    max_bad_images: int,
    further: Mapping[str, Source],
) -> Diagnosis:
    bare = {name: _images_only(source) for name, source in labelled.items()}
    bare_further = {name: _without_masks(source) for name, source in further.items()}
    scans = scan_splits(bare, _images_only(unlabelled), further=bare_further)
    splits = summarise(scans)
    scanned = {name: scan.images for name, scan in scans.items()}
    duplicates = find_duplicates(scanned)
    counted = [problem for problem in problems if problem.kind not in ("ignored_mask", "bad_truth")]
    judged = [
        *errors,
        *verdicts.judge_missing(labelled),
        *verdicts.judge_problems(counted, {"bad_mask": _bad_mask_kind(splits, masks, max_bad_images)}),
        *verdicts.judge_images(splits, max_bad_images),
        *verdicts.judge_unlabelled(splits),
        *verdicts.judge_copies(find_copies(scanned), splits),
        *verdicts.judge_duplicates(duplicates, splits, "mIoU"),
        *verdicts.judge_repeats(scans),
        *judge_neighbours(scans, duplicates),
        *judge_names({name: source for name, source in labelled.items() if source is not None}),
        *judge_turns(scans),
        *(verdict for split in masks for verdict in _judge(split, max_bad_images)),
    ]
    return Diagnosis(splits, tuple(problems), duplicates, MAX_DISTANCE, verdicts.worst_first(judged))


def _bad_mask_kind(
    splits: Sequence[SplitSummary], masks: Sequence[MaskStatistics], max_bad_images: int
) -> ProblemKind:
    """Judge bad masks as a run does: few of train are skipped, as images that do not decode are."""
    num_bad = {split.split: split.num_bad_masks for split in masks if not _is_truth(split.split)}
    if any(count for name, count in num_bad.items() if name != TRAIN):
        return ProblemKind(BAD_MASKS, "error", "Fix them: evaluation needs every mask.")
    unreadable = sum(len(split.unreadable) for split in splits if split.split == TRAIN)
    total = num_bad.get(TRAIN, 0) + unreadable
    if total <= max_bad_images:
        return ProblemKind(BAD_MASKS, "warning", "Training skips them; fix or remove them.")
    remedy = f"Fix or remove them, or skip them: --config.data.max_bad_images={total}."
    return ProblemKind(BAD_MASKS, "error", remedy, f", allowed are {max_bad_images:,}")


def summarise_masks(split: str, source: Source, pixel_counts: list[Counts | InputError]) -> MaskStatistics:
    """Add up the pixels that `count_each` found."""
    good = [counts for counts in pixel_counts if not isinstance(counts, InputError)]
    table = np.array(good, np.int64).reshape(-1, 256)
    ids = {category.name: category.id for category in source.categories}
    pixels, images = table.sum(axis=0), (table > 0).sum(axis=0)
    return MaskStatistics(
        split=split,
        num_masks=len(pixel_counts),
        num_bad_masks=len(pixel_counts) - len(good),
        num_ignored_masks=int(_is_ignored(table).sum()),
        num_pixels=int(table.sum()),
        ignored_frac=float(pixels[IGNORED] / max(table.sum(), 1)),
        pixels_by_class={name: int(pixels[number]) for name, number in ids.items()},
        images_by_class={name: int(images[number]) for name, number in ids.items()},
    )


def format_diagnosis(diagnosis: MaskDiagnosis) -> str:
    """Write the splits, the share of each class, the verdicts and the first problems, for a terminal."""
    images = diagnosis.images
    lines = ["Splits"]
    lines += [f"  {split.split}: {split.num_images:,} images ({split.source})" for split in images.splits]
    return printable("\n".join([*lines, "", *_class_lines(diagnosis.masks), "", *verdict_lines(images)]))


def write_report(diagnosis: MaskDiagnosis, directory: Path) -> Path:
    """Write doctor.json and doctor.html; return the page."""
    sources = diagnosis.sources
    shown = {split.split: sources[split.split] for split in diagnosis.masks if split.split in sources}
    document = {**to_json(diagnosis.images), "masks": [split._asdict() for split in diagnosis.masks]}
    sections = page_sections(diagnosis.images, diagnosis.masks, diagnosis.class_ids, shown)
    return write_diagnosis(directory, diagnosis.images, sections, sources, document)


def _problems(split: str, source: Source, pixel_counts: list[Counts | InputError]) -> Iterator[Problem]:
    bad_kind = "bad_truth" if _is_truth(split) else "bad_mask"
    for image_id, counts in zip(source.image_ids, pixel_counts, strict=True):
        where = f"{source.name}, image {image_id}"
        if isinstance(counts, InputError):
            yield Problem(bad_kind, where, str(counts))
        elif _is_ignored(counts[None])[0]:
            yield Problem("ignored_mask", where, "every pixel is ignored, so nothing is learnt from it")


def _is_truth(split: str) -> bool:
    """Tell whether a split is the masks of unlabelled images."""
    return split.endswith(TRUTH) and is_unlabelled(split.removesuffix(TRUTH))


def _is_ignored(table: Int[np.ndarray, "N 256"]) -> Bool[np.ndarray, " N"]:
    return ~np.any(np.delete(table, IGNORED, axis=1), axis=1)


def _images_only(source: Source | None) -> Source | None:
    return None if source is None else _without_masks(source)


def _without_masks(source: Source) -> Source:
    return dataclasses.replace(without_labels(source), name=source.name)


def _judge(masks: MaskStatistics, max_bad_images: int) -> Iterator[Finding]:
    name = masks.split
    if _is_truth(name):
        yield from _judge_truth(masks, max_bad_images)
        return
    if masks.ignored_frac == 1 or not masks.num_pixels:
        remedy = "Check config.data.ignore_value and config.data.mask_values, or label pixels."
        yield Finding("error", f"{name}: not one pixel has a class", remedy)
        return
    if masks.num_ignored_masks:
        finding = f"{name}: {masks.num_ignored_masks:,} of {masks.num_masks:,} masks are ignored throughout"
        yield Finding("warning", finding, "Nothing, if they are meant so; they are ignored.")
    if masks.ignored_frac > MOSTLY_IGNORED:
        finding = f"{name}: {masks.ignored_frac:.1%} of the pixels are ignored"
        remedy = "If they are not meant so, correct config.data.ignore_value and config.data.mask_values."
        yield Finding("warning", finding, remedy)
    absent = [class_name for class_name, count in masks.pixels_by_class.items() if not count]
    if absent:
        names = shorten_list(absent) + (" classes" if len(absent) > 5 else "")
        remedy = "The network cannot learn them; label some." if name == TRAIN else "mIoU leaves them out."
        yield Finding("warning", f"{name}: no pixel of {names}", remedy)
    else:
        finding = f"{name}: {masks.num_masks:,} masks, every class present, "
        yield Finding("ok", f"{finding}{masks.ignored_frac:.1%} of the pixels ignored", "")


def _judge_truth(masks: MaskStatistics, max_bad_images: int) -> Iterator[Finding]:
    name, bad = masks.split, masks.num_bad_masks
    finding = f"{name}: {bad:,} of {masks.num_masks:,} masks are bad [bad_truth]"
    if bad > max_bad_images:
        remedy = f"Fix them, or leave them out of the figures: --config.data.max_bad_images={bad}."
        yield Finding("error", f"{finding}, allowed are {max_bad_images:,}", remedy)
    elif bad:
        yield Finding("warning", finding, "Fix them: the figures of the pseudo masks leave them out.")
    if masks.ignored_frac == 1 or not masks.num_pixels:
        yield Finding("warning", f"{name}: not one pixel has a class", "The quality figures will be empty.")
    elif not bad:
        finding = f"{name}: {masks.num_masks:,} masks, {masks.ignored_frac:.1%} of the pixels ignored"
        yield Finding("ok", finding, "")


def _class_lines(splits: tuple[MaskStatistics, ...]) -> list[str]:
    """Write a row a class: its share of the labelled pixels, and the images with it, in each split."""
    names = list(splits[0].pixels_by_class) if splits else []
    width = max((len(name) for name in names), default=0)
    lines = [f"  {'':{width}}" + "".join(f"{split.split:>20}" for split in splits)]
    for name in names:
        cells = [f"{split.share(name):.2%} in {split.images_by_class[name]:,}" for split in splits]
        lines.append(f"  {name:{width}}" + "".join(f"{cell:>20}" for cell in cells))
    return ["Share of the labelled pixels, and images with the class", *lines] if names else []
