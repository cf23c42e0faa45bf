"""search.json: a grid of config values, what each reached on val, and what the chosen one reached on test."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from selftrain_jax.run_files.fields import (
    Count,
    Document,
    Expected,
    FiniteNumber,
    JsonObject,
    Number,
    Text,
    is_number,
    open_document,
    to_json,
)

SEARCH_FILE = "search.json"
FORMAT = 1
REMEDY = "Delete it and run --job=search again; finished variants are kept."


def _is_grid_value(value: Any) -> bool:
    return isinstance(value, str | bool) or is_number(value)


GridValue = Annotated[
    Number | str | bool, Expected("a number, a text, true or false", lambda value: _is_grid_value(value))
]
Values = Mapping[Text, GridValue]
"""Config values by dotted key."""


@dataclass(frozen=True, kw_only=True)
class SearchPoint:
    """One point of the grid with one seed. The score is a fraction of 1, and -1 where it is undefined."""

    values: Values
    seed: Count
    variant: Text  # its name, as under variants/
    val: Annotated[FiniteNumber | None, Field(default=None)]  # the student's; None: not measured yet


@dataclass(frozen=True, kw_only=True)
class SearchTest:
    """What the chosen point reached on test with one seed; None where a stage was not trained."""

    seed: Count
    variant: Text
    teacher: Annotated[FiniteNumber | None, Field(default=None)]
    control: Annotated[FiniteNumber | None, Field(default=None)]
    student: Annotated[FiniteNumber | None, Field(default=None)]


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search, finished or not: points come one by one, `chosen` after the last, `test` after that."""

    format: Annotated[Count, Field(default=FORMAT)]
    metric: Text  # key of the headline metric in an evaluation
    grid: Mapping[Text, tuple[GridValue, ...]]
    seeds: tuple[Count, ...]  # none: the config's own seed alone
    points: Annotated[tuple[SearchPoint, ...], Field(default=())]
    chosen: Annotated[Values | None, Field(default=None)]
    test: Annotated[tuple[SearchTest, ...] | None, Field(default=None)]

    @classmethod
    def start(
        cls, metric: str, grid: Mapping[str, tuple[Number | str | bool, ...]], seeds: tuple[int, ...] = ()
    ) -> "Search":
        """Make a search of which nothing has run."""
        return cls(format=FORMAT, metric=metric, grid=grid, seeds=seeds, points=(), chosen=None, test=None)

    def combinations(self) -> list[dict[str, Any]]:
        """Give every point of the grid, the last key's values changing fastest."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        ]

    def with_point(self, point: SearchPoint) -> "Search":
        """Add a point, or replace the one of the same values and seed."""
        others = (own for own in self.points if (own.values, own.seed) != (point.values, point.seed))
        return replace(self, points=(*others, point))

    def vals(self, values: Mapping[str, Any]) -> tuple[Number, ...]:
        """Give what a point of the grid reached on val, a number for each seed that has been measured."""
        measured = [own for own in self.points if own.values == values and own.val is not None]
        return tuple(own.val for own in measured if own.val is not None and own.val >= 0)

    def best(self) -> dict[str, Any] | None:
        """Name the point with the highest mean over seeds on val, of equals the first; None without any."""
        measured = [dict(own.values) for own in self.points if self.vals(own.values)]
        ordered = sorted(
            measured, key=lambda values: [own.index(values[key]) for key, own in self.grid.items()]
        )
        return max(ordered, key=lambda values: fmean(self.vals(values)), default=None)

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Tell whether it is a point of the grid."""
        return values.keys() == self.grid.keys() and all(values[key] in own for key, own in self.grid.items())

    @classmethod
    def from_json(cls, value: Any, path: Path) -> "Search":
        """Check a file. Raises: InputError, as `Document.read`, and where a point is not in the grid."""
        document = open_document(value, path, REMEDY)
        found = document.read(cls)
        if found.format != FORMAT:
            raise document.wrong("format", found.format, f"{FORMAT}, the form that this version reads")
        _check_grid(document, found)
        return found

    def to_json(self) -> JsonObject:
        """Return the object for the file, keys in the order of the file."""
        return to_json(self)


def _check_grid(document: Document, search: Search) -> None:
    """Refuse what has no place in the grid. Raises: InputError."""
    for key, values in search.grid.items():
        if not values or len(set(values)) < len(values):
            raise document.wrong(f"grid[{key!r:.60}]", list(values), "values, none of them twice")
    if not search.grid:
        raise document.wrong("grid", {}, "at least one key with its values")
    for index, point in enumerate(search.points):
        if not search.contains(point.values):
            raise document.wrong(f"points[{index}].values", dict(point.values), "a point of the grid")
        if search.seeds and point.seed not in search.seeds:
            raise document.wrong(f"points[{index}].seed", point.seed, f"one of {list(search.seeds)}")
    if len({(*sorted(own.values.items()), own.seed) for own in search.points}) < len(search.points):
        raise document.error("two points have the same values and seed")
    if search.chosen is not None and not search.contains(search.chosen):
        raise document.wrong("chosen", dict(search.chosen), "a point of the grid")
