"""Arrays of a weight file put into a network's variables, nothing unnoticed; call `import_variables`."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.name_map import NameMap, file_shape, from_file
from selftrain_jax.types import Variables

NUM_SHOWN = 5


class MisShaped(NamedTuple):
    """An array of another shape than the network's, both in the file's layout."""

    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {list(self.found)} instead of {list(self.expected)}"


class ImportReport(NamedTuple):
    """What became of every array of the file and of every variable of the network."""

    imported: tuple[str, ...]  # names in the file
    missing: tuple[str, ...]  # variables that the file does not fill, with the name they have there
    unexpected: tuple[str, ...]  # names in the file that no variable has
    mis_shaped: tuple[MisShaped, ...]
    ignored: tuple[str, ...]  # names in the file that the caller has no use for
    kept: tuple[str, ...]  # variables that the caller lets keep their value


def import_variables(
    template: Variables,
    arrays: Mapping[str, np.ndarray],
    names: NameMap,
    *,
    ignore: Sequence[str] = (),
    allow_missing: Sequence[str] = (),
    source: str = "The weight file",
) -> tuple[Variables, ImportReport]:
    """Return the template with the file's arrays as its leaves, and what became of each.

    `arrays` may read lazily: each array that has a slot is asked for once, the others never.
    `template` holds arrays or their shapes. Patterns are globs whose * also crosses a slash: `ignore`
    is of names in the file, `allow_missing` of variables (`params/fpn/*`), which keep their leaf.

    Raises:
        InputError: something else is missing, unexpected or of another shape; nothing is imported then.
    """
    leaves = leaves_by_name(template)
    slots = {name: slot for name, slot in names.items() if str(slot) in leaves}
    ignored = {name for name in arrays if matches(name, ignore)}
    found = slots.keys() & (set(arrays) - ignored)
    filled, mis_shaped = read_arrays(arrays, {name: slots[name] for name in sorted(found)}, leaves)
    absent = leaves.keys() - {str(slots[name]) for name in found}
    kept = {variable for variable in absent if matches(variable, allow_missing)}
    names_in_file = {str(slot): name for name, slot in slots.items()}
    report = ImportReport(
        imported=tuple(sorted(found - {entry.name for entry in mis_shaped})),
        missing=tuple(f"{v} ({names_in_file.get(v, 'of no name')})" for v in sorted(absent - kept)),
        unexpected=tuple(sorted(set(arrays) - ignored - slots.keys())),
        mis_shaped=tuple(mis_shaped),
        ignored=tuple(sorted(ignored)),
        kept=tuple(sorted(kept)),
    )
    refuse(report, source)
    variables = jax.tree_util.tree_map_with_path(lambda path, x: filled.get(name_of(path), x), template)
    return variables, report


def refuse(report: ImportReport, source: str) -> None:
    """Raise unless every array found its variable and every variable its array.

    Raises:
        InputError: one did not.
    """
    if report.missing or report.unexpected or report.mis_shaped:
        raise InputError(
            f"{source} does not fit the network:\n{format_report(report)}\n"
            "Choose the network that the file was made for, or name what may be missing or ignored."
        )


def read_arrays(
    arrays: Mapping[str, np.ndarray], slots: NameMap, leaves: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], list[MisShaped]]:
    """Read the arrays of `slots` one by one into our layout and dtype; set aside those of other shapes."""
    filled, mis_shaped = {}, []
    for name, slot in slots.items():
        leaf, array = leaves[str(slot)], arrays[name]
        assert str(slot) not in filled, f"two names lead to {slot}"
        if array.shape == (expected := file_shape(leaf.shape, slot.transform)):
            filled[str(slot)] = np.asarray(from_file(array, slot.transform), leaf.dtype)
        else:
            mis_shaped.append(MisShaped(name, array.shape, expected))
    return filled, mis_shaped


def file_shapes(template: Variables, names: NameMap) -> dict[str, tuple[int, ...]]:
    """Return the shape in the file of each name; the template has all their slots."""
    leaves = leaves_by_name(template)
    astray = [f"{name} to {slot}" for name, slot in names.items() if str(slot) not in leaves]
    assert not astray, f"{len(astray)} names lead to no variable{listing(astray)}"
    return {name: file_shape(leaves[str(slot)].shape, slot.transform) for name, slot in names.items()}


def format_report(report: ImportReport) -> str:
    """Write the count of each kind and its first names."""
    return "\n".join(
        f"{len(entries)} {kind.replace('_', '-')}{listing(entries)}"
        for kind, entries in report._asdict().items()
        if entries or kind == "imported"
    )


def listing(entries: Sequence[object]) -> str:
    """Return ": a, b, ..." with at most the first five."""
    shown = ", ".join(str(entry) for entry in entries[:NUM_SHOWN])
    return f": {shown}, ..." if len(entries) > NUM_SHOWN else f": {shown}" if entries else ""


def leaves_by_name(variables: Variables) -> dict[str, Any]:
    """Return the leaves by name, `params/backbone/stem/kernel`."""
    return {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}


def name_of(path: Iterable[Any]) -> str:
    """Write a tree path as a `Slot` is written."""
    return "/".join(str(entry.key) for entry in path)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of the globs matches."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
