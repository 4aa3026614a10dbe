"""A git server on 127.0.0.1: `git http-backend` behind Python's HTTP server."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

MAX_HANG_S = 30


@dataclass
class GitServer:
    """Serves the repositories below `root`; attributes may be changed while it runs.

    :param login: `user:password` that it asks for, if any.
    :param behaviour: `static` serves files, as a plain web server would; `hang` accepts and
        never answers; a number answers with that status and a page; a URL redirects there.
    :ivar logins: the `user:password` of each request, or "" where it brought none.
    """

    root: Path
    login: str = ""
    behaviour: Literal["git", "static", "hang"] | int | str = "git"
    port: int = 0
    logins: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, login: str = "") -> str:
        """Address of a repository, with or without credentials in it."""
        return f"http://{login}{'@' * bool(login)}127.0.0.1:{self.port}/{path}"


@contextmanager
def serve_git(root: Path, *, login: str = "") -> Iterator[GitServer]:
    """Run a server until the block is left."""
    server = GitServer(root, login)

    class Handler(_Handler):
        git = server

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
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
    git: GitServer

    def do_GET(self) -> None:
        """Answer a request; named by the base class."""
        self._answer()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr; named by the base class."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = (
            self._read_parts() if "Transfer-Encoding" in self.headers else self.rfile.read(length)
        )
        scheme, _, login = self.headers.get("Authorization", "").partition(" ")
        given = base64.b64decode(login).decode() if scheme == "Basic" else scheme + login
        self.git.logins.append(given)
        behaviour = self.git.behaviour
        if behaviour == "hang":
            self.git.stopped.wait(MAX_HANG_S)
        elif isinstance(behaviour, int):
            self._send(behaviour, b"<html>\nA page\n</html>\n")
        elif "://" in behaviour:
            self._send(302, b"", {"Location": behaviour + self.path})
        elif self.git.login not in ("", given):
            self._send(401, b"", {"WWW-Authenticate": 'Basic realm="git"'})
        elif behaviour == "static":
            file = self.git.root / self.path.partition("?")[0].lstrip("/")
            self._send(200, file.read_bytes()) if file.is_file() else self._send(404, b"")
        else:
            self._run_git(body)

    def _read_parts(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        return b"".join(parts)

    def _run_git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "GIT_PROJECT_ROOT": str(self.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        result = subprocess.run(
            ["git", "http-backend"],
            input=body,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            check=False,
        )
        head, _, content = result.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ((headers or {}) | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
