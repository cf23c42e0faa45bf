"""A run's folder, kept from other runs while this one writes into it; call `hold_workdir`."""

import pathlib
from contextlib import AbstractContextManager

from selftrain_jax.run_files.lock import hold_folder


def hold_workdir(workdir: pathlib.Path) -> AbstractContextManager[None]:
    """Make the folder and lock out other runs, as `hold_folder`. Raises: InputError, likewise."""
    return hold_folder(workdir, "--workdir")
