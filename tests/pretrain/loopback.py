"""A server on this machine that serves files as the hub and as plain addresses do, with a test's faults."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Faults:
    """What goes wrong; counts go down with every time."""

    breaks: int = 0  # how often the connection breaks in the middle of a file
    break_after: int = 1000  # bytes of each such answer
    etag: str = ""  # in place of the true one
    status: int = 200  # of every answer
    ranges: bool = True  # whether a part of a file can be had
    page: bool = False  # answer with a web page
    redirects: bool = False  # of plain addresses; the hub always redirects to its store


@dataclass
class Loopback:
    """The server's files by path, its faults, and the requests that came."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    address: str = ""

    @property
    def store(self) -> str:
        """Where redirects lead: this server by its other name, as the hub's client tells hosts by name."""
        return self.address.replace("127.0.0.1", "localhost")

    def gets(self) -> list[str]:
        return [ranges for method, path, ranges in self.requests if method == "GET"]

    def publish(self, repo: str, content: bytes) -> None:
        """Put model.safetensors into a repo of the hub."""
        self.files[f"/{repo}/model.safetensors"] = content


def commit_of(content: bytes) -> str:
    """The commit in which a repo has this file."""
    return hashlib.sha1(content).hexdigest()


def make_handler(server: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            server.requests.append((self.command, self.path, self.headers.get("Range", "")))
            faults = server.faults
            repo, is_hub, rest = self.path.partition("/resolve/")
            path = f"{repo}/{rest.partition('/')[2]}" if is_hub else self.path.removeprefix("/store")
            content = server.files.get(path)
            if content is None or faults.status != 200:
                return self.start(404 if content is None else faults.status, {"Content-Length": "0"})
            if faults.page:
                return self.whole(b"<html>please log in</html>", {"Content-Type": "text/html; charset=utf-8"})
            digest = faults.etag or hashlib.sha256(content).hexdigest()
            headers = {"ETag": f'"{digest}"', "Content-Type": "application/octet-stream"}
            if is_hub:
                size = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"'}
                location = {"Location": f"{server.store}/store{path}", "Content-Length": "0"}
                return self.start(302, {**size, "X-Repo-Commit": commit_of(content), **location})
            if faults.redirects and not self.path.startswith("/store"):
                return self.start(302, {"Location": f"{server.store}/store{path}", "Content-Length": "0"})
            return self.file(content, headers)

        def file(self, content: bytes, headers: dict[str, str]) -> None:
            wanted = self.headers.get("Range", "")
            start = 0
            if wanted and server.faults.ranges:
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.whole(content[start:], headers, 206 if "Content-Range" in headers else 200)

        def whole(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
            self.start(status, {**headers, "Content-Length": str(len(content))})
            if self.command == "HEAD":
                return
            if server.faults.breaks:
                server.faults.breaks -= 1
                self.wfile.write(content[: server.faults.break_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content)

        def start(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


@contextlib.contextmanager
def serving() -> Iterator[Loopback]:
    """Serve until the block ends."""
    server = Loopback()
    http = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(server))
    server.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
