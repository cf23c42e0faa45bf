"""What a TPU slice has: chips, memory, speeds, as Google's documentation of each generation says.

`find_slice("v5e:16x16")` gives the numbers that a compiled step is held against.
"""

import math
import re
from typing import NamedTuple

from selftrain_jax.errors import InputError


class Chip(NamedTuple):
    """A generation's chip; every device that JAX sees is one."""

    hbm_gib: float
    bfloat16_tflops: float  # a second
    hbm_gb_per_sec: float
    interconnect_gb_per_sec: float  # of all links together, both ways
    num_dimensions: int  # of the network that joins the chips


CHIPS = {
    "v4": Chip(32, 275, 1228, 300, 3),
    "v5e": Chip(16, 197, 819, 200, 2),
    "v5p": Chip(95, 459, 2765, 600, 3),
    "v6e": Chip(32, 918, 1640, 448, 2),
}


CHIPS_OF_A_HOST = 4  # of every slice of more than 8 chips


class Slice(NamedTuple):
    """Chips that are rented together."""

    name: str
    chip: Chip
    num_chips: int

    def of_a_host(self) -> "Slice":
        """Give the part that one host of many has; a slice of a single host is that host's."""
        if self.num_chips <= CHIPS_OF_A_HOST:
            return self
        sides = "2x2" if self.chip.num_dimensions == 2 else "2x2x1"
        return self._replace(name=f"{self.name.partition(':')[0]}:{sides}", num_chips=CHIPS_OF_A_HOST)


def find_slice(name: str) -> Slice:
    """Read "v5e:16x16".

    Raises:
        InputError: no such generation, or sides that are no numbers or not as many as it has dimensions.
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
