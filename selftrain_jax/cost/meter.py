"""The cost of a session while it runs: enter `metered`, tell it what time was spent on, read `cost`."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import jax

from selftrain_jax import hosts
from selftrain_jax.cost.compiling import CompileClock
from selftrain_jax.cost.energy import open_energy_counter
from selftrain_jax.run_files.cost import NO_COST, Cost

Part = Literal["working", "waiting", "evaluating"]


class Meter:
    """Divides the time of one session into parts; compiling is taken out of whichever it falls into.

    `devices` are those of all hosts; the clock is this host's, and what is saved is host 0's. `earlier` is
    what the sessions before cost, None where that is unknown.
    """

    def __init__(self, devices: Sequence[jax.Device], earlier: Cost | None = NO_COST) -> None:
        self.compilations = CompileClock()
        self._kinds = Counter(device.device_kind for device in devices)
        self._earlier = earlier
        self._images = 0
        self._secs = dict[str, float].fromkeys(("working", "waiting", "evaluating", "compiling"), 0.0)
        self._read_joules = open_energy_counter(devices)
        self._begin_joules = self._read_joules()
        self._joules: float | None = None
        self._since = time.monotonic()

    def count_time(self, part: Part) -> None:
        """Count the time since the last call as spent on `part`, less what went into compiling."""
        now = time.monotonic()
        elapsed_secs = now - self._since
        compiling_secs = min(self.compilations.take_secs(), elapsed_secs)
        self._secs["compiling"] += compiling_secs
        self._secs[part] += elapsed_secs - compiling_secs
        self._since = now

    def count_images(self, num_images: int) -> None:
        """Count images that were trained on or labelled, on all hosts together."""
        self._images += num_images

    def read_energy(self) -> None:
        """Read the energy that `cost` will tell; all hosts together, as each knows its own devices."""
        used = hosts.gather(_difference(self._read_joules(), self._begin_joules))
        self._joules = None if None in used else sum(used)

    def cost(self) -> Cost | None:
        """Return the cost up to the last `count_time`, with earlier sessions; None where it is unknown."""
        if self._earlier is None:
            return None
        secs, num_devices = self._secs, self._kinds.total()
        session = Cost(
            device_seconds={kind: count * sum(secs.values()) for kind, count in self._kinds.items()},
            images=self._images,
            waiting_device_seconds=num_devices * secs["waiting"],
            compiling_device_seconds=num_devices * secs["compiling"],
            evaluating_device_seconds=num_devices * secs["evaluating"],
            energy_joules=self._joules,
        )
        return self._earlier.add(session)


def _difference(now: float | None, begin: float | None) -> float | None:
    """Subtract two readings; None where one is unknown, or the counter began anew."""
    return None if now is None or begin is None or now < begin else now - begin


@contextmanager
def metered(devices: Sequence[jax.Device], earlier: Cost | None = NO_COST) -> Iterator[Meter]:
    """Measure a session on these devices; JAX's compilations are heard inside."""
    meter = Meter(devices, earlier)
    with meter.compilations.listening():
        yield meter
