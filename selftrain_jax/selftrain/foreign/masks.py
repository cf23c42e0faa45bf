"""Other models' masks: a folder of PNG class maps, with a confidence for each pixel, class or image.

`FOLDER/classes/NAME.png` (or `FOLDER/NAME.png`) holds the model's own class ids. Probabilities are in
`FOLDER/confidence/NAME.png`, of 8 bits, in 255ths, or in `FOLDER/confidence.json`, one for each image,
`{"NAME": 0.9}`, or for each class in it, `{"NAME": {"7": 0.9}}`. Call `open_mask_folder`, then `read_mask`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from selftrain_jax.data.image_files import read_file
from selftrain_jax.data.sources.png_masks import decode_mask
from selftrain_jax.errors import InputError
from selftrain_jax.io import parse_json, show
from selftrain_jax.selftrain.foreign.boxes import check_scores
from selftrain_jax.selftrain.foreign.files import list_files, require_predictions
from selftrain_jax.text import shorten_list

CLASSES, CONFIDENCE, CONFIDENCE_FILE = "classes", "confidence", "confidence.json"
EXPECTED = (
    "expected class maps as FOLDER/classes/NAME.png, and beside them FOLDER/confidence/NAME.png (grey, 255 "
    'is sure) or FOLDER/confidence.json ({"NAME": 0.9} or {"NAME": {"CLASS ID": 0.9}})'
)
PERCENT = 100


class MaskFiles(NamedTuple):
    """The class maps of a folder and where their confidences are, by NAME."""

    maps: Mapping[str, Path]
    levels: Mapping[str, Path]  # confidence PNGs; none where `stated` has them
    stated: Mapping[str, Any]  # of confidence.json


class ForeignMask(NamedTuple):
    """One class map as the model made it."""

    values: UInt8[np.ndarray, "H W"]  # the model's class ids
    confidence: UInt8[np.ndarray, "H W"]  # as types.Example has it: floor(256 p), at most 255


def open_mask_folder(folder: Path, key: str) -> MaskFiles:
    """List a folder's class maps.

    Raises:
        InputError: it is no such folder, or a class map has no confidence.
    """
    require_predictions(folder, key)
    if not folder.is_dir():
        raise InputError(f"{folder} ({key}) is a file; {EXPECTED}")
    top = folder / CLASSES if (folder / CLASSES).is_dir() else folder
    maps = _by_name(top)
    if top == folder:
        maps = {name: path for name, path in maps.items() if not name.startswith(f"{CONFIDENCE}/")}
    if not maps:
        raise InputError(f"{folder} ({key}) has no class map; {EXPECTED}")
    stated_path = folder / CONFIDENCE_FILE
    stated = parse_json(stated_path.read_bytes(), str(stated_path)) if stated_path.is_file() else {}
    if not isinstance(stated, dict):
        raise InputError(f'{stated_path} holds {show(stated)}; expected an object such as {{"NAME": 0.9}}')
    levels = {} if stated else _by_name(folder / CONFIDENCE)
    missing = [name for name in maps if name not in (stated or levels)]
    if missing:
        raise InputError(
            f"{folder} ({key}): {len(missing)} of {len(maps)} class maps have no confidence: "
            f"{shorten_list(missing)}; {EXPECTED}"
        )
    _check_stated(stated, stated_path)
    _check_percent({name: levels[name] for name in maps} if levels else {}, folder)
    return MaskFiles(maps, levels, stated)


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in list_files(folder, (".png",))
    }


def _check_stated(stated: Mapping[str, Any], path: Path) -> None:
    pairs = [
        (f"{path}: {name}" if label is None else f"{path}: {name}, class {label}", value)
        for name, entry in stated.items()
        for label, value in (entry.items() if isinstance(entry, dict) else [(None, entry)])
    ]
    for place, value in pairs:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InputError(f"{place}: {show(value)}; expected a confidence of 0 to 1")
    check_scores(np.array([value for _, value in pairs], np.float64), lambda index: pairs[index][0])


def _check_percent(levels: Mapping[str, Path], folder: Path) -> None:
    """Refuse confidences of 0 to 100: their highest over all images is 100 of 255."""
    highest = max((int(_read_map(path).max(initial=0)) for path in levels.values()), default=0)
    if highest == PERCENT:
        raise InputError(
            f"{folder / CONFIDENCE}: the highest confidence of all is 100 of 255. The scores are in percent: "
            "divide them by 100 and store them in 255ths"
        )


def read_mask(files: MaskFiles, name: str) -> ForeignMask:
    """Read one class map and its confidences.

    Raises:
        InputError: a PNG is damaged, in colour or of another size than its class map, or a class has no
            confidence.
    """
    path = files.maps[name]
    values = _read_map(path)
    if files.levels:
        stored = _read_map(files.levels[name])
        if stored.shape != values.shape:
            raise InputError(
                f"{files.levels[name]} is {stored.shape[1]} x {stored.shape[0]} pixels, {path} is "
                f"{values.shape[1]} x {values.shape[0]}; expected one confidence for each pixel"
            )
        return ForeignMask(values, to_level(stored / 255.0))
    entry = files.stated[name]
    if not isinstance(entry, dict):
        return ForeignMask(values, np.full(values.shape, to_level(np.float64(entry))))
    by_value = np.zeros(256, np.uint8)
    present = np.unique(values).tolist()
    missing = [value for value in present if str(value) not in entry and value != 255]
    if missing:
        raise InputError(
            f"{path}: its classes {shorten_list(missing)} have no confidence in {CONFIDENCE_FILE}"
        )
    for value in present:
        by_value[value] = to_level(np.float64(entry.get(str(value), 0.0)))
    return ForeignMask(values, by_value[values])


def _read_map(path: Path) -> UInt8[np.ndarray, "H W"]:
    return decode_mask(read_file(path), str(path)).mask


def to_level(probability: Any) -> Any:
    """Return the level of a probability p as records store it: floor(256 p), at most 255."""
    return np.minimum(np.floor(256 * probability), 255).astype(np.uint8)
