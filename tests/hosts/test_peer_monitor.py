import json
import queue
import socket
import subprocess
import sys
import threading
import time

import pytest

from selftrain_jax.errors import BUG, RUN_AGAIN, RunAgainError
from selftrain_jax.hosts.peer_monitor import PeerMonitor, wait_for_peers


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Company:
    """Hosts as threads of this process; what ends them is collected."""

    def __init__(self, num_hosts: int, wait_secs: float = 20.0) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.ends: queue.Queue[tuple[int, int, str]] = queue.Queue()
        self.lines: dict[int, PeerMonitor] = {}
        hosts = [
            threading.Thread(target=self.join, args=(index, num_hosts, wait_secs))
            for index in range(num_hosts)
        ]
        for host in reversed(hosts):  # host 0 comes last
            host.start()
            time.sleep(0.05)
        for host in hosts:
            host.join()

    def join(self, index: int, num_hosts: int, wait_secs: float) -> None:
        def end(code: int, message: str) -> None:
            self.ends.put((index, code, message))

        self.lines[index] = wait_for_peers(self.address, num_hosts, index, wait_secs, end)

    def ended(self, num: int) -> list[tuple[int, int, str]]:
        return sorted(self.ends.get(timeout=10) for _ in range(num))


def test_all_come_and_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    company = Company(4)
    assert sorted(company.lines) == [0, 1, 2, 3]
    printed = capsys.readouterr().out
    assert "hosts: host 3 of 4 reports to" in printed
    assert "waiting up to 20 s" in printed
    assert "hosts: 4 of 4 are here" in printed
    for line in company.lines.values():
        line.close()
    time.sleep(0.3)
    assert company.ends.empty()  # they parted in peace


@pytest.mark.parametrize("lost", [0, 2])
def test_one_that_is_gone_ends_all_others_and_is_named(lost: int) -> None:
    company = Company(4)
    company.lines[lost]._is_over = True  # a process that was killed looks after nothing
    for peer in company.lines[lost]._peers.values():
        peer.shutdown(socket.SHUT_RDWR)  # as the system does for a process that was killed
    others = [host for host in range(4) if host != lost]
    found = company.ended(3)
    assert [(host, code) for host, code, _ in found] == [(host, RUN_AGAIN) for host in others]
    assert {message for _, _, message in found} == {f"host {lost} is gone"}


def test_an_error_on_one_ends_all_with_its_code_and_message() -> None:
    company = Company(3)
    company.lines[1].close(2, "host 1: a bad box")
    assert company.ended(2) == [(0, 2, "host 1: a bad box"), (2, 2, "host 1: a bad box")]


def test_whoever_does_not_come_is_named_and_the_wait_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        RunAgainError, match="hosts: 1 of 3 are here, missing: 1, 2; they did not connect in time"
    ):
        wait_for_peers(f"127.0.0.1:{free_port()}", 3, 0, 0.5)
    assert "hosts: 1 of 3 are here, missing: 1, 2, waiting up to" in capsys.readouterr().out
    with pytest.raises(RunAgainError, match=r"host 0 did not accept host 1 .*refused"):
        wait_for_peers(f"127.0.0.1:{free_port()}", 3, 1, 0.5)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"[1]\n",
        b'{"host": "1", "num_hosts": 2}\n',
        b'{"host": 1, "num_hosts": 3}\n',
    ],
)
def test_strangers_are_turned_away(said: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()

    def knock() -> None:
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            time.sleep(0.5)

    threading.Thread(target=knock).start()
    with pytest.raises(RunAgainError, match="missing: 1"):
        wait_for_peers(f"127.0.0.1:{port}", 2, 0, 1.0)
    assert "hosts: refused a connection that said" in capsys.readouterr().out


CHILD = """
import sys, time
from selftrain_jax.hosts.peer_monitor import wait_for_peers
index = int(sys.argv[2])
line = wait_for_peers(sys.argv[1], 2, index, 20.0)
print("started", flush=True)
time.sleep(60)
"""


@pytest.mark.compiles
def test_killed_processes_are_seen_at_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first, second = (
        subprocess.Popen([sys.executable, "-c", CHILD, address, str(index)], **pipes) for index in (0, 1)
    )
    for process in (first, second):
        assert process.stdout is not None
        while "started" not in process.stdout.readline():
            pass
    second.kill()
    _, complaint = first.communicate(timeout=10)
    second.communicate()
    assert first.returncode == RUN_AGAIN
    assert "host 1 is gone; the same command resumes from the last checkpoint" in complaint


BROKEN = """
import socket, sys, threading, time
from selftrain_jax import hosts
from selftrain_jax.hosts.peer_monitor import PeerMonitor, end_process
ours, theirs = socket.socketpair()
hosts._join = lambda *_: PeerMonitor({1: ours}, end_process)
with hosts.initialized("127.0.0.1:1"):
    if sys.argv[1] == "gone":
        threading.Timer(0.3, theirs.close).start()
    raise RuntimeError("Gloo all-reduce failed: connection closed by peer")
"""


@pytest.mark.parametrize(("other_host", "code"), [("gone", RUN_AGAIN), ("alive", BUG)])
def test_an_operation_that_a_lost_host_broke_is_no_bug(other_host: str, code: int) -> None:
    """The error of the collective operation may come before the connection's end is seen."""
    ended = subprocess.run([sys.executable, "-c", BROKEN, other_host], capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert ("host 1 is gone" in ended.stderr) == (other_host == "gone")


def test_messages_are_json_lines() -> None:
    ours, theirs = socket.socketpair()
    ends: queue.Queue[tuple[int, str]] = queue.Queue()
    line = PeerMonitor({1: ours}, lambda code, message: ends.put((code, message)))
    line.close(2, "why")
    assert json.loads(theirs.recv(1000)) == {"end": 2, "message": "why"}
    theirs.close()
    assert ends.empty()
