"""Tests run with shapes checked (jaxtyping + beartype) and on two fake CPU devices.

Most of their time is compiling, not computing. So XLA's back end does not optimise, and what one test process
or a command that it starts has compiled, the others read from a folder of this session.
`JAX_COMPILATION_CACHE_DIR=FOLDER bash launch/test.sh` keeps the compiled programs for the next session.
"""

import atexit
import os
import shutil
import tempfile

from tests.processes import CHEAP_COMPILES

devices = "--xla_force_host_platform_device_count=2"
os.environ["XLA_FLAGS"] = f"{devices} {CHEAP_COMPILES} {os.environ.get('XLA_FLAGS', '')}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # pytest-xdist's workers and all commands inherit it
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="selftrain_jax_compiled_")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

from jaxtyping import install_import_hook

install_import_hook("selftrain_jax", "beartype.beartype")
