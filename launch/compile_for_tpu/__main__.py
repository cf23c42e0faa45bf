r"""Compile a run for a TPU slice on any machine, to see whether it fits and how fast it can be at best.

python -m launch.compile_for_tpu --config=configs/coco_spinenet.py:size=143 --topology=v5e:16x16 \
  [--step=teacher|student|label|selection] [--config.student.batch_size=...] [--table=FILE.json]

Needs `pip install "jax[tpu]"` besides requirements.txt, but no TPU. A large detector takes ten minutes on two
cores. The exit code is 3 if the step does not fit. `--table` adds the result to a file.
"""

import os
import pathlib
import sys

from absl import app, flags
from ml_collections import config_flags

from selftrain_jax.command_line import parse_flags
from selftrain_jax.errors import USER_MISTAKE, InputError

STEPS = ("teacher", "student", "label", "selection")

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/coco_spinenet.py.")
_TOPOLOGY = flags.DEFINE_string("topology", "v5e:4x4", "GENERATION:SIDES of the slice, as v5e:16x16.")
_STEP = flags.DEFINE_enum("step", "student", STEPS, "Training of a stage, the pseudo-label job, or its end.")
_TABLE = flags.DEFINE_string("table", "", "JSON file to add the result to.")

DOES_NOT_FIT = 3


def main(arguments: list[str]) -> None:
    """Compile, and print what one device needs and advice."""
    from launch.compile_for_tpu import report
    from launch.compile_for_tpu.slices import find_slice

    if len(arguments) > 1 or _CONFIG.value is None:
        raise InputError("expected --config=FILE.py and options, see --help")
    slice_ = find_slice(_TOPOLOGY.value)
    row = report.compile_row(_CONFIG.value, _STEP.value, slice_)
    print(report.format_row(row))
    if _TABLE.value:
        report.add_to_table(pathlib.Path(_TABLE.value), row)
    sys.exit(0 if row["fits"] else DOES_NOT_FIT)


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"  # libtpu compiles without a TPU
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # does not ask a cloud's metadata server
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # by default only one process may load it
    try:
        app.run(main, flags_parser=parse_flags)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_MISTAKE)
