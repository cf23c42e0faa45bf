"""What both sides of `gpu_all` share: the sizes, the inputs, the clock and the budget."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_CLASSES, NUM_BOXES, BOX_SLOTS = 91, 8, 100
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 1e-4
WARM_UP_CALLS = 3


@dataclass(frozen=True)
class Settings:
    """How large, how long, and until when."""

    size_px: int
    batch: int
    calls: int  # in a block
    blocks: int
    on_cpu: bool
    deadline: float  # of time.time()
    compile_only: bool = False  # into the compilation cache
    is_cached: bool = False  # by an earlier process
    profile_dir: str = ""  # where to leave the step's kernels and its compiled program; none if empty

    def has_time(self, what: str, secs: float) -> bool:
        """Say whether a pass that takes so long still ends in time, and print it if not."""
        left = self.deadline - time.time()
        if left >= secs:
            return True
        print(f"  {what}: not measured; it takes about {secs:.0f} s of {max(left, 0):.0f} s left", flush=True)
        return False


def make_inputs(settings: Settings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random pixels 0..255 (NHWC), yxyx boxes and classes from 1."""
    random, size_px = np.random.default_rng(0), settings.size_px
    images = random.integers(0, 256, (settings.batch, size_px, size_px, 3), np.uint8)
    corners = random.uniform(0, 0.5 * size_px, (settings.batch, NUM_BOXES, 2))
    sizes = random.uniform(0.1 * size_px, 0.5 * size_px, (settings.batch, NUM_BOXES, 2))
    boxes = np.concatenate([corners, corners + sizes], axis=2).astype(np.float32)
    return images, boxes, random.integers(1, NUM_CLASSES, (settings.batch, NUM_BOXES))


def time_blocks(call: Callable[[], Any], wait: Callable[[Any], Any], settings: Settings) -> list[float]:
    """Return each block's seconds a call, after a warm-up; none where the program is only compiled."""
    if settings.compile_only:
        return []
    for _ in range(WARM_UP_CALLS):
        wait(call())
    secs = []
    for _ in range(settings.blocks):
        start = time.perf_counter()
        for _ in range(settings.calls):
            result = call()
        wait(result)
        secs.append((time.perf_counter() - start) / settings.calls)
    return secs


def describe(batch: int, secs: list[float], **more: Any) -> dict[str, Any]:
    """Return one row of the report."""
    rate = batch / float(np.median(secs)) if secs else None
    return {"batch": batch, "secs": secs, "images_per_second": rate, **more}
