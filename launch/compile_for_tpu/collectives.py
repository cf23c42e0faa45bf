"""How many bytes a compiled step sends between devices, read from its HLO text. Call `count_collectives`."""

import math
import re
from collections import Counter

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64}  # s8, u32, f8e4m3 and so on say theirs
SCALAR = 4  # bytes of what only steers an asynchronous one
_OPERATION = re.compile(
    r"^\s*(?:ROOT )?%?\S+ = (?P<shape>.*?) (?P<kind>" + "|".join(KINDS) + r")(?P<start>-start)?\(",
    re.MULTILINE,
)
_ARRAY = re.compile(r"(?P<type>[a-z]+\d*[a-z0-9]*)\[(?P<sides>[\d,]*)\]")


def count_collectives(hlo: str) -> dict[str, int]:
    """Add up the bytes of the results of each kind of collective, on one device, once through the program.

    Of an asynchronous one (`-start`) other than all-reduce the shape lists operands, then results: the larger
    half counts. Loops count once: the step's networks have none around a collective.
    """
    totals: Counter[str] = Counter()
    for match in _OPERATION.finditer(hlo):
        sizes = [size for array in _ARRAY.finditer(match["shape"]) if (size := _num_bytes(array)) > SCALAR]
        if match["start"] and match["kind"] != "all-reduce":
            half = len(sizes) // 2
            totals[match["kind"]] += max(sum(sizes[:half]), sum(sizes[half:]))
        else:
            totals[match["kind"]] += sum(sizes)
    return dict(totals)


def _num_bytes(array: re.Match[str]) -> int:
    name = array["type"]
    digits = re.search(r"\d+", name)
    bits = BITS.get(name) or (int(digits[0]) if digits else 0)
    return math.prod(int(side) for side in array["sides"].split(",") if side) * bits // 8
