"""Results of compiled steps as a Markdown table: python -m launch.compile_for_tpu.table FILE.

FILE is that of `--table` of `python -m launch.compile_for_tpu`. Numbers are per device; "at best" is the
largest of the three lower bounds of the time (computing, memory, network).
"""

import json
import math
import pathlib
import sys
from typing import Any

COLUMNS = (
    "run", "step", "px", "batch", "slice", "images a device", "dtype", "saved for backward",
    "peak GiB of", "temporaries GiB", "TFLOP (analytic)", "collectives MB", "bound by", "images/s at best",
    "images that fit", "compile s",
)  # fmt: skip
SAVED = {"none": "all", "convolutions": "convolutions"}  # by config.optimizer.remat


def main(arguments: list[str]) -> None:
    """Print the table of a file of results."""
    if len(arguments) != 2:
        sys.exit("error: expected one file, as launch/compile_for_tpu/paper_runs.json")
    try:
        rows = json.loads(pathlib.Path(arguments[1]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {arguments[1]}: {error}")
    print(format_table(rows))


def format_table(rows: list[dict[str, Any]]) -> str:
    """Format rows in the order of the runs, then of the steps."""
    lines = [COLUMNS, tuple("-" * len(column) for column in COLUMNS), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    mesh = "".join(f", {axis} {size}" for axis, size in row["mesh"].items() if axis != "data" and size > 1)
    is_training = row["step"] in ("teacher", "student")
    known = (
        row["config"], row["step"], str(row["image_size_px"]), str(row["batch_size"]),
        row["topology"] + mesh, f"{row['batch_size'] / math.prod(row['mesh'].values()):g}",
        row["dtype"], SAVED[row["remat"]] if is_training else "",
    )  # fmt: skip
    if "peak_gib" not in row:
        needed = f"{row['temporaries_gib']:.1f}" if "temporaries_gib" in row else ""
        return (*known, f"does not fit {row['hbm_gib']}", needed, *[""] * (len(COLUMNS) - len(known) - 2))
    bound = max(row["bound_secs"], key=row["bound_secs"].__getitem__)
    return (
        *known,
        f"{row['peak_gib']:.1f} of {row['hbm_gib']}" + ("" if row["fits"] else " (does not fit)"),
        f"{row['temporaries_gib']:.1f}",
        f"{row['tflops']:.2f}" + (f" ({row['analytic_tflops']:.2f})" if row["analytic_tflops"] else ""),
        f"{sum(row['collective_mb'].values()):.1f}",
        f"{bound} {1000 * row['bound_secs'][bound]:.0f} ms",
        f"{row['images_per_sec_at_best']:.0f}",
        str(row["largest_batch_a_device"]),
        f"{row['compile_secs']:.0f}",
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv)
