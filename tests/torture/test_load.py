"""However many ask, look on or go away without a word: the app's memory has a bound."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from app.desk import MAX_FOLLOWERS
from benchmarks.footprint import measure
from benchmarks.serving import serve_stub
from benchmarks.serving_client import ask_page
from benchmarks.serving_stub import NAME
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder
from tests.torture.conftest import Cases, Tally

ROOT = Path(__file__).parents[2]
WATCHED_S = 5.0
QUESTION = "How does the TokenBucket refill its tokens?"
# What `codeqa chat` does, in a process of its own, without an embedding model.
SERVER = """
import sys
from pathlib import Path
from app.history import History
from app.models import open_models
from app.rate_limits import RateLimits
from app.web import launch
from app.workspace import Workspace
from tests.fakes import FakeEncoder
index, history, model = sys.argv[1:]
chat = launch(
    Workspace(Path(index), embedder=FakeEncoder()), open_models([model]),
    History(Path(history), scope="index"), port=0, block=False, rates=RateLimits(["none"]),
)
print(chat.url, flush=True)
chat.wait()
"""


@contextmanager
def serve(tiny_repo: Path, *, tokens: int, rate: float) -> Iterator[tuple[str, int]]:
    """Serve an index of a small repository; yield the URL and the process."""
    index, history = tiny_repo.parent / "index", tiny_repo.parent / "conversations.sqlite"
    CodeIndex.build([str(tiny_repo)], index, embedder=FakeEncoder()).close()
    with serve_stub(tokens, rate) as model:
        command = [sys.executable, "-c", SERVER, str(index), str(history), model]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                yield process.stdout.readline().strip(), process.pid
            finally:
                process.kill()


def test_thousands_of_conversations_leave_nothing_behind(
    tiny_repo: Path, cases: Cases, tally: Tally
) -> None:
    """Compared are two halves: what is loaded and cached once is there after the first."""
    conversations = cases(100, 5_000)
    with serve(tiny_repo, tokens=20, rate=1_000.0) as (url, process):

        async def ask(count: int) -> None:
            for _ in range(count // 10):
                asked = await asyncio.gather(*(ask_page(url, QUESTION, NAME) for _ in range(10)))
                assert [each.problem for each in asked if each.problem] == []

        asyncio.run(ask(conversations // 2))
        before = measure(process)
        asyncio.run(ask(conversations // 2))
        after = measure(process)
    grown_mb = after.pss_mb - before.pss_mb
    tally("memory over conversations", conversations=conversations, grown_MB=f"{grown_mb:.1f}")
    assert grown_mb < 20
    assert after.threads <= before.threads + 10
    assert after.open_files <= before.open_files + 10


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "never reading"])
def test_a_thousand_who_follow_are_refused_past_a_bound_and_take_little_memory(
    tiny_repo: Path, cases: Cases, tally: Tally, reads: bool
) -> None:
    connections = cases(600, 1_000)
    with serve(tiny_repo, tokens=3_000, rate=100.0) as (url, process):
        asked = httpx.post(f"{url}/page/ask", json={"text": QUESTION, "models": [NAME]}).json()
        before = measure(process)
        place = urlsplit(url)
        path = f"/page/follow/{asked['conversation']}"
        request = f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
        opened: list[socket.socket] = []
        for _ in range(connections):
            with suppress(OSError):
                one = socket.create_connection((str(place.hostname), int(place.port or 0)), 10)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                one.sendall(request)
                opened.append(one)
        statuses = [_read_status(one) for one in opened] if reads else []
        with httpx.Client(base_url=url, timeout=30) as client:  # others are served meanwhile
            time.sleep(WATCHED_S)
            found = client.get("/healthz")
            assert found.status_code in (200, 503)
            after = measure(process)
        for one in opened:
            one.close()
        quoted = asyncio.run(_ask_until_answered(url))
    grown_mb = after.pss_mb - before.pss_mb
    refused = sum(status != 200 for status in statuses)
    tally(
        f"connections that follow, {'reading' if reads else 'never reading'}",
        connections=len(opened),
        refused=refused if reads else "unread",
        grown_MB=f"{grown_mb:.0f}",
    )
    assert grown_mb < 150
    assert quoted
    if reads:
        assert statuses.count(200) <= MAX_FOLLOWERS
        assert set(statuses) <= {200, 429, 503} and 429 in statuses


def _read_status(connection: socket.socket) -> int:
    head = b""
    with suppress(OSError):
        while b" " not in head[9:13] and (piece := connection.recv(64)):
            head += piece
    return int(head.split()[1]) if head else 503


async def _ask_until_answered(url: str) -> bool:
    """Ask as soon as those who have gone have made room."""
    for _ in range(20):
        try:
            asked = await ask_page(url, QUESTION, "")
            return asked.problem is None
        except (ConnectionError, json.JSONDecodeError, KeyError):
            await asyncio.sleep(1.0)
    return False
