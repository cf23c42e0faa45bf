"""Keep images that are measured on out of training: the gold set, and exact copies; call `set_apart`."""

import functools
import pathlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.splits import Parts
from selftrain_jax.data.contents import Content, find_copies, read_contents
from selftrain_jax.data.gold import GoldImage, read_gold
from selftrain_jax.data.named_sources import join_sources
from selftrain_jax.data.source import Source, concatenated, subset, without_labels
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list


@dataclass(frozen=True)
class Sources:
    """Who reads what.

    `unlabeled` is None in a supervised run; of several sources it has the images of all, and their ids say of
    which one they are. `unlabeled_truth` has the labels that the teacher is not shown, if there are any: of
    the sources that have such.
    """

    human: Source
    unlabeled: Source | None
    unlabeled_truth: Source | None
    val: Source
    test: Source
    data_sets: Mapping[str, str] = field(default_factory=dict)  # of unlabelled images, by source


class Apart(NamedTuple):
    """The images of a run, none of them on two sides."""

    human: Source
    unlabeled: dict[str, Source]  # by the name of the source; with their labels, if any
    val: Source
    test: Source


def set_apart(config: ConfigDict, parts: Parts, human: Source, unlabeled: Mapping[str, Source]) -> Sources:
    """Return what a run reads: as `take_apart`, with the sources of unlabelled images as one.

    Raises:
        InputError: as `take_apart`, or ids of two sources cannot be told apart.
    """
    apart = take_apart(config, parts, human, unlabeled)
    labelled = {
        name: source for name, source in apart.unlabeled.items() if source.categories == human.categories
    }
    return Sources(
        human=apart.human,
        unlabeled=join_unlabelled(apart.unlabeled),
        unlabeled_truth=join_sources(labelled) if labelled else None,
        val=apart.val,
        test=apart.test,
        data_sets={name: source.name for name, source in apart.unlabeled.items()},
    )


def join_unlabelled(sources: Mapping[str, Source]) -> Source | None:
    """Join sources of unlabelled images, without their labels; None where there are none.

    Raises:
        InputError: ids of two sources cannot be told apart.
    """
    images = {name: without_labels(source) for name, source in sources.items()}
    return join_sources(images) if images else None


def take_apart(config: ConfigDict, parts: Parts, human: Source, unlabeled: Mapping[str, Source]) -> Apart:
    """Separate `human` of parts.train, the sources of unlabelled images, val and test.

    With config.data.gold the gold set is the test split, and none of its images is trained on, labelled or
    in val. With config.data.drop_leaks nothing of val and test is trained on or labelled. Both go by the
    content of the files, and what is left out is counted in the log. `unlabeled` has its labels, if any.

    Raises:
        InputError: the gold set is not whole, or nothing is left of a part or of a source.
    """
    val, test, path, left = parts.val, parts.test, config.data.gold, dict(unlabeled)
    if path:
        gold = read_gold(pathlib.Path(path))
        contents = {image.content for image in gold}
        test = gold_source(path, gold, [source for source in parts if source is not None])
        human, num_human = leave_out(human, contents)
        val, num_val = leave_out(val, contents)
        left, num_unlabeled = _leave_out_of_all(left, contents)
        hosts.log(
            f"data.gold={path}: {len(test):,} images are the test split; left out: {num_human:,} of train, "
            f"{num_val:,} of val, {_describe(num_unlabeled)}"
        )
    assert test is not None
    if config.data.drop_leaks:
        measured = {content for source in (val, test) for content in read_contents(source) if content}
        human, num_human = leave_out(human, measured)
        left, num_unlabeled = _leave_out_of_all(left, measured)
        hosts.log(
            f"data.drop_leaks=True: left out as copies of val or test: {num_human:,} of train, "
            f"{_describe(num_unlabeled)}"
        )
    return Apart(human, left, val, test)


def without_gold(config: ConfigDict, source: Source) -> Source:
    """Leave a gold set's images out of further images to train on. Raises: InputError, none is left."""
    if not config.data.gold:
        return source
    kept, count = leave_out(source, {image.content for image in read_gold(pathlib.Path(config.data.gold))})
    hosts.log(f"data.gold={config.data.gold}: {count:,} images of {source.name} are left out")
    return kept


def gold_source(path: str, gold: Sequence[GoldImage], labelled: Sequence[Source]) -> Source:
    """Find the images of a gold set, with their labels, among labelled ones, by content.

    Raises:
        InputError: some are not there: a score on the others would be of another set.
    """
    left = {image.content: image.name for image in gold}
    found: list[Source] = []
    for source in dict.fromkeys(labelled):
        copies = find_copies(source, left)
        first = {content: index for index, content in reversed(copies.items())}
        if first:
            found.append(subset(source, sorted(first.values()), f"gold set {path}"))
            left = {content: name for content, name in left.items() if content not in first}
    if left:
        names = ", ".join(source.name for source in dict.fromkeys(labelled))
        raise InputError(
            f"config.data.gold={path}: {len(left)} of its {len(gold)} images are not in {names}: "
            f"{shorten_list([*left.values()])}. Their files have changed or gone; restore them, as a score "
            "on the others would be of another set."
        )
    return functools.reduce(lambda one, other: concatenated(one, other, one.name), found)


def leave_out(source: Source, contents: Collection[Content]) -> tuple[Source, int]:
    """Leave images of these contents out of a source; return how many they are, too.

    Raises:
        InputError: none is left.
    """
    copies = find_copies(source, contents)
    indices = [index for index in range(len(source)) if index not in copies]
    if not indices:
        raise InputError(
            f"all {len(source)} images of {source.name} are images that are measured on, so that nothing is "
            "left of it (config.data.gold, config.data.drop_leaks); name other images"
        )
    return subset(source, indices, source.name) if copies else source, len(copies)


def _leave_out_of_all(
    sources: Mapping[str, Source], contents: Collection[Content]
) -> tuple[dict[str, Source], dict[str, int]]:
    """Leave images of these contents out of each source; return how many they are of each, too."""
    left = {name: leave_out(source, contents) for name, source in sources.items()}
    return {name: kept for name, (kept, _) in left.items()}, {name: num for name, (_, num) in left.items()}


def _describe(counts: Mapping[str, int]) -> str:
    """Say how many unlabelled images were left out, of several sources of each."""
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{sum(counts.values()):,} unlabelled" + (f" ({listed})" if len(counts) > 1 else "")
