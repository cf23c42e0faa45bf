"""Types of the values in a run's files, and `Document`, which reads a file as dataclasses of such types.

pydantic checks what is read; `to_json` goes the other way. A file of an older form lacks keys, which then
have defaults: `Field(default=...)` for what is written whatever it is, else a plain default. A newer version
may add keys, which are ignored; where older versions would misread its files it raises `format_version`, and
they are refused.
"""

import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

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
COUNT_WORDS = f"a whole number from 0 to {LARGEST_COUNT}"
MISSING: Any = object()


def is_number(value: Any) -> bool:
    """Tell whether it is a finite number."""
    return (
        abs(value) <= LARGEST_COUNT if type(value) is int else type(value) is float and math.isfinite(value)
    )


@dataclass(frozen=True)
class Expected:
    """What is expected of a value, in words for messages; `is_right` tells where pydantic's type does not."""

    words: str
    is_right: Callable[[Any], bool] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let any error inside the value be one error of the value, with these words."""
        plain = core_schema.no_info_plain_validator_function(self._check)
        schema = plain if self.is_right else handler(source)
        return core_schema.custom_error_schema(schema, "expected", custom_error_message=self.words)

    def _check(self, value: Any) -> Any:
        if self.is_right and not self.is_right(value):
            raise ValueError
        return value


Text = Annotated[str, Expected("a text", lambda value: isinstance(value, str))]  # with any code points
Object = Annotated[JsonObject, Expected("an object", lambda value: isinstance(value, dict))]
Flag = Annotated[bool, Field(strict=True), Expected("true or false")]
Integer = Annotated[int, Field(strict=True), Expected("a whole number")]
Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST_COUNT), Expected(COUNT_WORDS)]
FiniteNumber = Annotated[Number, Expected("a finite number", is_number)]
Duration = Annotated[
    Number, Expected("a number from 0", lambda value: is_number(value) and 0 <= value <= LARGEST_COUNT)
]
Fraction = Annotated[
    Number, Expected("a number of 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
]

AS_GIVEN = PlainValidator(lambda value: value)
"""Marks a field whose value `Document.read` is given among its `parts`, checked already."""

_adapter: Callable[[Any], TypeAdapter] = functools.cache(TypeAdapter)
_WORDS = {  # of pydantic's own errors
    **{"dataclass_type": "an object", "dict_type": "an object", "tuple_type": "a list"},
    "string_unicode": "keys of valid Unicode",
}


@dataclass(frozen=True)
class Document:
    """A file's object; errors name the file, the key, what was found and what was expected."""

    values: JsonObject
    path: Path
    remedy: str

    def read(self, form: type[T], **parts: Any) -> T:
        """Read the keys that are the fields of a dataclass.

        `parts` are fields that have no key of their own: what they hold is among the other keys.

        Raises:
            InputError: a key is missing or of another form than expected.
        """
        values = {**self.values, **parts}
        try:
            return _adapter(form).validate_python(values)
        except ValidationError:
            error = _first_error(form, copy.deepcopy(values))
        place = error["loc"]
        if place and place[0] in parts and place[0] not in self.values:
            place = place[1:]
        raise self.wrong(_join(place), error["input"], _WORDS.get(error["type"], error["msg"]))

    def wrong(self, key: str, found: Any, expected: str) -> InputError:
        """Return the error for a value of another form than expected."""
        return self.error(f"{key} is {'missing' if found is MISSING else show(found)}; expected {expected}")

    def error(self, problem: str) -> InputError:
        """Return the error for a problem of this file."""
        return InputError(f"{self.path}: {problem}. {self.remedy}")

    def others(self, *known: str) -> JsonObject:
        """Return what is under other keys than these."""
        return {key: value for key, value in self.values.items() if key not in known}


def open_document(value: Any, path: Path, remedy: str) -> Document:
    """Begin to read a file's document; errors end with `remedy`.

    Raises:
        InputError: it is no object, or of a newer form; then the message says what wrote it.
    """
    if not isinstance(value, dict):
        raise InputError(f"{path}: it holds {show(value)}; expected an object. {remedy}")
    document = Document(value, path, remedy)
    form = value.get("format_version", FORMAT_VERSION)
    if type(form) is not int or not 0 <= form <= LARGEST_COUNT:
        raise document.wrong("format_version", form, COUNT_WORDS)
    if form > FORMAT_VERSION:
        versions = value.get("versions")
        found = versions.items() if isinstance(versions, dict) else ()
        packages = [f"{name:.40} {version!s:.40}" for name, version in found]
        raise InputError(
            f"{path}: its format_version is {form}; this version of selftrain_jax reads forms up to "
            f"{FORMAT_VERSION}. It was written with {shorten_list(packages, 9) or 'unknown versions'}. "
            "Use the selftrain_jax that wrote it or a newer one, or choose another --workdir."
        )
    return document


def to_json(value: Any) -> Any:
    """Turn dataclasses into objects and tuples into lists; a field that has its default is left out."""
    if dataclasses.is_dataclass(value):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {field.name: to_json(own) for field, own in fields if own != field.default}
    if isinstance(value, Mapping):
        return {name: to_json(entry) for name, entry in value.items()}
    return [to_json(entry) for entry in value] if isinstance(value, list | tuple) else value


def _first_error(form: type, values: JsonObject) -> Any:
    """Find the first error. A missing key is then given a wrong value, which says what would be right."""
    for _ in range(2):
        try:
            _adapter(form).validate_python(values)
        except ValidationError as found:
            error = found.errors(include_url=False)[0]
        if error["type"] != "missing":
            break
        error["input"][error["loc"][-1]] = MISSING
    return error


def _join(place: tuple[int | str, ...]) -> str:
    """Write where a value is: `shards[0].records`, `per_class['stop sign'].pixels`."""
    is_plain = [isinstance(part, str) and part.isidentifier() and len(part) < 40 for part in place]
    parts = [f".{part}" if plain else f"[{show(part)}]" for part, plain in zip(place, is_plain, strict=True)]
    return "".join(parts).removeprefix(".")
