"""The revision of this code, as records of stages have it; call `code_revision`."""

import pathlib
import subprocess


def code_revision() -> str:
    """Return the commit of this checkout, with "+" after it where files were changed; "" outside of one."""
    package = str(pathlib.Path(__file__).parents[1])
    command = ["git", "-C", package, "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
