"""Turn what the data doctor found into verdicts: ok, warning or error, and what to do.

A task puts these and its own together and sorts them by `worst_first`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from selftrain_jax.data.source import Problem
from selftrain_jax.doctor.duplicates import TRAIN, UNLABELLED, Duplicates, is_trained_on, is_unlabelled
from selftrain_jax.doctor.examine import SplitScan, SplitSummary
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding, Level

LEVELS: tuple[Level, ...] = ("error", "warning", "ok")


class ProblemKind(NamedTuple):
    """How a kind of problem is judged."""

    words: str = "problems"
    level: Level = "error"
    remedy: str = "Fix the files; each problem is listed below."
    note: str = ""  # added to the finding


COMMON_KINDS = {
    "missing_image": ProblemKind("images that are not there"),
    "duplicate_id": ProblemKind("ids that are taken twice"),
    "malformed": ProblemKind("records or files that cannot be read"),
}


def worst_first(verdicts: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort verdicts: errors first, then warnings."""
    return tuple(sorted(verdicts, key=lambda verdict: LEVELS.index(verdict.level)))


def judge_missing(labelled: Mapping[str, object | None]) -> Iterator[Finding]:
    """Say which splits could not be opened."""
    for name, source in labelled.items():
        if source is None:
            yield Finding("error", f"{name}: could not be opened", "Fix the problems below.")


def judge_problems(problems: Iterable[Problem], kinds: Mapping[str, ProblemKind]) -> Iterator[Finding]:
    """Count what the readers complain of, by kind; `kinds` are those of the task."""
    counts = Counter(problem.kind for problem in problems)
    if not counts:
        yield Finding("ok", "annotations: no problem found", "")
    for key, count in counts.most_common():
        kind = {**COMMON_KINDS, **kinds}.get(key, ProblemKind())
        yield Finding(kind.level, f"annotations: {count:,} {kind.words} [{key}]{kind.note}", kind.remedy)


def judge_images(splits: Sequence[SplitSummary], max_bad_images: int = 0) -> Iterator[Finding]:
    """Say whether all images were examined, and whether they decode."""
    for split in splits:
        if split.num_examined < split.num_images:
            finding = f"{split.split}: only {split.num_examined:,} of {split.num_images:,} images examined"
            yield Finding("warning", finding, "Examine all of them before you trust the duplicates found.")
        if not split.unreadable:
            yield Finding("ok", f"{split.split}: all {split.num_examined:,} images examined decode", "")
        else:
            num_bad = len(split.unreadable)
            yield judge_unreadable(split.split, num_bad, split.num_examined, max_bad_images)
    yield from _judge_all_sources([split for split in splits if is_unlabelled(split.split)], max_bad_images)


def _judge_all_sources(sources: Sequence[SplitSummary], max_bad_images: int) -> Iterator[Finding]:
    """Judge the images of several unlabelled sources together, as the labelling of them does."""
    bad = [len(split.unreadable) for split in sources]
    if len(sources) > 1 and max(bad) <= max_bad_images < sum(bad):
        num_images = sum(split.num_examined for split in sources)
        yield judge_unreadable("unlabelled", sum(bad), num_images, max_bad_images)


def judge_copies(copies: Mapping[str, int], splits: Sequence[SplitSummary]) -> Iterator[Finding]:
    """Say which unlabelled source holds labelled images of train, or has no other ones.

    The latter is an error of a further source, which brings nothing; alone a run may label its own images.
    """
    numbers = {split.split: split.num_examined for split in splits}
    for name, num in copies.items():
        if num and num == numbers[name]:
            remedy = (
                "It is the labelled set itself: name other images, or those without labels (kind=remainder)."
            )
            level: Level = "warning" if name == UNLABELLED else "error"
            yield Finding(level, f"{name}: all {num:,} images are labelled images of {TRAIN}", remedy)
        elif num:
            finding = f"{name}: {num:,} of {numbers[name]:,} images are labelled images of {TRAIN}"
            remedy = "The student sees them with the teacher's labels too; leave them out."
            yield Finding("warning", finding, remedy)


