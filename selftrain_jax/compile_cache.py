"""The folder in which compiled steps are kept for later starts of the command; call `cache_folder`."""

import hashlib
import os
import pathlib
import platform


def cache_folder() -> pathlib.Path:
    """Return a folder for this user and kind of processor, outside the work folder, without creating it.

    JAX keeps a step under a digest of its program, options and device. The processor is part of the folder's
    name, because code for a CPU uses that CPU's instructions and different machines may share a home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    processor = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return pathlib.Path(home) / "selftrain_jax" / f"compiled-{platform.machine()}-{processor}"


def _processor() -> str:
    """Return a text that is different for processors with different instructions."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(sorted(set(kept)))
