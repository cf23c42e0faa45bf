"""Examine a detection data set before training: faulty boxes, statistics, and images that leak into training.

Call `find_problems` for each split, then `examine`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_collections import ConfigDict

from selftrain_jax.data.image_files import fill_template
from selftrain_jax.data.problems import BOX_KINDS, BadBoxes
from selftrain_jax.data.source import Problem, Source
from selftrain_jax.data.sources import coco, voc_boxes
from selftrain_jax.doctor import verdicts
from selftrain_jax.doctor.class_names import judge_names
from selftrain_jax.doctor.coco_files import CocoFile, judge_coco_files
from selftrain_jax.doctor.corners import judge_corners
from selftrain_jax.doctor.duplicates import MAX_DISTANCE, TRAIN, find_copies, find_duplicates
from selftrain_jax.doctor.examine import Diagnosis, scan_splits, summarise
from selftrain_jax.doctor.neighbours import judge_neighbours
from selftrain_jax.doctor.page import to_json, verdict_lines, write_diagnosis
from selftrain_jax.doctor.turns import judge_turns
from selftrain_jax.doctor.verdicts import ProblemKind
from selftrain_jax.doctor.voc_files import voc_corners
from selftrain_jax.errors import InputError, printable
from selftrain_jax.html.blocks import Finding
from selftrain_jax.tasks.config_values import class_names, require_dir, split_names
from selftrain_jax.tasks.detection.anchor_fit import judge_anchors
from selftrain_jax.tasks.detection.box_statistics import (
    BoxStatistics,
    judge_boxes,
    summarise_boxes,
    suspect_boxes,
)
from selftrain_jax.tasks.detection.data import auto_coco_files, auto_problems, coco_categories, judge_slots
from selftrain_jax.tasks.detection.doctor_page import page_sections
from selftrain_jax.tasks.detection.tile_boxes import judge_tile_boxes
from selftrain_jax.unlabeled_sources import further_sources

FAULTS = {
    "zero_area": "boxes without area",
    "outside": "boxes outside their images",
    "nan": "boxes with a coordinate that is no finite number",
}
SUSPECTS = {
    "tiny": ProblemKind(
        "boxes under 2 px high or wide",
        "warning",
        "Look at the first of them on the page; strays of the mouse teach the detector noise.",
    ),
    "repeated": ProblemKind(
        "boxes that are there twice", "warning", "Remove the copies; each counts as a miss at evaluation."
    ),
}


@dataclass(frozen=True)
class BoxDiagnosis:
    """All that the doctor found: in the images, and in the boxes."""

    images: Diagnosis  # its verdicts and problems include those of the boxes
    boxes: tuple[BoxStatistics, ...]  # one for each of the images' splits
    sources: Mapping[str, Source]


def find_problems(config: ConfigDict, split: str) -> Iterator[Problem]:
    """Yield the faults of a split's box files; built-in data and TFDS have no files of the user's."""
    data = config.data
    if data.kind == "auto" and data.dir:
        yield from auto_problems(config, split)
    if data.kind not in ("voc", "coco"):
        return
    root = require_dir(data.dir, "config.data.dir", "the data set")
    if data.kind == "coco":
        keys = {"config.data.annotations": data.annotations, "config.data.images": data.images}
        annotations, images = (root / fill_template(text, split, key) for key, text in keys.items())
        try:
            categories = coco_categories(config)
        except InputError as error:
            yield Problem("malformed", "config.data.classes", str(error))
            return
        yield from coco.find_problems(annotations, images, categories=categories)
    if data.kind == "voc":
        yield from voc_boxes.find_problems(root, split, class_names(config) or None)


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
    train = labelled.get(TRAIN)
    crowded = _judge_tiles(config, train) if train is not None else ()
    errors = [*errors, *crowded, *_judge_files(config)]
    diagnosis = examine_boxes(
        labelled=labelled,
        unlabelled=unlabelled,
        further=further,
        problems=problems,
        errors=errors,
        bad_boxes=config.data.bad_boxes,
        max_bad_images=config.data.max_bad_images,
    )
    print(format_diagnosis(diagnosis))
    print(f"with pictures: {write_report(diagnosis, workdir)}")
    return diagnosis.images.has_errors


def _judge_files(config: ConfigDict) -> list[Finding]:
    """Look at the label files themselves, for what does not show in what the readers make of them."""
    data, sources = config.data, (config.unlabeled, *further_sources(config).values())
    root, splits = Path(data.dir), split_names(config)
    if not data.dir.strip():
        return []
    folders = [Path(source.dir) for source in sources if source.kind == "folder" and source.dir.strip()]
    if data.kind == "coco":
        templates = (data.annotations, data.images)
        files = {
            split: CocoFile(*(root / text.replace("{split}", split) for text in templates))
            for split in splits
        }
        return list(judge_coco_files(files, folders))
    if data.kind == "auto" and (found := auto_coco_files(config)):
        files = {split: CocoFile(*own) for split, own in found.items()}
        return list(judge_coco_files(files, folders, drops_groups=True))
    if data.kind in ("voc", "auto"):
        judged = (judge_corners(split, voc_corners(root, split), counts_from=1) for split in splits)
        return [finding for findings in judged for finding in findings]
    return []


def _judge_tiles(config: ConfigDict, train: Source) -> list[Finding]:
    """Judge boxes by tile, or by image, unless the config's tiles are refused; that is said elsewhere."""
    try:
        return [
            *judge_slots(config, train),
            *judge_tile_boxes(config, TRAIN, train),
            *judge_anchors(config, TRAIN, train),
        ]
    except InputError:
        return []


