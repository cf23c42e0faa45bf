"""The chips, memory and speeds of TPU slices, from Google's documentation; call `find_slice("v5e:16x16")`."""

import math
import re
from typing import NamedTuple

from selftrain_jax.errors import InputError


class Chip(NamedTuple):
    """A chip of one generation; JAX has one device for each."""

    hbm_gib: float
    bfloat16_tflops: float  # per second
    hbm_gb_per_sec: float
    interconnect_gb_per_sec: float  # of all links together, in both directions
    num_dimensions: int  # of the network between chips


CHIPS = {
    "v4": Chip(32, 275, 1228, 300, 3),
    "v5e": Chip(16, 197, 819, 200, 2),
    "v5p": Chip(95, 459, 2765, 600, 3),
    "v6e": Chip(32, 918, 1640, 448, 2),
}

CHIPS_PER_HOST = 4  # in slices of more than 8 chips


class Slice(NamedTuple):
    """A group of connected chips."""

    name: str
    chip: Chip
    num_chips: int

    def host_part(self) -> "Slice":
        """Return the part of one host, which is the whole slice if there is one host."""
        if self.num_chips <= CHIPS_PER_HOST:
            return self
        sides = "2x2" if self.chip.num_dimensions == 2 else "2x2x1"
        return self._replace(name=f"{self.name.partition(':')[0]}:{sides}", num_chips=CHIPS_PER_HOST)


def find_slice(name: str) -> Slice:
    """Parse GENERATION:SIDES, as "v5e:16x16".

    Raises:
        InputError: the generation is unknown, or the sides are not numbers, one for each of its dimensions.
    """
    generation, _, sides = name.partition(":")
    chip = CHIPS.get(generation)
    parts = sides.split("x")
    if chip is None or not all(re.fullmatch("[1-9][0-9]{0,4}", part) for part in parts):
        raise InputError(
            f"--topology={name[:99]!r}: expected GENERATION:SIDES, as v5e:16x16 or v4:4x4x8; generations are "
            f"{', '.join(CHIPS)}"
        )
    if len(parts) != chip.num_dimensions:
        raise InputError(f"--topology={name}: {generation} has {chip.num_dimensions} sides, got {len(parts)}")
    return Slice(name, chip, math.prod(map(int, parts)))
