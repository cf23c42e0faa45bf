"""The bytes that a compiled step sends between devices, from its HLO text; call `count_collectives`."""

import math
import re
from collections import Counter

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BITS = {
    "pred": 8,
    "bf16": 16,
    "f16": 16,
    "f32": 32,
    "f64": 64,
}  # in s8, u32, f8e4m3 and so on they are the number
CONTROL_BYTES = 4  # at most, of values that only control an asynchronous operation
_OPERATION = re.compile(
    r"^\s*(?:ROOT )?%?\S+ = (?P<shape>.*?) (?P<kind>" + "|".join(KINDS) + r")(?P<start>-start)?\(",
    re.MULTILINE,
)
_ARRAY = re.compile(r"(?P<type>[a-z]+\d*[a-z0-9]*)\[(?P<sides>[\d,]*)\]")


def count_collectives(hlo: str) -> dict[str, int]:
    """Add up the bytes of the results of each kind of collective, on one device.

    The shape of an asynchronous one (`-start`) other than all-reduce lists operands, then results; the larger
    half is counted. A loop is counted once: our networks have no loop around a collective.
    """
    totals: Counter[str] = Counter()
    for match in _OPERATION.finditer(hlo):
        sizes = [
            size for array in _ARRAY.finditer(match["shape"]) if (size := _num_bytes(array)) > CONTROL_BYTES
        ]
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
