"""How far the results of an exported program are from those of the running network; call `compare`."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from selftrain_jax.export.program import Results

Differences = Mapping[str, float]


def compare(
    exported: Results,
    running: Results,
    images: UInt8[np.ndarray, "N S S 3"],
    covered_px: Int[np.ndarray, "N 2"],
    batch_size: int,
) -> dict[str, float]:
    """Return each result's largest difference over the images; of classes and flags the share that differs.

    The last batch is filled up with its last image.
    """
    found, wanted = (_results(function, images, covered_px, batch_size) for function in (exported, running))
    return {name: _difference(found[name], wanted[name]) for name in wanted}


def _results(
    function: Results, images: np.ndarray, covered_px: np.ndarray, batch_size: int
) -> Mapping[str, np.ndarray]:
    parts: list[Mapping[str, np.ndarray]] = []
    for start in range(0, len(images), batch_size):
        index = np.minimum(np.arange(start, start + batch_size), len(images) - 1)
        results = function(images[index], covered_px[index])
        kept = min(batch_size, len(images) - start)
        parts.append({name: np.asarray(value)[:kept] for name, value in results.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    if np.issubdtype(wanted.dtype, np.floating):
        return float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0))
    return float((found != wanted).mean())


def describe(differences: Differences, kinds: Sequence[str] = ("classes", "valid")) -> str:
    """Say the differences in a line."""
    shares = {name: f"{value:.2%} differ" for name, value in differences.items() if name in kinds}
    numbers = {name: f"{value:.2g}" for name, value in differences.items() if name not in kinds}
    return ", ".join(f"{name} {text}" for name, text in (numbers | shares).items())
