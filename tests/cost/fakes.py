"""A clock that stands still until a test moves it, and devices that are nothing but their kind."""

import time
from unittest.mock import Mock

import jax


class Clock:
    """Seconds of `time.monotonic`, which it replaces."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def pass_secs(self, secs):
        self.now += secs


def devices_of(kind, count, platform="cpu", host=0):
    return [
        Mock(
            spec=jax.Device, device_kind=kind, platform=platform, process_index=host, local_hardware_id=index
        )
        for index in range(count)
    ]