def judge_unreadable(split: str, num_bad: int, num_images: int, max_bad_images: int) -> Finding:
    """Judge images that do not decode as a run does: up to `max_bad_images` are left out of training.

    The run and the doctor both call this, with config.data.max_bad_images.
    """
    finding = f"{split}: {num_bad:,} of {num_images:,} images do not decode"
    if not is_trained_on(split):
        return Finding("error", finding, "Replace or remove the files: evaluation needs every image.")
    if num_bad <= max_bad_images:
        return Finding("warning", finding, "Training skips them; replace or remove the files.")
    allowed = f", allowed are {max_bad_images:,}"
    remedy = f"Replace or remove the files, or skip them: --config.data.max_bad_images={num_bad}."
    return Finding("error", finding + allowed, remedy)


def refuse(findings: Iterable[Finding]) -> None:
    """Stop a run where the doctor would find an error.

    Raises:
        InputError: what was found and what to do, of every error.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise InputError("\n".join(f"{error.finding}. {error.remedy}".strip() for error in errors))


def judge_unlabelled(splits: Sequence[SplitSummary]) -> Iterator[Finding]:
    """Say whether there is enough for the teacher to label."""
    numbers = {split.split: split.num_images for split in splits}
    unlabelled = sum(number for name, number in numbers.items() if is_unlabelled(name))
    if TRAIN not in numbers:
        return  # then they were not looked for
    if not any(map(is_unlabelled, numbers)):
        remedy = "The student has nothing new to learn from; name a folder of images."
        yield Finding("warning", "no unlabelled images", remedy)
    elif unlabelled < numbers.get(TRAIN, 0):
        finding = f"{unlabelled:,} unlabelled images for {numbers[TRAIN]:,} labelled"
        remedy = "Self-training gains most with more unlabelled than labelled images."
        yield Finding("warning", finding, remedy)


def judge_duplicates(
    duplicates: Sequence[Duplicates], splits: Sequence[SplitSummary], score: str
) -> Iterator[Finding]:
    """Say where evaluation images are found again; `score` is what counts a copy twice."""
    numbers = {split.split: split.num_examined for split in splits}
    for repeats in duplicates:
        split, evaluation = repeats.split, repeats.evaluation_split
        number, is_within = numbers[evaluation], split == evaluation
        if not repeats.pairs:
            where = f"within {split}" if is_within else f"of {evaluation} in {split}"
            yield Finding("ok", f"duplicates {where}: none", "")
        elsewhere = "another of them" if is_within else f"an image of {split}"
        level, remedy = _duplicates_remedy(split, evaluation, score)
        if repeats.num_exact:
            finding = f"{evaluation}: {repeats.num_exact:,} of {number:,} images equal {elsewhere}"
            yield Finding(level, finding, remedy + _drop_remedy(repeats))
        if repeats.num_near:
            finding = f"{evaluation}: {repeats.num_near:,} of {number:,} images look like {elsewhere}"
            look = "Look at the pairs on the page; where they show the same scene, "
            yield Finding("warning", finding, look + remedy[0].lower() + remedy[1:])


def _drop_remedy(repeats: Duplicates) -> str:
    """Say what config.data.drop_leaks would do: it leaves out files that are the same, byte by byte."""
    if not is_trained_on(repeats.split) or not repeats.num_same_file:
        return ""
    if repeats.num_same_file == repeats.num_exact:
        return " Or leave them out: --config.data.drop_leaks=True."
    key = "config.data.drop_leaks"
    return f" {key} would leave out {repeats.num_same_file:,}, the others are other files of equal pixels."


def judge_repeats(scans: Mapping[str, SplitScan]) -> Iterator[Finding]:
    """Say which images to train on are there under two ids; `judge_duplicates` does of the other splits."""
    scan = scans.get(TRAIN)
    if scan is None:
        return
    ids: dict[str, list[str]] = {}
    for image in scan.images:
        ids.setdefault(image.digest, []).append(image.image_id)
    repeated = [names for names in ids.values() if len(names) > 1]
    if repeated:
        count, total = sum(map(len, repeated)), len(scan.images)
        finding = f"{TRAIN}: {count:,} of {total:,} images are there under several ids, as "
        finding += " and ".join(repeated[0][:2])
        remedy = "Give each one id with all its labels: what one copy lacks is taught as background."
        yield Finding("warning", finding, remedy)


def _duplicates_remedy(split: str, evaluation: str, score: str) -> tuple[Level, str]:
    if split == evaluation:
        return "warning", f"Remove the copies: each counts again in {score}."
    if is_trained_on(split):
        return "error", f"Remove them from {split}: scores on {evaluation} would not count."
    return "warning", f"Remove them from {split}: settings chosen there would be tested on themselves."
