"""TensorFlow 1 checkpoints, the form of the official releases; call `open_tf_checkpoint`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from selftrain_jax.errors import InputError
from selftrain_jax.pretrain.import_variables import LazyArrays
from selftrain_jax.text import shorten_list

AVERAGE = "/ExponentialMovingAverage"
COUNTERS = ("global_step", "beta1_power", "beta2_power")
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
DATA_FILE = re.compile(r"\.data-\d{5}-of-(\d{5})$")


def open_tf_checkpoint(path: Path | str, *, ema: bool) -> LazyArrays:
    """Open a checkpoint's variables, without optimizer slots and counters.

    Args:
        path: a prefix such as `model.ckpt-112602`, one of its files, or the folder of one checkpoint.
        ema: read the moving averages instead of the values of the last step, under the same names.

    Raises:
        InputError: the checkpoint is missing or incomplete, or has no averages and `ema` is True. Reading an
            array raises it too if the data file is truncated or damaged.
    """
    prefix = find_prefix(Path(path))
    files = _data_files(prefix)
    counts = {int(match[1]) for file in files if (match := DATA_FILE.search(file.name))}
    if counts != {len(files)}:
        raise InputError(
            f"{prefix}: {len(files)} of {max(counts, default=1)} data files are there; copy the missing ones"
        )
    reader = _open_reader(prefix)
    keys = _choose_keys(set(reader.get_variable_to_shape_map()), ema=ema, where=prefix)
    return LazyArrays(keys, lambda name: _read(reader, keys[name], prefix))


def find_prefix(path: Path) -> Path:
    """Return the prefix that the files of the checkpoint share.

    Raises:
        InputError: the path is an archive, there is no checkpoint, or the folder has several.
    """
    if path.name.endswith(ARCHIVES):
        raise InputError(f"{path} is an archive; unpack it (tar xf, unzip) and give the folder inside")
    if path.is_dir():
        return _prefix_in(path)
    prefix = path.with_name(DATA_FILE.sub("", path.name.removesuffix(".index").removesuffix(".meta")))
    if not _index(prefix).is_file():
        raise InputError(
            f"{path} is not a TensorFlow checkpoint ({_index(prefix).name} is missing); expected a prefix "
            "such as model.ckpt-112602, with its .index and .data files in one folder, or that folder"
        )
    return prefix


def tf_checkpoint_files(path: Path | str) -> list[Path]:
    """Return the files that have the checkpoint's arrays.

    Raises:
        InputError: as in `find_prefix`.
    """
    prefix = find_prefix(Path(path))
    return [_index(prefix), *_data_files(prefix)]


def _choose_keys(keys: set[str], *, ema: bool, where: Path) -> dict[str, str]:
    """Return each variable's key; a key below it is an optimizer slot (`kernel/Momentum`) or its average."""
    if "_CHECKPOINTABLE_OBJECT_GRAPH" in keys:
        raise InputError(
            f"{where} was saved by TensorFlow 2's Checkpoint; expected one saved by TensorFlow 1's Saver"
        )
    averaged = {key.removesuffix(AVERAGE) for key in keys if key.endswith(AVERAGE)}
    names = {key for key in keys | averaged if not _is_below(key, keys | averaged)}
    names = {name for name in names if name.rsplit("/", 1)[-1] not in COUNTERS}
    wanted, kind = (averaged, "moving average") if ema else (keys, "value of the last step")
    if missing := sorted(names - wanted):
        raise InputError(
            f"{where} has no {kind} of {len(missing)} of its {len(names)} variables "
            f"({shorten_list(missing)}); ask for the other with ema={not ema}"
        )
    return {name: name + AVERAGE * ema for name in sorted(names)}


def _is_below(key: str, names: set[str]) -> bool:
    parts = key.split("/")
    return any("/".join(parts[:end]) in names for end in range(1, len(parts)))


def _prefix_in(folder: Path) -> Path:
    """Return the checkpoint that the folder's `checkpoint` file names, or the only one in it."""
    prefixes = sorted(file.with_suffix("") for file in folder.glob("*.index"))
    names = shorten_list([prefix.name for prefix in prefixes]) or "none"
    pointer = folder / "checkpoint"
    named = pointer.is_file() and re.search(
        r'^model_checkpoint_path:\s*"(.+)"', pointer.read_text(errors="replace"), re.MULTILINE
    )
    if named:  # often an absolute path on the machine where it was saved
        prefix = folder / Path(named[1]).name
        if prefix in prefixes:
            return prefix
        raise InputError(
            f"{pointer} names {named[1][:300]!r}, which is not there; checkpoints in the folder: {names}. "
            "Give the prefix of one"
        )
    if len(prefixes) != 1:
        found = f"{len(prefixes)}: {names}" if prefixes else names
        raise InputError(
            f"{folder}: expected one TensorFlow checkpoint in it, found {found}; give its prefix"
        )
    return prefixes[0]


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _data_files(prefix: Path) -> list[Path]:
    files = prefix.parent.iterdir()
    return sorted(f for f in files if f.name.startswith(prefix.name + ".data-") and DATA_FILE.search(f.name))


def _open_reader(prefix: Path) -> Any:
    import tensorflow as tf

    try:
        return tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{_index(prefix)} is not a whole checkpoint index: {_brief(error)}") from error


def _read(reader: Any, key: str, prefix: Path) -> Shaped[np.ndarray, "..."]:
    import tensorflow as tf

    try:
        return np.asarray(reader.get_tensor(key))
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(
            f"{prefix}: the variable {key} cannot be read; the data file is truncated or damaged "
            f"({_brief(error)}). Copy it again"
        ) from error


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
