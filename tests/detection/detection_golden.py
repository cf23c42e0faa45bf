"""Numbers that the authors' TensorFlow graph gave, and the inputs they were given for."""

import json
from pathlib import Path

import numpy as np

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "detection.json").read_text())
NUM_CLASSES = 91


def network_outputs():
    """Return logits [A, 91] and box outputs [A, 4] by the golden file's rule: levels 3 to 7 of 128 px."""
    random = np.random.RandomState(3)
    sizes = (16, 8, 4, 2, 1)
    logits = [random.randn(1, n, n, 9 * NUM_CLASSES) * 2 - 3 for n in sizes]
    boxes = [random.randn(1, n, n, 36) * 0.3 for n in sizes]
    return (
        np.concatenate([x.reshape(-1, NUM_CLASSES) for x in logits]).astype(np.float32),
        np.concatenate([x.reshape(-1, 4) for x in boxes]).astype(np.float32),
    )
