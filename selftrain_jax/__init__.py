"""Self-training for vision in JAX: teacher, pseudo labels, student.

Paper: Rethinking Pre-training and Self-training (Zoph et al., NeurIPS 2020).
Importing this package loads no TensorFlow and starts no device; `load()` does, when it is called.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selftrain_jax.jobs.model import Model

__version__ = "0.1.0"


def load(folder: str | os.PathLike, *, batch_size: int = 8) -> "Model":
    """Open a trained network: `load("runs/mine").predict(["a.jpg"])`; `load("spinenet49")` is a released one.

    See `jobs.model.load`.
    """
    from selftrain_jax.jobs import model

    return model.load(folder, batch_size=batch_size)
