"""A run's look at its image files before the teacher is trained; call `check_images`."""

import contextlib
import os
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.build.set_apart import Sources
from selftrain_jax.data.batch_timeout import Reading, with_timeout
from selftrain_jax.data.source import Source
from selftrain_jax.doctor.duplicates import TRAIN, UNLABELLED
from selftrain_jax.doctor.verdicts import judge_unreadable, refuse
from selftrain_jax.errors import InputError
from selftrain_jax.html.blocks import Finding
from selftrain_jax.html.galleries import spread
from selftrain_jax.tasks.config_values import measured_names
from selftrain_jax.text import shorten_list
from selftrain_jax.threads import thread_pool

LISTED = 5  # messages about images
PART = 64  # images that a thread looks at before it tells what it found
MAX_DECODED = 500  # images of a split, spread evenly; the doctor decodes all


def check_images(config: ConfigDict, sources: Sources) -> None:
    """Refuse images that would end the run hours later, when it trains, labels or evaluates.

    Of every file the header and the end are read, and a file whose end looks cut off is decoded; of each
    split up to `MAX_DECODED` images are decoded, with their labels. Built-in data and TFDS have no image
    files: their images are read only when they are used. Host 0 does this; the others wait.

    Raises:
        InputError: more images of train, or unlabelled ones, than config.data.max_bad_images cannot be read,
            or any of val and test.
        RunAgainError: reading took longer than config.data.max_stall_secs.
    """
    val, test = measured_names(config)
    splits = {val: sources.val, test: sources.test, TRAIN: sources.human}
    if sources.unlabeled is not None:
        splits[UNLABELLED] = sources.unlabeled

    def judge_all() -> None:
        files = {name: source for name, source in splits.items() if source.check_file is not None}
        limits = config.data.max_bad_images, float(config.data.max_stall_secs)
        refuse([_judge(name, source, *limits) for name, source in files.items()])

    hosts.run_on_host0(judge_all)


def find_unreadable(source: Source, decoded: Sequence[int], max_stall_secs: float = 600.0) -> dict[int, str]:
    """Return why images cannot be read, by index: as far as their files show, and of `decoded` for sure.

    Raises:
        RunAgainError: reading some images took longer than `max_stall_secs`.
    """
    assert source.check_file is not None, f"{source.name} has no files"
    bad = _collect_errors(source.check_file, source, range(len(source)), max_stall_secs)
    left = [index for index in decoded if index not in bad]
    return bad | _collect_errors(source.read, source, left, max_stall_secs)


def _judge(split: str, source: Source, max_bad_images: int, max_stall_secs: float) -> Finding:
    """Say what could not be read of a split, and log what was looked at where that is not all."""
    decoded = spread(len(source), MAX_DECODED)
    bad = find_unreadable(source, decoded, max_stall_secs)
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


def _collect_errors(
    read: Callable[[int], object], source: Source, indices: Sequence[int], max_stall_secs: float
) -> dict[int, str]:
    """Call `read` on all cores; return what it raised, by index. Ends if that takes too long."""
    reading = Reading()

    def collect(part: Sequence[int]) -> dict[int, str]:
        errors = {}
        for index in part:
            try:
                with reading.note(source.image_ids[index]):
                    read(index)
            except InputError as error:
                errors[index] = str(error)
        return errors

    parts = [indices[first : first + PART] for first in range(0, len(indices), PART)]
    with thread_pool(os.cpu_count() or 1) as pool:
        found = (errors for errors in pool.map(collect, parts))
        with contextlib.closing(with_timeout(max_stall_secs, found, reading.describe)) as stream:
            return {index: error for errors in stream for index, error in errors.items()}
