"""A web server on 127.0.0.1 that answers as a test tells it to."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_HANG_S = 30


@dataclass(frozen=True)
class Reply:
    """What the server sends.

    :param hang_s: how long it waits after the headers.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "text/html; charset=utf-8"
    hang_s: float = 0.0


Response = Reply | Callable[[dict[str, str]], Reply]  # of the request's headers


def page(content: str, title: str = "Limits") -> Reply:
    """A page of HTML with `content` in its main part."""
    html = f"<html><head><title>{title}</title></head><body><main>{content}</main></body></html>"
    return Reply(html.encode())


@dataclass
class SiteServer:
    """Serves replies by path, 404 elsewhere; they may be changed while it runs.

    :ivar requests: (path, headers) of each request so far.
    """

    host: str
    port: int = 0
    replies: dict[str, Response] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/") -> str:
        """Address of a path."""
        return f"http://{self.host}:{self.port}{path}"

    def asked(self) -> list[str]:
        """The paths that were asked for since this was last called."""
        paths = [path for path, _ in self.requests]
        self.requests.clear()
        return paths


@contextmanager
def serve_site(host: str = "127.0.0.1") -> Iterator[SiteServer]:
    """Run a server until the block is left."""
    server = SiteServer(host)

    class Handler(_Handler):
        site = server

    with ThreadingHTTPServer((host, 0), Handler) as http:
        http.daemon_threads = True
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            http.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    site: SiteServer
    protocol_version = "HTTP/1.1"
    timeout = MAX_HANG_S  # of a connection kept open

    def do_GET(self) -> None:
        """Answer a request; named by the base class."""
        headers = dict(self.headers.items())
        self.site.requests.append((self.path, headers))
        reply = self.site.replies.get(self.path, Reply(b"no such page", 404))
        if not isinstance(reply, Reply):
            reply = reply(headers)
        self.send_response(reply.status)
        fixed = {"Content-Type": reply.type, "Content-Length": str(len(reply.body))}
        for name, value in (fixed | reply.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.site.stopped.wait(reply.hang_s)
        self.wfile.write(reply.body)

    def handle(self) -> None:
        """Serve one connection; named by the base class."""
        with contextlib.suppress(ConnectionError):  # the client has hung up
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr; named by the base class."""
