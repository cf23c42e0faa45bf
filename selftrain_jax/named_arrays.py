"""The arrays of a model by name: `check_names` compares two models, `digest` identifies weights."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from selftrain_jax.errors import InputError
from selftrain_jax.text import shorten_list
from selftrain_jax.types import Variables


def digest(variables: Variables) -> str:
    """Hash names, shapes, types and bytes of params and batch_stats (SHA-256, hex)."""
    hasher = hashlib.sha256()
    kept = {name: variables[name] for name in ("params", "batch_stats") if name in variables}
    for name, leaf in sorted(arrays_by_name(kept).items()):
        array = np.asarray(leaf)
        hasher.update(f"{name} {array.dtype} {array.shape}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def arrays_by_name(tree: Any) -> dict[str, Any]:
    """Flatten a tree into its leaves by path, `params/head/kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def shapes_by_name(items: Any) -> dict[str, list[int]]:
    """Return the shape of every array of a tree by its name."""
    return {name: list(leaf.shape) for name, leaf in arrays_by_name(items).items()}


def check_names(saved: dict[str, list[int]], wanted: dict[str, list[int]], where: Path) -> None:
    """Compare names and shapes before anything is loaded.

    Raises:
        InputError: they differ; the message lists the first of each kind.
    """
    missing = [f"{name} {wanted[name]}" for name in wanted if name not in saved]
    unexpected = [f"{name} {saved[name]}" for name in saved if name not in wanted]
    other_shape = [
        f"{name} is {saved[name]}, expected {wanted[name]}"
        for name in wanted
        if name in saved and saved[name] != wanted[name]
    ]
    groups = {"missing from it": missing, "unexpected in it": unexpected, "of another shape": other_shape}
    if any(groups.values()):
        lines = [f"  {len(names)} {what}: {shorten_list(names)}" for what, names in groups.items() if names]
        raise InputError(
            f"checkpoint {where} is of another model or optimizer than this config's:\n"
            + "\n".join(lines)
            + "\nuse the config that it was trained with, or another folder"
        )
