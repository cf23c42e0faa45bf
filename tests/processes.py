"""The environment of a command that a test starts: fake devices, cheap compilation, the session's cache."""

import os

# Tests compile for much longer than they compute: half of the time goes with LLVM's optimisations.
CHEAP_COMPILES = "--xla_backend_optimization_level=0"


def environment(num_devices: int = 1, **more: str) -> dict[str, str]:
    """Return the environment of a command on so many fake CPU devices, with `more` variables set.

    conftest.py names the folder where commands find what others have compiled.
    """
    flags = f"--xla_force_host_platform_device_count={num_devices} {CHEAP_COMPILES}"
    fixed = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": flags}
    return {**os.environ, **fixed, **more}
