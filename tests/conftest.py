"""Tests run with shapes checked (jaxtyping + beartype) and on two fake CPU devices.

Most of their time goes to compiling. So XLA does not optimise, and what one process of this session has
compiled, pytest's or a command's, the others read from a folder.
`JAX_COMPILATION_CACHE_DIR=FOLDER bash launch/test.sh` keeps the compiled programs for the next session.
"""

import atexit
import gc
import os
import shutil
import tempfile

from jaxtyping import install_import_hook

from tests.processes import CHEAP_COMPILES

os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_force_host_platform_device_count=2", CHEAP_COMPILES, os.environ.get("XLA_FLAGS", "")]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# No test leaves this machine: what would be downloaded cannot be had, but from a server that a test starts.
os.environ.update(HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_DISABLE_TELEMETRY="1")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # else this is a worker of pytest-xdist, or kept by hand
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="selftrain_jax_compiled_")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

install_import_hook("selftrain_jax", "beartype.beartype")
gc.set_threshold(100_000, 50, 50)  # JAX traces many objects that live on: a fifth of the tracing's time
