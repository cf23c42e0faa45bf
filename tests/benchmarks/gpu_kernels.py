"""A profile of a training step on a GPU: which kernels take its time, and what they compute."""

import collections
import glob
import gzip
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NUM_STEPS = 3


def write_profile(folder: str, name: str, compiled: Any, call: Callable[[], Any]) -> None:
    """Write the kernels of a few steps, the longest first, and the compiled program that names them."""
    stem = Path(folder) / re.sub(r"\W+", "_", name)
    with gzip.open(f"{stem}.hlo.gz", "wt") as file:
        file.write(compiled.as_text())
    with tempfile.TemporaryDirectory() as traces:
        trace(traces, call)
        lines = list(describe_kernels(traces))
    Path(f"{stem}.kernels.txt").write_text("\n".join(lines) + "\n")
    print("\n".join(line[:150] for line in lines[:30]), flush=True)


def trace(folder: str, call: Callable[[], Any]) -> None:
    """Run some steps under JAX's profiler."""
    import jax

    with jax.profiler.trace(folder):
        for _ in range(NUM_STEPS):
            result = call()
        jax.block_until_ready(result)


def describe_kernels(folder: str) -> Iterator[str]:
    """Yield a line for each kernel of a stream: milliseconds a step, how often, its name, its operation."""
    from jax.profiler import ProfileData

    (path,) = glob.glob(f"{folder}/plugins/profile/*/*.xplane.pb")
    for plane in ProfileData.from_file(path).planes:
        if "GPU" not in plane.name:
            continue
        for line in plane.lines:
            nanoseconds: collections.Counter[tuple[str, str]] = collections.Counter()
            times: collections.Counter[tuple[str, str]] = collections.Counter()
            for event in line.events:
                stats = {key: str(value) for key, value in event.stats}
                kernel = event.name[:100], stats.get("hlo_op", "") + " " + stats.get("name", "")[-140:]
                nanoseconds[kernel] += event.duration_ns
                times[kernel] += 1
            yield f"{line.name}: {sum(nanoseconds.values()) / 1e6 / NUM_STEPS:.1f} ms a step"
            for kernel, total in nanoseconds.most_common(300):
                count = times[kernel] / NUM_STEPS
                yield f"{total / 1e6 / NUM_STEPS:8.3f} ms x{count:5.1f}  {kernel[0]}  {kernel[1]}"
