"""A disk that fills in the middle of a run and then has room again: nothing is lost, nothing is half."""

import contextlib
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.tiny_run import results, run

SHARES = (0.15, 0.4, 0.7)  # of what a whole run takes


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size_kib: int) -> Iterator[None]:
    """Mount a file system of this size in memory."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def size_kib(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024


@pytest.mark.slow
def test_a_disk_fills_and_has_room_again(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path / "whole")[0] == 0
    expected, needed_kib = results(tmp_path / "whole"), size_kib(tmp_path / "whole")
    for share in SHARES:
        disk = tmp_path / f"disk{share}"
        with small_disk(disk, round(share * needed_kib)):
            status, output = run(disk)
            assert status == 2, output[-3000:]
            assert "full" in output
            assert "Traceback" not in output
            assert not list(disk.rglob("*orbax-checkpoint-tmp*"))
            subprocess.run(["mount", "-o", f"remount,size={4 * needed_kib}k", str(disk)], check=True)
            status, output = run(disk)
            assert status == 0, output[-3000:]
            assert results(disk) == expected