def examine_boxes(
    *,
    labelled: Mapping[str, Source | None],
    unlabelled: Source | None,
    problems: Iterable[Problem],
    further: Mapping[str, Source] | None = None,
    errors: Iterable[Finding] = (),
    max_images: int | None = None,
    bad_boxes: BadBoxes = "error",
    max_bad_images: int = 0,
) -> BoxDiagnosis:
    """Read the splits once and gather all there is to say about them.

    `labelled` names the splits; all but "train" are for evaluation, and None stands for one that
    could not be opened. `problems` are what the readers' `find_problems` yield, `errors` what else
    a run refuses. `bad_boxes` is the reader's setting: boxes that it drops are only a warning. So are up
    to `max_bad_images` images to train on that do not decode. For `max_images` see `scan_splits`.
    """
    scans = scan_splits(labelled, unlabelled, max_images, further)
    splits = summarise(scans)
    boxes = tuple(summarise_boxes(scan) for scan in scans.values())
    all_problems = [*problems, *(problem for scan in scans.values() for problem in suspect_boxes(scan))]
    scanned = {name: scan.images for name, scan in scans.items()}
    duplicates = find_duplicates(scanned)
    judged = [
        *errors,
        *verdicts.judge_missing(labelled),
        *verdicts.judge_problems(all_problems, _problem_kinds(bad_boxes)),
        *verdicts.judge_images(splits, max_bad_images),
        *(
            verdict
            for split, of_split in zip(splits, boxes, strict=True)
            if split.is_labelled
            for verdict in judge_boxes(split.split, split.num_examined, of_split)
        ),
        *judge_names({name: scan.source for name, scan in scans.items()}),
        *judge_turns(scans),
        *verdicts.judge_unlabelled(splits),
        *verdicts.judge_copies(find_copies(scanned), splits),
        *verdicts.judge_duplicates(duplicates, splits, "AP"),
        *verdicts.judge_repeats(scans),
        *judge_neighbours(scans, duplicates),
    ]
    images = Diagnosis(splits, tuple(all_problems), duplicates, MAX_DISTANCE, verdicts.worst_first(judged))
    return BoxDiagnosis(images, boxes, {name: scan.source for name, scan in scans.items()})


def format_diagnosis(diagnosis: BoxDiagnosis) -> str:
    """Write the splits, the verdicts with what to do, and the first problems, for a terminal."""
    lines = []
    for split, boxes in zip(diagnosis.images.splits, diagnosis.boxes, strict=True):
        crowds = f" and {boxes.num_crowd:,} crowds" if boxes.num_crowd else ""
        labels = f"{boxes.num_boxes:,} boxes{crowds}" if split.is_labelled else "no labels"
        lines.append(f"  {split.split}: {split.num_images:,} images, {labels} ({split.source})")
    return printable("\n".join(["Splits", *lines, "", *verdict_lines(diagnosis.images)]))


def write_report(diagnosis: BoxDiagnosis, directory: Path) -> Path:
    """Write doctor.json and doctor.html; return the page."""
    document = to_json(diagnosis.images, map(asdict, diagnosis.boxes))
    sections = page_sections(diagnosis.images, diagnosis.boxes, diagnosis.sources)
    return write_diagnosis(directory, diagnosis.images, sections, diagnosis.sources, document)


def _problem_kinds(bad_boxes: BadBoxes) -> dict[str, ProblemKind]:
    dropped = ProblemKind("", "warning", "No action is needed if these are only stray boxes.", ", left out")
    fatal = ProblemKind("", "error", "Fix them, or leave them out: --config.data.bad_boxes=drop.")
    judged = dropped if bad_boxes == "drop" else fatal
    faults = {kind: judged._replace(words=FAULTS[kind]) for kind in BOX_KINDS}
    shares = ProblemKind("splits whose boxes are shares from 0 to 1", "error", "Write them in pixels.")
    unknown = ProblemKind("boxes of unknown classes")
    return {"unknown_class": unknown, "normalized": shares, **faults, **SUSPECTS}
