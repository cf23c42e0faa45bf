"""The server of tests that download, the hub's client turned to it, and its cache in the test's folder."""

import pathlib
from collections.abc import Iterator

import pytest

from selftrain_jax.pretrain import fetch_files
from tests.pretrain.loopback import Loopback, serving


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(fetch_files, "PAUSE_SECS", 0.0)
    with serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        yield found
