"""Turn what the data doctor found into verdicts: ok, warning or error, and what to do. Call `judge`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from selftrain_jax.data.problems import BOX_KINDS, BadBoxes
from selftrain_jax.data.source import Problem
from selftrain_jax.doctor.diagnosis import Duplicates, Level, SplitSummary, Verdict

RARE_BOXES = 10  # a class with fewer in training is hardly learned
MAX_DETECTIONS = 100  # that COCO's evaluation keeps of an image
LISTED = 5
KIND_WORDS = {
    "missing_image": "images that are not there",
    "unknown_class": "boxes of unknown classes",
    "duplicate_id": "ids that are taken twice",
    "zero_area": "boxes without area",
    "outside": "boxes outside their images",
    "nan": "boxes with a coordinate that is no finite number",
    "bad_mask": "masks that do not fit their image or classes",
    "malformed": "records or files that cannot be read",
    "tiny": "boxes under 2 px high or wide",
    "repeated": "boxes that are there twice",
}
SUSPECT_REMEDIES = {
    "tiny": "Look at the first of them on the page; strays of the mouse teach the detector noise.",
    "repeated": "Remove the copies; each counts as a miss at evaluation.",
}


def judge(
    splits: Sequence[SplitSummary],
    missing: Sequence[str],
    problems: Iterable[Problem],
    duplicates: Sequence[Duplicates],
    bad_boxes: BadBoxes,
) -> tuple[Verdict, ...]:
    """Give all verdicts, errors first, then warnings."""
    verdicts = [
        *(Verdict("error", f"{name}: could not be opened", "Mend the problems below.") for name in missing),
        *_judge_problems(problems, bad_boxes),
        *(verdict for split in splits for verdict in _judge_images(split)),
        *(verdict for split in splits if split.is_labelled for verdict in _judge_labels(split)),
        *_judge_unlabelled(splits),
        *(verdict for found in duplicates for verdict in _judge_duplicates(found, splits)),
    ]
    return tuple(sorted(verdicts, key=lambda verdict: ("error", "warning", "ok").index(verdict.level)))


def _judge_problems(problems: Iterable[Problem], bad_boxes: BadBoxes) -> Iterator[Verdict]:
    counts = Counter(problem.kind for problem in problems)
    if not counts:
        yield Verdict("ok", "annotations: no problem found", "")
    for kind, count in counts.most_common():
        finding = f"annotations: {count:,} {KIND_WORDS.get(kind, 'problems')} [{kind}]"
        if kind in SUSPECT_REMEDIES:
            yield Verdict("warning", finding, SUSPECT_REMEDIES[kind])
        elif kind in BOX_KINDS and bad_boxes == "drop":
            yield Verdict("warning", f"{finding}, left out", "Nothing, if they are no more than strays.")
        elif kind in BOX_KINDS:
            yield Verdict("error", finding, "Mend them, or leave them out: --config.data.bad_boxes=drop.")
        else:
            yield Verdict("error", finding, "Mend the files; each place is listed below.")


def _judge_images(split: SplitSummary) -> Iterator[Verdict]:
    if split.num_examined < split.num_images:
        finding = f"{split.split}: only {split.num_examined:,} of {split.num_images:,} images examined"
        yield Verdict("warning", finding, "Examine all of them before you trust the duplicates found.")
    if not split.unreadable:
        yield Verdict("ok", f"{split.split}: all {split.num_examined:,} images examined decode", "")
        return
    finding = f"{split.split}: {len(split.unreadable):,} of {split.num_examined:,} images do not decode"
    if split.split in ("train", "unlabelled"):
        yield Verdict("warning", finding, "Training passes over them; replace or remove the files.")
    else:
        yield Verdict("error", finding, "Replace or remove the files: evaluation needs every image.")


def _judge_labels(split: SplitSummary) -> Iterator[Verdict]:
    absent = [name for name, count in split.class_counts.items() if not count]
    rare = [name for name, count in split.class_counts.items() if 0 < count < RARE_BOXES]
    is_train = split.split == "train"
    if not split.num_boxes:
        yield Verdict("error", f"{split.split}: no box at all", "Check that the labels belong to the split.")
        return
    if absent:
        remedy = (
            "The detector cannot learn them; label some."
            if is_train
            else "AP leaves them out; move some images here."
        )
        yield Verdict("warning", f"{split.split}: no box of {_listing(absent)}", remedy)
    if rare and is_train:
        finding = f"{split.split}: under {RARE_BOXES} boxes of {_listing(rare)}"
        yield Verdict(
            "warning", finding, "Expect low AP for them; label more, and look at their pseudo labels."
        )
    if split.num_images_without_boxes > split.num_examined / 2:
        finding = (
            f"{split.split}: {split.num_images_without_boxes:,} of {split.num_examined:,} images have no box"
        )
        yield Verdict("warning", finding, "Check that they are truly empty: a missing label teaches a miss.")
    crowded = max(split.boxes_per_image, default=0)
    if crowded > MAX_DETECTIONS:
        finding = f"{split.split}: up to {crowded} boxes in an image"
        yield Verdict(
            "warning", finding, f"COCO's AP keeps {MAX_DETECTIONS} detections an image; tile the images."
        )
    if not absent and not (rare and is_train):
        yield Verdict("ok", f"{split.split}: {split.num_boxes:,} boxes, every class present", "")


def _judge_unlabelled(splits: Sequence[SplitSummary]) -> Iterator[Verdict]:
    numbers = {split.split: split.num_images for split in splits}
    if "unlabelled" not in numbers:
        yield Verdict(
            "warning",
            "no unlabelled images",
            "The student has nothing new to learn from; name a folder of images.",
        )
    elif numbers["unlabelled"] < numbers.get("train", 0):
        finding = f"{numbers['unlabelled']:,} unlabelled images for {numbers['train']:,} labelled"
        yield Verdict(
            "warning", finding, "Self-training gains most with more unlabelled than labelled images."
        )


def _judge_duplicates(found: Duplicates, splits: Sequence[SplitSummary]) -> Iterator[Verdict]:
    number = next(split.num_examined for split in splits if split.split == found.evaluation_split)
    is_within = found.split == found.evaluation_split
    if not found.pairs:
        where = f"within {found.split}" if is_within else f"of {found.evaluation_split} in {found.split}"
        yield Verdict("ok", f"duplicates {where}: none", "")
        return
    elsewhere = "another of them" if is_within else f"an image of {found.split}"
    level, remedy = _duplicates_remedy(found)
    if found.num_exact:
        finding = f"{found.evaluation_split}: {found.num_exact:,} of {number:,} images equal {elsewhere}"
        yield Verdict(level, finding, remedy)
    if found.num_near:
        finding = f"{found.evaluation_split}: {found.num_near:,} of {number:,} images look like {elsewhere}"
        look = "Look at the pairs on the page; where they show the same scene, "
        yield Verdict("warning", finding, look + remedy[0].lower() + remedy[1:])


def _duplicates_remedy(found: Duplicates) -> tuple[Level, str]:
    if found.split == found.evaluation_split:
        return "warning", "Remove the copies: each counts again in AP."
    if found.split in ("train", "unlabelled"):
        return "error", f"Remove them from {found.split}: scores on {found.evaluation_split} would not count."
    return "warning", f"Remove them from {found.split}: settings chosen there would be tested on themselves."


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more classes" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
