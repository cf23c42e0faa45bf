"""Which of our classes a foreign class is: `classes.csv` with the columns foreign, ours and merge.

Call `read_class_map`, then `resolve_classes` on what a file of predictions names; `foreign` is a name or an
id of the other model, an empty `ours` drops the class. Classes that become one say `merge`, each of them.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from selftrain_jax.data.problems import nearest_names
from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Category

HEADER = ("foreign", "ours", "merge")
MERGE = "merge"
MAX_LISTED = 10
KEY = "config.foreign.map"


class MapRow(NamedTuple):
    """A line of the file."""

    line: int
    foreign: str
    class_id: int | None  # Category.id; None: dropped
    is_merged: bool


class Resolved(NamedTuple):
    """The classes of one file of predictions."""

    class_ids: Mapping[str, int]  # by the file's own label: an id as text, or a name
    can_find: frozenset[int]  # classes of ours that the model knows, found or not
    dropped: frozenset[str]  # labels that the map drops
    unknown: frozenset[str]  # labels that neither the map nor a name says anything of
    unused: tuple[str, ...]  # what the map names and the file does not


def read_class_map(path: Path, categories: Sequence[Category]) -> tuple[MapRow, ...]:
    """Read a class map.

    Raises:
        InputError: the file is missing, no text or empty, a line is malformed, a class is not ours, or
            two classes become one without saying so.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} ({KEY}) cannot be read ({error}); expected a CSV file in UTF-8") from None
    ids = {name: class_id for class_id, name in categories}
    rows = [
        _read_row(path, number, [cell.strip() for cell in cells], ids)
        for number, cells in enumerate(lines, start=1)
        if any(cell.strip() for cell in cells) and not _is_header(number, cells)
    ]
    if not rows:
        raise InputError(f"{path} ({KEY}) has no line; expected lines such as `person,person` or `1,person`")
    _check_repeated(path, rows)
    _check_merged(path, rows, {class_id: name for class_id, name in categories})
    return tuple(rows)


def _is_header(number: int, cells: Sequence[str]) -> bool:
    names = tuple(cell.strip().lower() for cell in cells)
    return number == 1 and names == HEADER[: len(names)]


def _read_row(path: Path, line: int, cells: Sequence[str], ids: Mapping[str, int]) -> MapRow:
    foreign, ours, merge = [*cells, "", ""][:3]
    if not 2 <= len(cells) <= 3 or not foreign or merge not in ("", MERGE):
        raise InputError(
            f"{path}:{line}: {','.join(cells)!r}; expected the foreign class (name or id), our class (empty: "
            f"dropped) and, for classes that become one, the word {MERGE}: `sofa,couch` or `van,car,{MERGE}`"
        )
    if ours and ours not in ids:
        raise InputError(
            f"{path}:{line}: {foreign!r} becomes {ours!r}, which is no class of this run; "
            f"{nearest_names(ours, list(ids))}"
        )
    return MapRow(line, foreign, ids[ours] if ours else None, bool(merge))


def _check_repeated(path: Path, rows: Sequence[MapRow]) -> None:
    counts = Counter(row.foreign for row in rows)
    if repeated := [repr(name) for name, count in counts.items() if count > 1]:
        raise InputError(f"{path}: {shorten_list(repeated)} has several lines; keep one for each class")


def _check_merged(path: Path, rows: Sequence[MapRow], names: Mapping[int, str]) -> None:
    """Refuse two foreign classes that become one of ours unless every one of their lines says so."""
    for class_id in dict.fromkeys(row.class_id for row in rows if row.class_id is not None):
        shared = [row for row in rows if row.class_id == class_id]
        silent = [row for row in shared if not row.is_merged]
        if len(shared) > 1 and silent:
            listed = shorten_list([f"{row.foreign!r} (line {row.line})" for row in shared])
            raise InputError(
                f"{path}: {listed} all become {names[class_id]!r}. If that is meant, write {MERGE} as the "
                f"third column of each of these lines: `{silent[0].foreign},{names[class_id]},{MERGE}`"
            )


