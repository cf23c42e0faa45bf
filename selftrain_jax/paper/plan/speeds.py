"""Speeds and prices that the plan counts with: bounds of compiled steps, or what a user measured.

Call `read_compiled` or `read_measured`, and `read_prices`.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json, show
from selftrain_jax.paper.plan.networks import FACTS

COMPILED = Path(__file__).parents[3] / "launch" / "compile_for_tpu" / "paper_runs.json"
MEASURED_FORM = '{"accelerator": "H100", "images_per_second": {"coco_retinanet resnet50": 480}}'
LABEL_SUFFIX = " label"  # after a network's name: the speed of its labelling


class Speed(NamedTuple):
    """The device-seconds that an image takes, and on what."""

    accelerator: str  # as in a file of prices
    where: str  # slice and settings, or the accelerator alone
    num_devices: int  # that work together
    device_secs: float


class Speeds(NamedTuple):
    """Speeds by the network's name; labelling is of one view of an image."""

    train: Mapping[str, Speed]
    label: Mapping[str, Speed]
    source: str  # in words


def read_compiled(path: Path = COMPILED) -> Speeds:
    """Read the bounds of compiled steps: of each network the fitting step with the fewest device-seconds.

    Raises:
        InputError: the file is missing, as outside of a checkout, or is no such table.
    """
    rows = read_json(path, "run this in a checkout, or give measured speeds: --images-per-second=FILE")
    sizes = {facts.name: network.image_size_px for network, facts in FACTS.items()}
    try:
        fitting = [row for row in rows if row["fits"] and sizes.get(row["config"]) == row["image_size_px"]]
        train = _fastest(row for row in fitting if row["step"] == "student")
        label = _fastest(row for row in fitting if row["step"] == "label")
    except (KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise InputError(f"{path}: not a table of launch.compile_for_tpu ({error!r})") from error
    return Speeds(train, label, f"at best: the compiler's bounds in {path.name}, not measured")


def _fastest(rows: Iterable[Mapping[str, Any]]) -> dict[str, Speed]:
    found: dict[str, Speed] = {}
    for row in rows:
        name, speed = row["config"], _speed_of(row)
        if name not in found or speed.device_secs < found[name].device_secs:
            found[name] = speed
    return found


def _speed_of(row: Mapping[str, Any]) -> Speed:
    num_devices = math.prod(row["mesh"].values())
    remat = ", remat" if row["remat"] != "none" else ""
    where = f"{row['topology']} {row['dtype']}{remat}"
    generation = row["topology"].partition(":")[0]
    return Speed(generation, where, num_devices, num_devices / row["images_per_sec_at_best"])


def read_measured(path: Path) -> Speeds:
    """Read measured images a second of a device, by network; "NAME label" is the speed of its labelling.

    A network without a labelling speed labels at its training speed, which is slower than it will be.

    Raises:
        InputError: the file is missing or of another form.
    """
    values = read_json(path, f"expected {MEASURED_FORM}")
    accelerator = values.get("accelerator") if isinstance(values, dict) else None
    measured = values.get("images_per_second") if isinstance(values, dict) else None
    if not isinstance(accelerator, str) or not isinstance(measured, dict) or not measured:
        raise InputError(f"{path}: expected {MEASURED_FORM}, got {show(values)}")
    known = {facts.name for facts in FACTS.values()}
    known |= {name + LABEL_SUFFIX for name in known}
    for name, value in measured.items():
        if name not in known:
            raise InputError(f"{path}: {name!r:.60} is not one of {', '.join(sorted(known))}")
        if not _is_positive(value):
            raise InputError(f"{path}: {name} has {show(value)} images a second; expected a number above 0")
    speeds = {name: Speed(accelerator, accelerator, 1, 1 / value) for name, value in measured.items()}
    train = {name: speed for name, speed in speeds.items() if not name.endswith(LABEL_SUFFIX)}
    label = {name: speeds.get(name + LABEL_SUFFIX, speed) for name, speed in train.items()}
    return Speeds(train, label, f"by the speeds in {path}")


def read_prices(path: Path) -> dict[str, float]:
    """Read what a device of each accelerator costs an hour, from JSON or from lines of accelerator,price.

    Raises:
        InputError: the file is missing or holds something else.
    """
    form = 'expected JSON as {"v5e": 1.2} or CSV as the line v5e,1.2'
    if path.suffix.lower() != ".csv":
        found = read_json(path, form)
        entries = list(found.items()) if isinstance(found, dict) else []
    else:
        entries = _read_lines(path, form)
    if not entries:
        raise InputError(f"{path}: no prices; {form}")
    for name, price in entries:
        if not _is_positive(price):
            raise InputError(f"{path}: the price of {name!r:.60} is {show(price)}; expected a number above 0")
    return {name: float(price) for name, price in entries}


def _read_lines(path: Path, form: str) -> list[tuple[str, float]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {form}") from error
    lines = [line for line in csv.reader(text.splitlines()) if line]
    entries = []
    for number, line in enumerate(lines):
        try:
            name, price = line
            entries.append((name.strip(), float(price)))
        except ValueError as error:
            if number:  # the first line may be a head
                raise InputError(f"{path}: {','.join(line)!r:.60}; {form}") from error
    return entries


def _is_positive(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf  # type: ignore[operator]  # a number, as just seen
