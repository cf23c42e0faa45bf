"""Find frames of one sequence that lie on both sides of a split, and a regex that keeps them together.

Call `judge_neighbours`. Two images are neighbours in time where their names are numbered (seq12_000341),
the numbers are near and the hashes are nearer than those of strangers. Not in the paper, whose data sets have
no videos.
"""

import re
import shlex
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from selftrain_jax.data.groups import group_name, image_name
from selftrain_jax.doctor.duplicates import Duplicates, ImageScan, is_trained_on, is_unlabelled
from selftrain_jax.doctor.examine import SplitScan
from selftrain_jax.html.blocks import Finding

MAX_FRAMES = 30  # between two names: a second of video
MAX_BITS = 12  # of 64; strangers differ in 32 +- 4 bits, two frames of one scene in few
MIN_KEPT = 0.5  # of the pairs, for a regex to be proposed
_NUMBERED = re.compile(r"^(.*?)([0-9]+)(?:_(?:jpe?g|png)\.rf\.[0-9A-Za-z]+)?(?:\.[A-Za-z]+)?$")
# From fine to coarse; the first also takes the names of Roboflow's exports, the last patients and scenes.
CANDIDATES = (
    r"^(.*?)[_.-]?[0-9]+(?:_(?:jpe?g|png)\.rf\.[0-9A-Za-z]+)?(?:\.[A-Za-z]+)?$",
    r"^(.+)/",
    r"^([^_/-]+)[_/-]",
)


class Frame(NamedTuple):
    """An image by its name and what it looks like."""

    name: str
    hash: np.uint64


class Proposal(NamedTuple):
    """A regular expression for config.data.group_by, and what it does to the labelled images."""

    pattern: str
    num_kept: int  # pairs of neighbours that are in one group
    group_sizes: tuple[int, ...]  # images of each group, the largest first


def judge_neighbours(scans: Mapping[str, SplitScan], duplicates: Iterable[Duplicates]) -> Iterator[Finding]:
    """Warn of evaluation images whose neighbours are trained on or labelled, with the regex to paste."""
    names = {split: _names_by_id(scan) for split, scan in scans.items()}
    alike = {(found.split, found.evaluation_split): found.pairs for found in duplicates}
    labelled = [name for split, by_id in names.items() if not is_unlabelled(split) for name in by_id.values()]
    for (split, evaluation), repeats in alike.items():
        if not is_trained_on(split):
            continue
        pairs = {
            (names[split][pair.image_id], names[evaluation][pair.evaluation_image_id])
            for pair in repeats
            if not pair.is_exact
        }
        sides = ([_frame(image, names[side]) for image in scans[side].images] for side in (split, evaluation))
        frames = find_frames(*sides)
        if frames:
            yield _warn(split, evaluation, frames, len(scans[evaluation].images), labelled, pairs)


def find_frames(trained: Sequence[Frame], evaluated: Sequence[Frame]) -> list[tuple[str, str]]:
    """Pair each evaluation image with the nearest number of its sequence that looks similar."""
    sequences: dict[str, list[tuple[int, Frame]]] = defaultdict(list)
    for frame in trained:
        key = split_number(frame.name)
        if key is not None:
            sequences[key[0]].append((key[1], frame))
    for frames in sequences.values():
        frames.sort(key=lambda numbered: numbered[0])
    pairs = []
    for frame in evaluated:
        key = split_number(frame.name)
        frames = sequences.get(key[0], []) if key is not None else []
        near = _nearest(frames, key[1], frame) if key is not None else None
        pairs += [(near.name, frame.name)] if near is not None else []
    return pairs


def split_number(name: str) -> tuple[str, int] | None:
    """Take "seq12_000341.jpg" apart into the sequence, "seq12_", and the number, 341; None without one."""
    match = _NUMBERED.match(name)
    return (match[1], int(match[2])) if match and len(match[2]) < 20 else None


def propose(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> Proposal | None:
    """Choose the regex that keeps most pairs of neighbours together, of equals the finest.

    It finds a group in every name, and more than one; None where none does, or keeps under half of the pairs.
    """
    listed, best = list(pairs), None
    for pattern in CANDIDATES:
        compiled = re.compile(pattern)
        groups = [group_name(compiled, name) for name in names]
        if None in groups or len(set(groups)) < 2:
            continue
        kept = sum(group_name(compiled, one) == group_name(compiled, other) for one, other in listed)
        if best is None or kept > best.num_kept:
            sizes = tuple(sorted(Counter(groups).values(), reverse=True))
            best = Proposal(pattern, kept, sizes)
    return best if best is not None and best.num_kept >= MIN_KEPT * len(listed) else None


def _nearest(frames: Sequence[tuple[int, Frame]], number: int, frame: Frame) -> Frame | None:
    """Return the frame of the nearest number, up to MAX_FRAMES away, that looks similar."""
    start = bisect_left(frames, number - MAX_FRAMES, key=lambda numbered: numbered[0])
    stop = bisect_left(frames, number + MAX_FRAMES + 1, key=lambda numbered: numbered[0])
    for _, other in sorted(frames[start:stop], key=lambda numbered: abs(numbered[0] - number)):
        if (int(other.hash) ^ int(frame.hash)).bit_count() <= MAX_BITS:
            return other
    return None


def _warn(
    split: str,
    evaluation: str,
    frames: Sequence[tuple[str, str]],
    num_images: int,
    labelled: Sequence[str],
    alike: set[tuple[str, str]],
) -> Finding:
    pairs = [*frames, *sorted(alike.difference(frames))]
    one, other = frames[0]
    finding = (
        f"{evaluation}: {len(frames):,} of {num_images:,} images are neighbours in time of an image of "
        f"{split}, as {other} of {one}"
    )
    if is_unlabelled(split):
        remedy = (
            f"Take the sequences of {evaluation} out of the unlabelled images: the student is shown them."
        )
        return Finding("warning", finding, remedy)
    remedy = f"Frames of one sequence belong on one side: scores on {evaluation} are too good. "
    proposal = propose(labelled, pairs)
    if proposal is None:
        return Finding("warning", finding, remedy + "Divide the images by sequence.")
    sizes = proposal.group_sizes
    return Finding(
        "warning",
        finding,
        f"{remedy}With all labelled images in one split: --config.data.split=0.7,0.1,0.2 "
        f"--config.data.group_by={shlex.quote(proposal.pattern)} ({len(sizes):,} groups of {sizes[-1]:,} to "
        f"{sizes[0]:,} images; {proposal.num_kept:,} of {len(pairs):,} neighbours stay together)",
    )


def _names_by_id(scan: SplitScan) -> dict[str, str]:
    source = scan.source
    return {image_id: image_name(source, index) for index, image_id in enumerate(source.image_ids)}


def _frame(image: ImageScan, names: Mapping[str, str]) -> Frame:
    return Frame(names[image.image_id], image.hash)
