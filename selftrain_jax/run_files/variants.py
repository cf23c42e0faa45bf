"""variants/: runs that share stages with the base run, each in a run's folder of its own."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selftrain_jax.run_files.fields import JsonObject, Number, is_number

VARIANTS_FOLDER = "variants"
CONFIG_FILE = "config.json"
BASE = "base"  # what tables call the run that the variants belong to


def variant_folders(workdir: Path) -> dict[str, Path]:
    """Find the variants of a run by name, numbers in names in order of size; hidden folders do not count."""
    folder = workdir / VARIANTS_FOLDER
    found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    shown = [path for path in found if not path.name.startswith(".")]
    return {path.name: path for path in sorted(shown, key=lambda path: natural_order(path.name))}


def natural_order(name: str) -> list[tuple[str, float]]:
    """Give the key by which names are sorted: "alpha=2" comes before "alpha=10"."""
    parts = re.split(r"([0-9]+(?:\.[0-9]+)?)", name)
    return [(text, float(digits or 0)) for text, digits in zip(parts[::2], [*parts[1::2], ""], strict=True)]


def differing_values(base: JsonObject, other: JsonObject, prefix: str = "") -> dict[str, list[Any]]:
    """Compare two configs: the values of both by dotted key, where they differ; None where one has no key."""
    found: dict[str, list[Any]] = {}
    for key in sorted(base.keys() | other.keys()):
        was, now = base.get(key), other.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found |= differing_values(was, now, f"{prefix}{key}.")
        elif was != now:
            found[f"{prefix}{key}"] = [was, now]
    return found


def pick_value(config: JsonObject | None, key: str) -> Any:
    """Read a value of a config by its dotted key; None where there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def pick_number(config: JsonObject | None, key: str) -> Number | None:
    """Read a number of a config by its dotted key; None where there is none."""
    value = pick_value(config, key)
    return value if is_number(value) else None
