"""A compiled step as a dict of results, to print with advice or to keep in a table; call `compile_row`."""

import json
import pathlib
import re
from typing import Any

import jax
from jax.experimental import topologies
from ml_collections import ConfigDict

from launch.compile_for_tpu.abstract import AbstractStep, label_step, selection_step, training_step
from launch.compile_for_tpu.measure import Measured, estimate_secs, measure
from launch.compile_for_tpu.slices import Slice
from selftrain_jax.errors import InputError
from selftrain_jax.io import atomic_write

RESERVED_GIB = 0.4  # of a chip's memory, for the system


def compile_row(config: ConfigDict, name: str, slice_: Slice) -> dict[str, Any]:
    """Compile a step and collect the results.

    Raises:
        InputError: libtpu is not installed or does not know the slice, or the config does not fit the slice.
    """
    step = make_step(config, name, slice_)
    facts = {
        "config": f"{config.name} {config.model.backbone}",
        "step": name,
        "topology": slice_.name,
        "image_size_px": config.image.size_px,
        "batch_size": step.batch_size,
        "mesh": dict(step.mesh.shape),
        "remat": config.optimizer.remat,
        "dtype": config.model.dtype,
        "hbm_gib": slice_.chip.hbm_gib,
        "jax": jax.__version__,
    }
    try:
        measured = measure(step, is_training=name in ("teacher", "student"))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {**facts, "fits": False, "why": _first_line(error), **_read_need(error)}
    seconds = estimate_secs(measured, slice_)
    return {
        **facts,
        **measured._asdict(),
        "peak_gib": measured.peak_gib,
        "fits": measured.peak_gib <= slice_.chip.hbm_gib - RESERVED_GIB,
        "bound_secs": seconds,
        "images_per_sec_at_best": step.batch_size / max(seconds.values()),
        "largest_batch_a_device": largest_batch(measured, slice_),
    }


def find_devices(slice_: Slice) -> list[jax.Device]:
    """Ask libtpu for a slice's devices.

    Raises:
        InputError: libtpu is not installed or does not know the slice.
    """
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=slice_.name).devices)
    except Exception as error:  # libtpu has no error types
        raise InputError(
            f"--topology={slice_.name}: libtpu cannot describe it ({_first_line(error)}). Is it installed "
            '(pip install "jax[tpu]"), and are slices of these sides offered?'
        ) from error


def make_step(config: ConfigDict, name: str, slice_: Slice) -> AbstractStep:
    """Return the step of this name; in labelling, each host works alone on its part of the batch.

    Raises:
        InputError: as `compile_row`.
    """
    if name in ("teacher", "student"):
        return training_step(config, name, find_devices(slice_))
    host, config = slice_.host_part(), config.copy_and_resolve_references()
    config.eval.batch_size = config.eval.batch_size * host.num_chips // slice_.num_chips
    devices = find_devices(host)
    return label_step(config, devices) if name == "label" else selection_step(config, devices)


def largest_batch(measured: Measured, slice_: Slice) -> int:
    """Estimate how many images fit on a device if only the temporaries grow with their number."""
    fixed = measured.arguments_gib + measured.outputs_gib + measured.program_gib
    room = slice_.chip.hbm_gib - RESERVED_GIB - fixed
    return max(int(room / max(measured.temporaries_gib / measured.images, 1e-9)), 0)


def format_row(row: dict[str, Any]) -> str:
    """Format what one device needs, with advice."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in row["mesh"].items() if size > 1) or "one device"
    lines = [
        f"{row['config']}, {row['step']} step, {row['image_size_px']} px, batch {row['batch_size']}, "
        f"{row['dtype']}, remat {row['remat']}, on {row['topology']} ({mesh})"
    ]
    if "peak_gib" not in row:
        return "\n".join([*lines, f"  does not fit: {row['why']}", *advice(row)])
    sent = ", ".join(f"{kind} {size:.1f} MB" for kind, size in row["collective_mb"].items()) or "nothing"
    lines += [
        f"  memory    {row['peak_gib']:.2f} GiB of {row['hbm_gib']} per device: arguments "
        f"{row['arguments_gib']:.2f}, temporaries {row['temporaries_gib']:.2f}, "
        f"program {row['program_gib']:.2f}",
        f"  computing {row['tflops']:.2f} TFLOP per device and step by the compiler, "
        f"{row['analytic_tflops']:.2f} by the network's multiply-adds",
        f"  network   {sent} per device and step",
        "  at best   "
        + ", ".join(f"{name} {1000 * secs:.1f} ms" for name, secs in row["bound_secs"].items())
        + f": {row['images_per_sec_at_best']:.0f} images/s",
        f"  a device has {row['images']:g} images, about {row['largest_batch_a_device']} fit (compiled in "
        f"{row['compile_secs']:.0f} s)",
    ]
    return "\n".join([*lines, *advice(row)])


def advice(row: dict[str, Any]) -> list[str]:
    """List what to try, most useful first."""
    if row["fits"]:
        spare = row["largest_batch_a_device"] >= 2 * row["images"]
        return ["  fits" + ("; a slice of half the chips may suffice" if spare else "")]
    lines = ["  DOES NOT FIT. Try:"]
    if row["remat"] == "none" and row["step"] in ("teacher", "student"):
        lines.append(
            "    --config.optimizer.remat=convolutions: recompute everything else in the backward pass"
        )
    if row["dtype"] == "float32":
        lines.append("    --config.model.dtype=bfloat16")
    if row.get("images", 2) <= 1:
        lines.append("    --config.mesh.space=2 (or 4): split the rows of an image over chips")
    if row.get("arguments_gib", 0) > row["hbm_gib"] / 4:
        lines.append("    --config.mesh.model=2 (or 4): split the network's large tensors over chips")
    lines.append("    --config.optimizer.accumulation=2, a smaller batch, or a larger slice")
    return lines


def add_to_table(path: pathlib.Path, row: dict[str, Any]) -> None:
    """Add a row to a JSON list, replacing an earlier one of the same run."""
    key = ("config", "step", "topology", "batch_size", "mesh", "remat", "dtype")
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows = [old for old in rows if [old[name] for name in key] != [row[name] for name in key]] + [row]
    with atomic_write(path) as file:
        file.write(json.dumps(rows, indent=1) + "\n")


def _read_need(error: Exception) -> dict[str, float]:
    """Read the memory that a step needs, in GiB, from the compiler's message."""
    match = re.search(r"HLO temporaries \(([0-9.]+)G\)", str(error))
    return {"temporaries_gib": float(match[1])} if match else {}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
