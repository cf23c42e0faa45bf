"""Check the keys of a JSON object one by one; `open_fields` begins, `to_json` goes the other way.

A file of an older form lacks keys, which then have defaults. A newer version may add keys, which are
ignored; where older versions would misread its files it raises `format_version`, and they are refused.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from selftrain_jax.errors import InputError
from selftrain_jax.io import show
from selftrain_jax.text import shorten_list

T = TypeVar("T")
Number = float | int
JsonObject = dict[str, Any]
"""An object as `json` reads it: what has not been checked yet, or what nothing relies on."""

FORMAT_VERSION = 1
"""The newest form that is read here. A file without `format_version` is of form 1."""

LARGEST_COUNT = 2**53  # integers up to here are the same in every JSON reader
REQUIRED: Any = object()


class Expected(NamedTuple):
    """A form of values, in code and in words."""

    is_right: Callable[[Any], bool]
    words: str


def is_number(value: Any) -> bool:
    """Tell whether it is a finite number."""
    return (
        abs(value) <= LARGEST_COUNT if type(value) is int else type(value) is float and math.isfinite(value)
    )


def list_of(entry: Expected, words: str) -> Expected:
    """Expect a list of such entries."""
    return Expected(lambda value: isinstance(value, list) and all(map(entry.is_right, value)), words)


def dict_of(entry: Expected, words: str) -> Expected:
    """Expect an object with such values."""
    return Expected(lambda value: isinstance(value, dict) and all(map(entry.is_right, value.values())), words)


def or_null(expected: Expected) -> Expected:
    """Expect the same, or null."""
    return Expected(lambda value: value is None or expected.is_right(value), f"{expected.words}, or null")


TEXT = Expected(lambda value: isinstance(value, str), "a text")
FLAG = Expected(lambda value: isinstance(value, bool), "true or false")
OBJECT = Expected(lambda value: isinstance(value, dict), "an object")
COUNT = Expected(
    lambda value: type(value) is int and 0 <= value <= LARGEST_COUNT,
    f"a whole number from 0 to {LARGEST_COUNT}",
)
INTEGER = Expected(lambda value: type(value) is int, "a whole number")
NUMBER = Expected(is_number, "a finite number")
DURATION = Expected(lambda value: is_number(value) and 0 <= value <= LARGEST_COUNT, "a number from 0")
FRACTION = Expected(lambda value: is_number(value) and 0 <= value <= 1, "a number of 0 to 1")
TEXTS = list_of(TEXT, "a list of texts")
TEXT_BY_NAME = dict_of(TEXT, "texts by name")
NUMBERS = list_of(NUMBER, "a list of numbers")
COUNT_BY_NAME = dict_of(COUNT, "whole numbers by name")
NUMBER_BY_NAME = dict_of(NUMBER, "numbers by name")
NUMBER_OR_NULL_BY_NAME = dict_of(or_null(NUMBER), "numbers or null by name")
CURVES = dict_of(list_of(or_null(FRACTION), ""), "lists of numbers of 0 to 1, or null, by name")


class Fields:
    """The keys of an object in a file; errors name the file, the key, the value and what was expected."""

    def __init__(self, values: JsonObject, path: Path, remedy: str, prefix: str = "") -> None:
        self.values = values
        self._path = path
        self._remedy = remedy
        self._prefix = prefix

    def get(self, key: str, expected: Expected, default: Any = REQUIRED) -> Any:
        """Return a value, or the default where the key is missing."""
        if key not in self.values and default is not REQUIRED:
            return default
        if key not in self.values:
            raise self.error(f"{self._prefix}{key} is missing; expected {expected.words}")
        if not expected.is_right(self.values[key]):
            raise self.wrong(key, expected.words)
        return self.values[key]

    def parse(self, key: str, parse: Callable[["Fields"], T]) -> T:
        """Parse an object."""
        return parse(self._inner(self.get(key, OBJECT), key))

    def parse_list(self, key: str, parse: Callable[["Fields"], T]) -> tuple[T, ...]:
        """Parse a list of objects."""
        entries = self.get(key, Expected(lambda value: isinstance(value, list), "a list of objects"))
        return tuple(parse(self._inner(entry, f"{key}[{index}]")) for index, entry in enumerate(entries))

    def parse_by_name(self, key: str, parse: Callable[["Fields"], T]) -> dict[str, T]:
        """Parse an object of objects."""
        entries = self.get(key, Expected(OBJECT.is_right, "objects by name"))
        return {name: parse(self._inner(entry, f"{key}[{show(name)}]")) for name, entry in entries.items()}

    def wrong(self, key: str, expected: str) -> InputError:
        """Return the error for a value of another form than expected."""
        return self.error(f"{self._prefix}{key} is {show(self.values[key])}; expected {expected}")

    def error(self, problem: str) -> InputError:
        """Return the error for a problem of this file."""
        return InputError(f"{self._path}: {problem}. {self._remedy}")

    def others(self, *known: str) -> JsonObject:
        """Return what is under other keys than these."""
        return {key: value for key, value in self.values.items() if key not in known}

    def _inner(self, value: Any, name: str) -> "Fields":
        if not isinstance(value, dict):
            raise self.error(f"{self._prefix}{name} is {show(value)}; expected an object")
        return Fields(value, self._path, self._remedy, f"{self._prefix}{name}.")


def open_fields(value: Any, path: Path, remedy: str) -> Fields:
    """Begin to read a file's document; errors end with `remedy`.

    Raises:
        InputError: it is no object, or of a newer form; then the message says what wrote it.
    """
    if not isinstance(value, dict):
        raise InputError(f"{path}: it holds {show(value)}; expected an object. {remedy}")
    fields = Fields(value, path, remedy)
    form = fields.get("format_version", COUNT, FORMAT_VERSION)
    if form > FORMAT_VERSION:
        versions = value.get("versions")
        found = versions.items() if isinstance(versions, dict) else ()
        packages = [f"{name:.40} {version!s:.40}" for name, version in found]
        raise InputError(
            f"{path}: its format_version is {form}; this version of selftrain_jax reads forms up to "
            f"{FORMAT_VERSION}. It was written with {shorten_list(packages, 9) or 'unknown versions'}. "
            "Use the selftrain_jax that wrote it or a newer one, or choose another --workdir."
        )
    return fields


def to_json(value: Any) -> Any:
    """Turn dataclasses into objects and tuples into lists; a field that has its default is left out."""
    if dataclasses.is_dataclass(value):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {field.name: to_json(own) for field, own in fields if own != field.default}
    if isinstance(value, Mapping):
        return {name: to_json(entry) for name, entry in value.items()}
    return [to_json(entry) for entry in value] if isinstance(value, list | tuple) else value
