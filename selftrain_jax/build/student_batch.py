"""How many of the student's images of a step are pseudo-labelled; call `split_batch`."""

import math
from typing import NamedTuple

from ml_collections import ConfigDict

from selftrain_jax import hosts
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list

MAX_ROUNDING = 0.01  # images: 0.333 of 12 are 4


class BatchSplit(NamedTuple):
    """The images of a step from either source, of all devices together."""

    num_human: int
    num_pseudo: int


def split_batch(config: ConfigDict) -> BatchSplit:
    """Split the student's batch by config.student.pseudo_frac.

    Raises:
        InputError: that is not a whole number of images of each source which the hosts and the slices of
            config.optimizer.accumulation share evenly.
    """
    size, frac = config.student.batch_size, config.student.pseudo_frac
    fitting = [number for number in range(1, size) if _fits(number, size, config.optimizer.accumulation)]
    num_pseudo = round(size * frac) if math.isfinite(frac) else 0
    if num_pseudo in fitting and abs(size * frac - num_pseudo) <= MAX_ROUNDING:
        return BatchSplit(size - num_pseudo, num_pseudo)
    raise InputError(
        f"config.student.pseudo_frac={frac:g} of config.student.batch_size={size} is {size * frac:g} "
        f"pseudo-labelled images; expected {_describe_needs(config.optimizer.accumulation)}. "
        f"{_advise(fitting, size, frac)}"
    )


def _fits(num_pseudo: int, size: int, accumulation: int) -> bool:
    num_parts = math.lcm(hosts.count(), accumulation)
    return num_pseudo % num_parts == 0 and (size - num_pseudo) % num_parts == 0


def _describe_needs(accumulation: int) -> str:
    shares = [f"{hosts.count()} hosts"] if hosts.count() > 1 else []
    shares += [f"{accumulation} slices (config.optimizer.accumulation)"] if accumulation > 1 else []
    evenly = f", both shared evenly by {' and '.join(shares)}" if shares else ""
    return f"a whole number of them, at least one, beside at least one that is human-labelled{evenly}"


def _advise(fitting: list[int], size: int, frac: float) -> str:
    if not fitting:
        return "No share of this batch size fits: use a larger or even config.student.batch_size."
    nearest = sorted(fitting, key=lambda number: abs(number / size - frac) if math.isfinite(frac) else number)
    listed = [f"{number / size:.12g} ({number} of {size})" for number in sorted(nearest[:4])]
    return f"Use {shorten_list(listed, 4)}, or another batch size."
