"""A web server on this machine that misbehaves as told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves bytes by name.

    Attributes:
        files: what there is.
        ranges: whether it goes on from a byte.
        lengths: whether it says how long an answer is.
        breaks: for each request to come, after how many bytes the connection breaks.
        codes: for each request to come, the status that it gets in place of an answer.
        seen: path and `Range` of every request.
        gate: answers wait for it.
    """

    daemon_threads = True

    def __init__(self, **files: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.ranges = self.lengths = True
        self.breaks: list[int] = []
        self.codes: list[int] = []
        self.seen: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.seen.append((self.path, wanted))
        server.gate.wait(30)
        content = server.files.get(self.path.removeprefix("/data/"))
        code = server.codes.pop(0) if server.codes else 404 if content is None else 200
        if code != 200:
            self.send_error(code)
            return
        assert content is not None
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first:][: server.breaks.pop(0) if server.breaks else None])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(**files: bytes) -> Iterator[FileServer]:
    """A server while the block lasts."""
    server = FileServer(**files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
