"""A stop cuts short what is waited for, whenever it comes."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from app.stopping import Stop, cut_on_stop


def test_what_was_begun_before_a_stop_is_cut_short_once() -> None:
    stop, cut = Stop(), []
    stop.on_set(lambda: cut.append("one"))
    assert not stop.wait(0) and not cut
    stop.set()
    stop.set()
    assert stop.is_set() and cut == ["one"]


def test_what_begins_after_a_stop_is_cut_short_at_once() -> None:
    stop, cut = Stop(), []
    stop.set()
    stop.on_set(lambda: cut.append("late"))
    assert cut == ["late"]


def test_a_request_that_nobody_may_stop_is_left_alone() -> None:
    request = httpx.Request("GET", "http://localhost")
    cut_on_stop(request)
    assert "trace" not in request.extensions
    with Stop().watching():
        cut_on_stop(request)
    assert "trace" in request.extensions


class _Silent(BaseHTTPRequestHandler):
    """Takes a request, says so, and never answers."""

    asked = threading.Event()
    gone = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        self.rfile.read(1)  # returns when the client has gone
        self.gone.set()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def secure_url(tmp_path: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A server that speaks TLS and never answers, and what a client trusts it by."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
        + ["subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    trusted = ssl.create_default_context(cafile=str(certificate))
    yield f"https://127.0.0.1:{server.server_port}", trusted
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_connection_with_tls_is_closed_too(secure_url: tuple[str, ssl.SSLContext]) -> None:
    url, trusted = secure_url
    stop, errors = Stop(), []

    def ask() -> None:
        hooks = {"request": [cut_on_stop]}
        client = httpx.Client(verify=trusted, timeout=60, trust_env=False, event_hooks=hooks)
        with stop.watching(), client:
            try:
                client.get(url)
            except httpx.HTTPError as error:
                errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert _Silent.asked.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive() and errors
    assert _Silent.gone.wait(10)
