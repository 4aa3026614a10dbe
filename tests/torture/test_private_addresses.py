"""The server asks no address inside its network for whoever adds a repository from outside it.

The route is the one that the page uses, on a server that others reach. A listener on this machine
counts who connects to it, whatever the address looked like.
"""

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from retrieval.index import CodeIndex
from tests.app.guarded import BEARER, served_to_others
from tests.fakes import FakeEncoder
from tests.git_repositories import make_repository
from tests.torture.conftest import Cases, Tally

HOSTS = (  # each is this machine, its network or a cloud's
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1"),
    *("017700000001", "127.0.0.1.", "127.000.000.001", "0", "0.0.0.0", "localhost", "localhost."),
    *("LOCALHOST", "LocalHost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]"),
    *("①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "127.0.0.1%00.example.invalid"),
    *("example.invalid@127.0.0.1", "example.invalid%40127.0.0.1", "127.0.0.1#@example.invalid"),
    *("127.0.0.1\\@example.invalid", "example.invalid:443@127.0.0.1", "user:word@127.0.0.1"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "169.254.169.254"),
    *("[fd00:ec2::254]", "[fc00::1]", "[fe80::1]", "[ff02::1]", "224.0.0.1", "255.255.255.255"),
    *("100.100.100.200", "168.63.129.16", "2852039166", "0xA9FEA9FE", "192.0.2.1", "240.0.0.1"),
)
FORMS = (
    "https://{host}:{port}/a.git",
    "http://{host}:{port}/a.git",
    "docs+https://{host}:{port}/guide/",
    "docs+http://{host}:{port}/",
    "ssh://git@{host}:{port}/a.git",
    "git@{host}:a.git",
    "git://{host}:{port}/a",
    "https://{host}:{port}/a.git@main",
    "ftp://{host}:{port}/a",
    "ext::curl {host}:{port}",
)
OTHERS = (
    *("/etc", "/", ".", "..", "~", "file:///etc", "file://localhost/etc", "FILE:///etc"),
    *("docs+file:///etc/", "--upload-pack=touch x", "-o ProxyCommand=touch", "\\\\host\\share"),
    *("gopher://127.0.0.1/", "dict://127.0.0.1:11211/", "data:text/html,x", "unix:/run/x.sock"),
)


class Listener:
    """Takes connections on a port of this machine and counts them."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        """Take no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    socket.create_connection(("127.0.0.1", listener.port)).close()  # it does count
    yield listener
    listener.close()


def refused(client: httpx.Client, spec: str) -> bool:
    """Ask to add a repository; whether that was refused."""
    body: dict[str, Any] = {"data": [spec], "fn_index": 0, "session_hash": "x"}
    reply = client.post("/gradio_api/run/predict", json=body)
    assert reply.status_code == 200, spec
    return 'class="failure"' in reply.json()["data"][1]


def wait_until_done(client: httpx.Client) -> None:
    """Wait until nothing is being indexed."""
    end_s = time.monotonic() + 60
    while client.get("/page/start").json()["building"]:
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_no_private_address_is_asked_for_whoever_adds_a_repository(
    tmp_path: Path, listener: Listener, cases: Cases, tally: Tally
) -> None:
    repository = make_repository(tmp_path / "limits", {"README.md": "# Limits\n"})
    CodeIndex.build([str(repository)], tmp_path / "index", embedder=FakeEncoder()).close()
    specs = [form.format(host=host, port=listener.port) for form in FORMS for host in HOSTS]
    tried = [*random.Random(0).sample(specs, cases(100, len(specs))), *OTHERS]
    later = 0
    with (
        served_to_others(tmp_path / "index", tmp_path / "c.sqlite", limits=("none",)) as chat,
        httpx.Client(base_url=chat.url, headers=BEARER, timeout=30) as client,
    ):
        for spec in tried:
            if not refused(client, spec):  # its server has a name, which is looked up later
                later += 1
                wait_until_done(client)
    with CodeIndex.open(tmp_path / "index", embedder=FakeEncoder()) as index:
        names = [record.name for record in index.manifest.repositories]
    tally(
        "private addresses, as repositories on the page",
        addresses=len(tried),
        refused_at_once=len(tried) - later,
        indexed=len(names) - 1,
        connections=listener.connections - 1,
    )
    assert names == ["limits"]
    assert listener.connections == 1
    assert later <= len(tried) // 50