def resolve_classes(
    rows: Sequence[MapRow] | None,
    labels: Collection[str],
    names: Mapping[str, str],
    categories: Sequence[Category],
    where: str,
) -> Resolved:
    """Find our class of each label of a file; `names` are those that the file gives to its labels.

    Without a map, classes are the same that have exactly the same name.

    Raises:
        InputError: there is neither a map nor a name, no label is one of our classes, or a line of the map
            means two labels.
    """
    if rows is None:
        return _resolve_by_name(labels, names, categories, where)
    known = {*labels, *names}
    by_label: dict[str, MapRow] = {}
    unused = []
    for row in rows:
        meant = {label for label, name in names.items() if name == row.foreign}
        meant |= {row.foreign} & known
        if len(meant) > 1:
            raise InputError(
                f"{where}: line {row.line} of {KEY} says {row.foreign!r}, which is the name of one class and "
                f"the id of another ({', '.join(sorted(meant))}); write the other's name or id instead"
            )
        if not meant:
            unused.append(row.foreign)
        for label in meant:
            if label in by_label:
                raise InputError(
                    f"{where}: lines {by_label[label].line} and {row.line} of {KEY} are the same class, by "
                    "name and by id; keep one"
                )
            by_label[label] = row
    found = {label: row.class_id for label, row in by_label.items()}
    kept = {label: class_id for label, class_id in found.items() if class_id is not None}
    resolved = Resolved(
        class_ids=kept,
        can_find=frozenset(row.class_id for row in rows if row.class_id is not None),
        dropped=frozenset(found) - frozenset(kept),
        unknown=frozenset(labels) - frozenset(found),
        unused=tuple(unused),
    )
    return _require_some(resolved, labels, names, categories, where)


def _resolve_by_name(
    labels: Collection[str], names: Mapping[str, str], categories: Sequence[Category], where: str
) -> Resolved:
    if labels and not names:
        raise InputError(
            f"{where} has ids of classes and no names: {shorten_list(sorted(labels), MAX_LISTED)}. Say which "
            f"they are by --{KEY}=classes.csv with lines such as `{min(labels)},{categories[0].name}`; this "
            f"run's classes are {shorten_list([name for _, name in categories], MAX_LISTED)}"
        )
    ids = {name: class_id for class_id, name in categories}
    kept = {label: ids[name] for label, name in names.items() if name in ids}
    unknown = frozenset(labels) - frozenset(kept)
    return _require_some(
        Resolved(kept, frozenset(kept.values()), frozenset(), unknown, ()), labels, names, categories, where
    )


def _require_some(
    resolved: Resolved,
    labels: Collection[str],
    names: Mapping[str, str],
    categories: Sequence[Category],
    where: str,
) -> Resolved:
    if labels and not set(labels) & set(resolved.class_ids):
        listed = shorten_list([format_label(label, names) for label in sorted(labels)], MAX_LISTED)
        raise InputError(
            f"{where}: none of its classes is one of this run's: it has {listed}; this run has "
            f"{shorten_list([name for _, name in categories], MAX_LISTED)}. Say which is which by "
            f"--{KEY}=classes.csv, lines of the foreign class and ours"
        )
    return resolved


def format_label(label: str, names: Mapping[str, str]) -> str:
    """Write a label with its name where the two differ: 17 'cat'."""
    name = names.get(label, label)
    return repr(label) if name == label else f"{label} {name!r}"


def describe_left_out(resolved: Resolved, counts: Counter[str], names: Mapping[str, str]) -> list[str]:
    """Say in a line each which classes are left out, by the map or unknown, and how much of each there is."""
    return [
        f"{what}: {shorten_list(_list_counted(labels, counts, names), 20)}"
        for what, labels in (
            ("classes that the map drops", resolved.dropped),
            ("classes that are none of ours, dropped", resolved.unknown),
        )
        if labels & set(counts)
    ] + (
        [f"classes of the map that the file does not have: {shorten_list(resolved.unused, 20)}"]
        if resolved.unused
        else []
    )


def _list_counted(labels: Iterable[str], counts: Counter[str], names: Mapping[str, str]) -> list[str]:
    present = sorted((label for label in labels if counts[label]), key=lambda label: -counts[label])
    return [f"{format_label(label, names)} ({counts[label]})" for label in present]
