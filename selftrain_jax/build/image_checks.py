"""A run's look at its image files before the teacher is trained; call `check_images`."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.data import Sources
from selftrain_jax.data.source import Source
from selftrain_jax.doctor.duplicates import TRAIN, UNLABELLED
from selftrain_jax.doctor.verdicts import judge_unreadable, refuse
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.html.galleries import spread
from selftrain_jax.text import shorten_list

LISTED = 5  # messages about images
MAX_DECODED = 500  # images of a split, spread evenly; the doctor decodes all


def check_images(config: ConfigDict, sources: Sources) -> None:
    """Refuse images that would end the run hours later, when it trains, labels or evaluates.

    Of every file the header and the end are read, and a file whose end looks cut off is decoded; of each
    split up to `MAX_DECODED` images are decoded, with their labels. Built-in data and TFDS have no image
    files: their images are read only when they are used. Host 0 does this; the others wait.

    Raises:
        InputError: more images of train, or unlabelled ones, than config.data.max_bad_images cannot be read,
            or any of val and test.
    """
    splits = {config.data.val: sources.val, config.data.test: sources.test, TRAIN: sources.human}
    if sources.unlabeled is not None:
        splits[UNLABELLED] = sources.unlabeled

    def judge_all() -> None:
        files = {name: source for name, source in splits.items() if source.check_file is not None}
        limit = config.data.max_bad_images
        refuse([_judge(name, source, limit) for name, source in files.items()])

    hosts.run_on_host0(judge_all)


def find_unreadable(source: Source, decoded: Sequence[int]) -> dict[int, str]:
    """Return why images cannot be read, by index: as far as their files show, and of `decoded` for sure."""
    assert source.check_file is not None, f"{source.name} has no files"
    bad = _collect_errors(source.check_file, range(len(source)))
    return bad | _collect_errors(source.read, [index for index in decoded if index not in bad])


def _judge(split: str, source: Source, max_bad_images: int) -> Finding:
    """Say what could not be read of a split, and log what was looked at where that is not all."""
    decoded = spread(len(source), MAX_DECODED)
    bad = find_unreadable(source, decoded)
    if len(decoded) < len(source):
        hosts.log(
            f"{split}: looked at the files of {len(source):,} images and decoded {len(decoded):,}; the "
            "others are decoded when they are used (--job=doctor decodes all)"
        )
    if not bad:
        return Finding("ok", "", "")
    finding = judge_unreadable(split, len(bad), len(source), max_bad_images)
    if finding.level != "error":
        hosts.log(f"warning: {finding.finding}: {shorten_list([*bad.values()], 1)}")
    first = "".join(f"\n  {message}" for message in [*bad.values()][:LISTED])
    return finding._replace(remedy=f"{finding.remedy} The first:{first}")


def _collect_errors(read: Callable[[int], object], indices: Sequence[int]) -> dict[int, str]:
    """Call `read` on all cores; return what it raised, by index."""

    def collect(part: Sequence[int]) -> dict[int, str]:
        errors = {}
        for index in part:
            try:
                read(index)
            except InputError as error:
                errors[index] = str(error)
        return errors

    num_threads = os.cpu_count() or 1
    with ThreadPoolExecutor(num_threads) as pool:
        parts = pool.map(collect, [indices[first::num_threads] for first in range(num_threads)])
    return {index: error for part in parts for index, error in sorted(part.items())}
