"""Where compiled steps are kept from one start of the command to the next; call `cache_folder`."""

import hashlib
import os
import pathlib
import platform


def cache_folder() -> pathlib.Path:
    """Return a folder of this user and this kind of processor, outside the work folder; nothing is made.

    JAX keeps a step there under a digest of its program, its options and the device. Code compiled for a CPU
    uses that CPU's own instructions, and a home folder may be shared by machines of several kinds: the
    processor is part of the name.
    """
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    processor = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return pathlib.Path(home) / "selftrain_jax" / f"compiled-{platform.machine()}-{processor}"


def _processor() -> str:
    """Return what tells this processor's instructions from another's."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    kept = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(sorted(set(kept)))
