"""The grid of a search from the command line: `--grid=selftrain.alpha=0.5,1,2`; call `parse_grid`."""

import difflib
from typing import Any

from ml_collections import ConfigDict

from selftrain_jax.command_line import flatten
from selftrain_jax.errors import InputError
from selftrain_jax.stages.settings import BY_CONTENT, FREE, is_among, stages_decided_by

SEARCHED = ("teacher", "labels", "student")  # what val of a student depends on


def parse_grid(
    texts: tuple[str, ...], config: ConfigDict, idle: tuple[str, ...], seeds: tuple[int, ...] = ()
) -> dict[str, tuple[Any, ...]]:
    """Return the values by dotted key, of the types that the config's own values have.

    `idle` are keys that the run's task does not read.

    Raises:
        InputError: no grid; a key that does not exist, is given twice or decides no result; a value of
            another type, or given twice.
    """
    if not texts:
        raise InputError(
            "--job=search needs a grid: --grid=KEY=VALUE,VALUE,... (again for a second key), for example "
            "--grid=selftrain.alpha=0.25,0.5,1,2,3"
        )
    known, grid = flatten(config.to_dict()), dict[str, tuple[Any, ...]]()
    for text in texts:
        key, _, values = text.partition("=")
        key = key.removeprefix("config.")
        _check_key(key, known, idle)
        if key in grid or (key == "seed" and seeds):
            raise InputError(f"--grid={text}: {key} is given twice; name all its values in one --grid")
        grid[key] = _parse_values(key, values, known[key])
    return grid


def _check_key(key: str, known: dict[str, Any], idle: tuple[str, ...]) -> None:
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"--grid: the config has no key {key!r}{hint}")
    by_content = is_among(key, BY_CONTENT) and not is_among(key, FREE) and not is_among(key, idle)
    if not by_content and not set(stages_decided_by(key, idle)) & set(SEARCHED):
        raise InputError(
            f"--grid={key}: this key decides no student's result here, so all points would be the same; "
            "choose one that does, as selftrain.alpha or pseudo.threshold"
        )


def _parse_values(key: str, text: str, now: Any) -> tuple[Any, ...]:
    values = tuple(_parse_value(key, item.strip(), now) for item in text.split(",") if item.strip())
    if not values:
        raise InputError(f"--grid={key}={text}: no values; write --grid={key}=VALUE,VALUE")
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise InputError(f"--grid={key}={text}: {', '.join(twice)} is given twice")
    return values


def _parse_value(key: str, text: str, now: Any) -> Any:
    """Read a value of the type that the config's own has."""
    kind = type(now)
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif kind in (int, float, str):
        try:
            return kind(text)
        except ValueError:
            pass
    else:
        raise InputError(f"--grid={key}: its value {now!r} is a {kind.__name__}; grids have single values")
    raise InputError(f"--grid={key}: {text!r} is not a {kind.__name__}, as {now!r} is")
