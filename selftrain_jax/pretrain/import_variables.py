"""Puts the arrays of a weight file into a network's variables and accounts for each: `import_variables`.

A `NameMap` says for each name in the file which variable it is and how it is transposed.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.named_arrays import arrays_by_name
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Variables

Transform = Literal["none", "depthwise", "conv_torch", "dense_torch", "depthwise_torch"]


class Slot(NamedTuple):
    """The path of one array in our variables, and the transform from the file's layout to ours."""

    collection: Literal["params", "batch_stats"]
    path: tuple[str, ...]
    transform: Transform = "none"

    def __str__(self) -> str:
        return "/".join((self.collection, *self.path))


class LazyArrays(Mapping):  # of no named types, for which the tests' type checker would read an array
    """Arrays by name, each read when it is asked for; `read` raises KeyError for other names."""

    def __init__(self, names: Collection[str], read: Callable[[str], np.ndarray]) -> None:
        self._names, self._read = names, read

    def __getitem__(self, name: str) -> np.ndarray:
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # Mapping's own would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


NameMap = dict[str, Slot]
"""From a file's names to our slots."""

AXES: dict[Transform, tuple[int, ...]] = {
    "depthwise": (0, 1, 3, 2),  # TensorFlow's (k, k, C, 1) to (k, k, 1, C)
    "conv_torch": (2, 3, 1, 0),  # OIHW to HWIO
    "dense_torch": (1, 0),  # (out, in) to (in, out)
    "depthwise_torch": (2, 3, 1, 0),  # (C, 1, k, k) to (k, k, 1, C)
}
"""For each of our axes, the axis in the file."""


def from_file(array: np.ndarray, transform: Transform) -> np.ndarray:
    """Transpose an array from the file's layout to ours."""
    return array if transform == "none" else np.transpose(array, AXES[transform])


def file_shape(shape: tuple[int, ...], transform: Transform) -> tuple[int, ...]:
    """Return the shape in the file of an array with our `shape`."""
    return shape if transform == "none" else tuple(shape[axis] for axis in np.argsort(AXES[transform]))


class MisShaped(NamedTuple):
    """An array whose shape is not the network's; both shapes are in the file's layout."""

    name: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)} instead of {list(self.expected)}"


class ImportReport(NamedTuple):
    """What became of every array of the file and of every variable of the network."""

    imported: tuple[str, ...]  # names in the file
    missing: tuple[str, ...]  # variables that are not in the file, each with its name there
    unexpected: tuple[str, ...]  # names in the file that belong to no variable
    mis_shaped: tuple[MisShaped, ...]
    ignored: tuple[str, ...]  # names in the file that match `ignore`
    kept: tuple[str, ...]  # variables that are not in the file and match `allow_missing`


def import_variables(
    template: Variables,
    arrays: Mapping[str, np.ndarray],
    names: NameMap,
    *,
    ignore: Sequence[str] = (),
    allow_missing: Sequence[str] = (),
    source: str = "The weight file",
) -> tuple[Variables, ImportReport]:
    """Return the template with the file's arrays as its leaves, and a report.

    `arrays` may read lazily: each array that has a slot is read once, the others never. `template` has
    arrays or their shapes. Patterns are globs in which * also matches a slash: `ignore` is for names in the
    file, `allow_missing` for variables (`params/fpn/*`), which keep their leaf.

    Raises:
        InputError: anything else is missing, unexpected or of another shape, or a number is not finite.
    """
    leaves = arrays_by_name(template)
    slots = {name: slot for name, slot in names.items() if str(slot) in leaves}
    ignored = {name for name in arrays if matches(name, ignore)}
    common = slots.keys() & (set(arrays) - ignored)
    filled, mis_shaped = read_arrays(arrays, {name: slots[name] for name in sorted(common)}, leaves)
    absent = leaves.keys() - {str(slots[name]) for name in common}
    kept = {variable for variable in absent if matches(variable, allow_missing)}
    names_in_file = {str(slot): name for name, slot in slots.items()}
    report = ImportReport(
        imported=tuple(sorted(common - {entry.name for entry in mis_shaped})),
        missing=tuple(f"{v} ({names_in_file.get(v, 'of no name')})" for v in sorted(absent - kept)),
        unexpected=tuple(sorted(set(arrays) - ignored - slots.keys())),
        mis_shaped=tuple(mis_shaped),
        ignored=tuple(sorted(ignored)),
        kept=tuple(sorted(kept)),
    )
    if report.missing or report.unexpected or report.mis_shaped:
        raise InputError(
            f"{source} does not fit the network:\n{format_report(report)}\n"
            "Choose the network that the file was made for (config.import_weights.network and kind)."
        )
    bad = [name for name in sorted(common) if not np.isfinite(filled[str(slots[name])]).all()]
    if bad:
        raise InputError(
            f"{source}: {len(bad)} arrays hold numbers that are not finite{listing(bad)}. The training that "
            "made the file diverged, or the file is damaged; take another."
        )
    merged = [filled.get(name, leaf) for name, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(template), merged), report


def read_arrays(
    arrays: Mapping[str, np.ndarray], slots: NameMap, leaves: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], list[MisShaped]]:
    """Read the arrays of `slots` in our layout and dtype; list separately those of other shapes."""
    filled, mis_shaped = {}, []
    for name, slot in slots.items():
        leaf, array = leaves[str(slot)], arrays[name]
        assert str(slot) not in filled, f"two names belong to {slot}"
        if array.shape == (expected := file_shape(leaf.shape, slot.transform)):
            filled[str(slot)] = np.asarray(from_file(array, slot.transform), leaf.dtype)
        else:
            mis_shaped.append(MisShaped(name, array.shape, expected))
    return filled, mis_shaped


def file_shapes(template: Variables, names: NameMap) -> dict[str, tuple[int, ...]]:
    """Return the shape in the file for each name; the template must have all slots."""
    leaves = arrays_by_name(template)
    unknown = [f"{name} to {slot}" for name, slot in names.items() if str(slot) not in leaves]
    assert not unknown, f"{len(unknown)} names lead to no variable{listing(unknown)}"
    return {name: file_shape(leaves[str(slot)].shape, slot.transform) for name, slot in names.items()}


def format_report(report: ImportReport) -> str:
    """Format the count and the first names of each kind."""
    return "\n".join(
        f"{len(entries)} {kind.replace('_', '-')}{listing(entries)}"
        for kind, entries in report._asdict().items()
        if entries or kind == "imported"
    )


def listing(entries: Sequence[object]) -> str:
    """Return ": a, b and 3 more", or nothing for no entries."""
    return f": {shorten_list(entries)}" if entries else ""


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of the globs matches."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
