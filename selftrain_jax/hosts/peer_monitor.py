"""TCP connections from every host to host 0, to wait for all at the start and to notice early ends later.

JAX's own start-up aborts the process if a host does not connect. Later it takes a minute or more to notice a
dead host, while all others hang in a collective operation. `wait_for_peers` waits and prints which hosts are
missing; the `PeerMonitor` that it returns ends this process with a message when another host ends early.
Messages are JSON lines and are not trusted: a message that cannot be parsed means that the host is lost.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from selftrain_jax.errors import RUN_AGAIN, RunAgainError
from selftrain_jax.text import shorten_list

POLL_SECS = 0.2
REPORT_EVERY_SECS = 10.0
MAX_LINE_BYTES = 10_000

End = Callable[[int, str], None]


def wait_for_peers(
    address: str, num_hosts: int, index: int, wait_secs: float, end: End | None = None
) -> "PeerMonitor":
    """Wait until all hosts have connected to host 0, which listens at `address` ("name:port").

    `end` is called in a thread when another host ends early; by default it ends this process.

    Raises:
        RunAgainError: a host did not connect within `wait_secs`; the message names it.
    """
    name, _, port = address.rpartition(":")
    deadline = time.monotonic() + wait_secs
    if index == 0:
        return PeerMonitor(_receive_all(int(port), num_hosts, deadline), end or end_process)
    waiting = f"waiting up to {wait_secs:.0f} s"
    print(f"hosts: host {index} of {num_hosts} reports to {address}, {waiting}", flush=True)
    return PeerMonitor({0: _report(name, int(port), num_hosts, index, deadline)}, end or end_process)


class PeerMonitor:
    """The open connections; a thread for each calls `end(exit code, message)` if its host ends early."""

    def __init__(self, peers: dict[int, socket.socket], end: End) -> None:
        self._peers, self._end = peers, end
        self._is_over = False
        for host, peer in peers.items():
            threading.Thread(target=self._watch, args=(host, peer), daemon=True).start()

    def close(self, code: int = 0, message: str = "") -> None:
        """Tell the others that this host ends; if the code is not 0 they end with the same code."""
        self._is_over = True
        self._tell(code, message)
        for peer in self._peers.values():
            peer.close()

    def _watch(self, host: int, peer: socket.socket) -> None:
        code, message = _read_end(peer) or (RUN_AGAIN, f"host {host} is gone")
        if code == 0 or self._is_over:
            return
        self._is_over = True
        self._tell(code, message, skip=host)
        self._end(code, message)

    def _tell(self, code: int, message: str, skip: int = -1) -> None:
        for host, peer in self._peers.items():
            if host != skip:
                _send(peer, {"end": code, "message": message})


def end_process(code: int, message: str) -> None:
    """Print why and end at once, which is safe since files are written whole or not at all."""
    again = "; the same command resumes from the last checkpoint" if code == RUN_AGAIN else ""
    print(f"{message}{again}" if again else f"error: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _receive_all(port: int, num_hosts: int, deadline: float) -> dict[int, socket.socket]:
    """Accept the other hosts, printing from time to time which are missing; then tell all to start."""
    peers: dict[int, socket.socket] = {}
    last_report = -REPORT_EVERY_SECS
    with socket.create_server(("", port), reuse_port=False) as server:
        server.settimeout(POLL_SECS)
        while len(peers) < num_hosts - 1:
            missing = [host for host in range(1, num_hosts) if host not in peers]
            left_secs = deadline - time.monotonic()
            if left_secs <= 0:
                raise RunAgainError(_missing(num_hosts, missing) + "; they did not connect in time")
            if time.monotonic() - last_report >= REPORT_EVERY_SECS:
                last_report = time.monotonic()
                print(f"{_missing(num_hosts, missing)}, waiting up to {left_secs:.0f} s", flush=True)
            _accept(server, peers, num_hosts)
    print(f"hosts: {num_hosts} of {num_hosts} are here", flush=True)
    for peer in peers.values():
        _send(peer, {"start": True})
    return peers


def _missing(num_hosts: int, missing: list[int]) -> str:
    return f"hosts: {num_hosts - len(missing)} of {num_hosts} are here, missing: {shorten_list(missing, 8)}"


def _accept(server: socket.socket, peers: dict[int, socket.socket], num_hosts: int) -> None:
    """Accept one connection if it names a host that is missing."""
    try:
        peer, _ = server.accept()
    except TimeoutError:
        return
    peer.settimeout(5.0)
    hello = _read_line(peer) or {}
    host = hello.get("host")
    is_expected = hello.get("num_hosts") == num_hosts
    if is_expected and isinstance(host, int) and 0 < host < num_hosts and host not in peers:
        _keep_alive(peer)
        peers[host] = peer
    else:
        print(f"hosts: refused a connection that said {str(hello)[:200]}", flush=True)
        peer.close()


def _report(name: str, port: int, num_hosts: int, index: int, deadline: float) -> socket.socket:
    """Connect to host 0 as soon as it listens, send this host's index, and wait for the message to start."""
    while True:
        try:
            peer = socket.create_connection((name, port), timeout=5.0)
            _send(peer, {"host": index, "num_hosts": num_hosts})
            peer.settimeout(max(deadline - time.monotonic(), 1.0) + 5.0)
            if (_read_line(peer) or {}).get("start"):
                _keep_alive(peer)
                return peer
            reason = "it closed the connection: another number of hosts, or the same --host twice?"
        except OSError as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise RunAgainError(f"hosts: host 0 did not accept host {index} at {name}:{port} ({reason})")
        time.sleep(POLL_SECS)


def _read_end(peer: socket.socket) -> tuple[int, str] | None:
    """Wait for the message with which a host ends; None if the connection broke before."""
    end = _read_line(peer) or {}
    code, message = end.get("end"), end.get("message")
    return (code, message) if isinstance(code, int) and isinstance(message, str) else None


def _send(peer: socket.socket, message: dict[str, Any]) -> None:
    try:
        peer.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return  # the connection's own thread notices that the host is gone


def _read_line(peer: socket.socket) -> dict[str, Any] | None:
    """Read one JSON object; None if the connection breaks or sends anything else."""
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
            byte = peer.recv(1)
            if not byte:
                return None
            line += byte
        message = json.loads(line)
    except (OSError, ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _keep_alive(peer: socket.socket) -> None:
    """Wait for messages without a timeout; keep-alive packets reveal a machine that lost its power."""
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
