"""Speeds that earlier stages of a run measured, by their logs and manifests.

Call `find_training_speed` or `find_labelling_speed`.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selftrain_jax.errors import InputError
from selftrain_jax.io import read_json
from selftrain_jax.run_files.manifest import MANIFEST_FILE
from selftrain_jax.run_files.metrics import METRICS_FILE, read_metrics
from selftrain_jax.run_files.stage import STAGE_FILE
from selftrain_jax.stages.settings import BEFORE, NETWORK, is_among

SPEED = "speed/images_per_second"
LATEST = 20  # lines of a log


@dataclass(frozen=True)
class Speed:
    """Images a second, and where that was measured."""

    images_per_sec: float
    source: str

    def divided(self, num_models: int) -> "Speed":
        """Return the speed of so many models, one after the other, on each image."""
        return replace(self, images_per_sec=self.images_per_sec / num_models)


def find_training_speed(folders: Iterable[Path], settings: Mapping[str, Any]) -> Speed | None:
    """Return the speed of the first stage's folder that has one and is of the network in `settings`."""
    for folder in folders:
        if _is_same_network(folder, settings) and (found := _training_speed(folder)):
            return Speed(found, str(folder))
    return None


def find_labelling_speed(
    folders: Iterable[Path],
    settings: Mapping[str, Any],
    count_pixels: Callable[[Mapping[str, Any]], int],
    num_models: int = 1,
) -> Speed | None:
    """Return the speed of the first finished labels of the network in `settings`.

    `count_pixels` says of settings how many pixels the network sees of an image. Where labels were made over
    other views or scales, or by another number of models than `num_models`, their time is taken to be in
    proportion.
    """
    for folder in folders:
        if not (_is_same_network(folder, settings) and (found := _labelling_speed(folder))):
            continue
        try:
            then = count_pixels(_read(folder / STAGE_FILE)["settings"])
            models_then = int(_read(folder / MANIFEST_FILE).get("num_models", 1))
        except (InputError, KeyError, TypeError):  # of another version, or damaged
            continue
        ratio = then * models_then / (count_pixels(settings) * num_models)
        return Speed(found * ratio, str(folder) if ratio == 1 else f"{folder}, in proportion")
    return None


def _training_speed(folder: Path) -> float:
    """Return the median of the latest lines of a training's log; 0 where there is none."""
    rows = read_metrics(folder / METRICS_FILE, skip_damaged=True)
    speeds = [row[SPEED] for row in rows if row.get(SPEED)]
    return statistics.median(speeds[-LATEST:]) if speeds else 0.0


def _labelling_speed(folder: Path) -> float:
    """Return the images a second of finished labels, by their manifest; 0 where there is none."""
    if not (folder / MANIFEST_FILE).exists():
        return 0.0
    manifest = _read(folder / MANIFEST_FILE)
    images, seconds = manifest.get("num_images"), manifest.get("seconds")
    if not isinstance(images, int) or not isinstance(seconds, int | float) or seconds <= 0:
        return 0.0
    return images / seconds


def _is_same_network(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Compare the keys of the network in a folder's record, if it has one, with the run's."""
    if not (folder / STAGE_FILE).exists():
        return (folder / METRICS_FILE).exists()  # of an older version
    then = _read(folder / STAGE_FILE).get("settings")
    keys = [key for key in settings if is_among(key, NETWORK)]
    return isinstance(then, dict) and all(
        then.get(key, BEFORE.get(key)) == _as_json(settings[key]) for key in keys
    )


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path, "")
    except InputError:
        return {}
    return found if isinstance(found, dict) else {}
