"""A TCP connection from every host to host 0: who has come at the start, and who is gone later.

JAX's own start-up aborts the process when a host does not come, and takes a minute or more to notice a dead
one, with everyone hanging in a collective meanwhile. `wait_for_peers` waits and says for whom; the
`PeerMonitor` that it returns ends the process with a message as soon as another host ends early. Messages are
JSON lines, trusted as little as any input: one that cannot be parsed means that the host is lost.
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

POLL_SECS = 0.2
SAY_EVERY_SECS = 10.0
LONGEST_LINE = 10_000

End = Callable[[int, str], None]


def wait_for_peers(
    address: str, num_hosts: int, index: int, wait_secs: float, end: End | None = None
) -> "PeerMonitor":
    """Wait until all hosts have come to host 0, which listens at `address` ("name:port").

    `end` is called, in a thread, when another one ends early; it ends this process unless given.

    Raises:
        RunAgainError: somebody did not come within `wait_secs`; the message says who and where.
    """
    name, _, port = address.rpartition(":")
    deadline = time.monotonic() + wait_secs
    if index == 0:
        return PeerMonitor(_receive_all(int(port), num_hosts, deadline), end or end_process)
    print(
        f"hosts: host {index} of {num_hosts} reports to {address}, waiting up to {wait_secs:.0f} s",
        flush=True,
    )
    return PeerMonitor({0: _report(name, int(port), num_hosts, index, deadline)}, end or end_process)


class PeerMonitor:
    """The open connections; a thread for each calls `end(exit code, message)` when its host ends early."""

    def __init__(self, peers: dict[int, socket.socket], end: End) -> None:
        self._peers, self._end = peers, end
        self._is_over = False
        for host, peer in peers.items():
            threading.Thread(target=self._watch, args=(host, peer), daemon=True).start()

    def close(self, code: int = 0, message: str = "") -> None:
        """Tell the others that this host ends: with 0 in peace, else they end with the same code."""
        self._is_over = True
        self._tell(code, message)
        for peer in self._peers.values():
            peer.close()

    def _watch(self, host: int, peer: socket.socket) -> None:
        code, message = _last_words(peer) or (RUN_AGAIN, f"host {host} is gone")
        if code == 0 or self._is_over:
            return
        self._is_over = True
        self._tell(code, message, but=host)
        self._end(code, message)

    def _tell(self, code: int, message: str, but: int = -1) -> None:
        for host, peer in self._peers.items():
            if host != but:
                _send(peer, {"end": code, "message": message})


def end_process(code: int, message: str) -> None:
    """Say why and end now, in the middle of whatever it is: files are written whole or not at all."""
    again = "; the same command goes on from the last checkpoint" if code == RUN_AGAIN else ""
    print(f"{message}{again}" if again else f"error: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _receive_all(port: int, num_hosts: int, deadline: float) -> dict[int, socket.socket]:
    """Accept the other hosts, saying from time to time who is missing; then tell all that they may start."""
    peers: dict[int, socket.socket] = {}
    last_said = -SAY_EVERY_SECS
    with socket.create_server(("", port), reuse_port=False) as server:
        server.settimeout(POLL_SECS)
        while len(peers) < num_hosts - 1:
            missing = [host for host in range(1, num_hosts) if host not in peers]
            left_secs = deadline - time.monotonic()
            if left_secs <= 0:
                raise RunAgainError(_missing(num_hosts, missing) + "; they did not come in time")
            if time.monotonic() - last_said >= SAY_EVERY_SECS:
                last_said = time.monotonic()
                print(f"{_missing(num_hosts, missing)}, waiting up to {left_secs:.0f} s", flush=True)
            _accept(server, peers, num_hosts)
    print(f"hosts: {num_hosts} of {num_hosts} are here", flush=True)
    for peer in peers.values():
        _send(peer, {"start": True})
    return peers


def _missing(num_hosts: int, missing: list[int]) -> str:
    names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    return f"hosts: {num_hosts - len(missing)} of {num_hosts} are here, missing: {names}"


def _accept(server: socket.socket, peers: dict[int, socket.socket], num_hosts: int) -> None:
    """Let one connection in if it names a host that is missing."""
    try:
        peer, _ = server.accept()
    except TimeoutError:
        return
    peer.settimeout(5.0)
    hello = _read_line(peer) or {}
    host = hello.get("host")
    if (
        isinstance(host, int)
        and 0 < host < num_hosts
        and hello.get("num_hosts") == num_hosts
        and host not in peers
    ):
        _watch_over(peer)
        peers[host] = peer
    else:
        print(f"hosts: refused a connection that said {str(hello)[:200]}", flush=True)
        peer.close()


def _report(name: str, port: int, num_hosts: int, index: int, deadline: float) -> socket.socket:
    """Connect to host 0 as soon as it listens, say who this is, and wait for its word to start."""
    while True:
        try:
            peer = socket.create_connection((name, port), timeout=5.0)
            _send(peer, {"host": index, "num_hosts": num_hosts})
            peer.settimeout(max(deadline - time.monotonic(), 1.0) + 5.0)
            if (_read_line(peer) or {}).get("start"):
                _watch_over(peer)
                return peer
            reason = "it hung up: another number of hosts, or the same --host twice?"
        except OSError as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise RunAgainError(f"hosts: host 0 did not let host {index} in at {name}:{port} ({reason})")
        time.sleep(POLL_SECS)


def _last_words(peer: socket.socket) -> tuple[int, str] | None:
    """Wait until a host says that it ends; None when the connection broke before."""
    words = _read_line(peer) or {}
    code, message = words.get("end"), words.get("message")
    return (code, message) if isinstance(code, int) and isinstance(message, str) else None


def _send(peer: socket.socket, words: dict[str, Any]) -> None:
    try:
        peer.sendall(json.dumps(words).encode() + b"\n")
    except OSError:
        return  # it is gone, which its own thread sees


def _read_line(peer: socket.socket) -> dict[str, Any] | None:
    """Read one JSON object; None for a broken connection or anything else."""
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            byte = peer.recv(1)
            if not byte:
                return None
            line += byte
        words = json.loads(line)
    except (OSError, ValueError, RecursionError):
        return None
    return words if isinstance(words, dict) else None


def _watch_over(peer: socket.socket) -> None:
    """Wait for its words for ever, but ask every few seconds: a machine without power is missed too."""
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
