"""`--job=gold`: draw images to measure on and nothing else; call `run_gold`."""

import pathlib
import shlex

import numpy as np
from ml_collections import ConfigDict

from selftrain_jax.build.splits import check_keys, labelled_part, train_part
from selftrain_jax.data.gold import check_new, write_gold
from selftrain_jax.data.groups import Groups, Indices, draw_groups, group_images
from selftrain_jax.data.source import Source
from selftrain_jax.errors import InputError
from selftrain_jax.tasks.lookup import get_task


def run_gold(config: ConfigDict) -> None:
    """Draw config.gold.count images of the labelled part by seed, by whole groups, into config.gold.file.

    The file holds what the images' files hold (SHA-256), so that every run that names it finds them under
    any name.

    Raises:
        InputError: the file exists, the count does not leave an image to train on, a gold set is in use, or
            the data set is missing or malformed.
    """
    data, settings = config.data, config.gold
    if not settings.file:
        raise InputError("--job=gold writes a file; name it, as --config.gold.file=gold.json")
    if data.gold:
        raise InputError(
            f"config.data.gold={data.gold} is a gold set already, and a run has one; leave the key out to "
            "draw another"
        )
    path = pathlib.Path(settings.file)
    check_new(path)
    if settings.count < 1:
        raise InputError(f"config.gold.count={settings.count}; expected how many images to draw, such as 50")
    check_keys(config)
    train = train_part(config, get_task(config.task).open_split(config, "data", data.train))
    human = labelled_part(config, train)
    if settings.count >= len(human):
        raise InputError(
            f"config.gold.count={settings.count}, but {human.name} has {len(human)} images; expected fewer, "
            "so that some are left to train on"
        )
    groups = group_images(human, data.group_by) if data.group_by else np.arange(len(human))
    drawn = draw_groups(groups, settings.count, seed=config.seed)
    facts = {
        "drawn_from": human.name,
        "num_labelled": len(human),
        "count": settings.count,
        "seed": config.seed,
        "group_by": data.group_by,
    }
    num_written = write_gold(path, human, drawn.tolist(), facts)
    print("\n".join(_describe(path, human, groups, drawn, num_written)), flush=True)


def _describe(
    path: pathlib.Path, human: Source, groups: Groups, drawn: Indices, num_written: int
) -> list[str]:
    num_groups, num_drawn = len(np.unique(groups)), len(np.unique(groups[drawn]))
    of_groups = f", {num_drawn:,} of {num_groups:,} groups" if num_groups < len(human) else ""
    copies = f" ({len(drawn) - num_written:,} of them copies)" if num_written < len(drawn) else ""
    return [
        f"gold set: {len(drawn):,} of {len(human):,} images{copies}{of_groups} of {human.name}, in {path}",
        f"name it in every command from now on: --config.data.gold={shlex.quote(str(path))}",
    ]
