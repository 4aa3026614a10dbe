"""People who ask, as cheaply as they can be had: streams of lines over bare sockets, timed.

What a client of a library's making costs is taken from the app that is measured. Two ways to ask:
the API, as any OpenAI client does, and the routes that the page's own script asks.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from benchmarks.serving_stub import FIRST_WORD

FIRST_PASSAGE = 'id="a1p1"'  # of the evidence, on the page
TIMEOUT_S = 120.0  # of a whole answer


@dataclass(frozen=True)
class Asked:
    """One question, as its asker saw it. Seconds count from sending it; None: it never came.

    :param asked_model: whether a model was asked: it is not, where the evidence is too weak.
    :param problem: why there is no whole answer; None where there is.
    """

    evidence_s: float | None = None
    first_text_s: float | None = None
    total_s: float = 0.0
    asked_model: bool = True
    problem: str | None = None


class Ask(Protocol):
    """Asks one question and waits for the whole answer."""

    async def __call__(self, url: str, question: str, model: str) -> Asked:
        """Ask a server."""
        ...


async def ask_api(url: str, question: str, model: str, *, first_text: bool = False) -> Asked:
    """Ask `/v1/chat/completions`, of the app or of a model's server alike.

    :param first_text: hang up at the first text.
    """
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": question}],
    }
    start_s = time.perf_counter()
    first_s: float | None = None
    asked_model, done, problem = True, False, None
    async for line in read_lines(url, "POST", "/v1/chat/completions", body):
        if not line.startswith(b"data: "):
            continue
        if line == b"data: [DONE]":
            done = True
        elif first_s is None and b'"content": ""' not in line and b'"content":' in line:
            first_s = time.perf_counter() - start_s
            if first_text:
                return Asked(None, first_s, first_s, FIRST_WORD.encode() in line)
        elif b'"error"' in line:
            problem = line.decode()
        elif b'"abstained": true' in line:
            asked_model = False
    whole = None if done else "the stream ended before the answer did"
    return Asked(None, first_s, time.perf_counter() - start_s, asked_model, problem or whole)


async def ask_page(url: str, question: str, model: str) -> Asked:
    """Ask as the page's script does: send the question, follow the conversation."""
    start_s = time.perf_counter()
    body = {"text": question, "models": [model]}
    asked = b"".join([line async for line in read_lines(url, "POST", "/page/ask", body)])
    conversation = json.loads(asked)["conversation"]
    evidence_s: float | None = None
    first_s: float | None = None
    running, abstained, problem = True, False, None
    async for line in read_lines(url, "GET", f"/page/follow/{conversation}"):
        now_s = time.perf_counter() - start_s
        patch = json.loads(line)
        if evidence_s is None and FIRST_PASSAGE in patch.get("evidence", ""):
            evidence_s = now_s
        if first_s is None and FIRST_WORD.encode() in line:
            first_s = now_s
        running = bool(patch.get("running", running))
        said = str(patch.get("say", ""))
        problem = said if said.startswith("No answer") else problem
        abstained = abstained or "No answer found" in line.decode()
    if running and problem is None:
        problem = "the stream ended before the answer did"
    total_s = time.perf_counter() - start_s
    return Asked(evidence_s, first_s, total_s, not abstained, problem)


async def read_lines(
    url: str, method: str, path: str, body: dict[str, Any] | None = None
) -> AsyncIterator[bytes]:
    """Yield the lines of a reply as they come, empty ones left out.

    :raises ConnectionError: the status is not 200; the message is the reply.
    """
    place = urlsplit(url)
    content = b"" if body is None else json.dumps(body).encode()
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**24)
        with closing(writer):
            writer.write(request.encode() + content)
            head = await reader.readuntil(b"\r\n\r\n")
            pieces = _chunks(reader) if b"chunked" in head.lower() else _rest(reader)
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ConnectionError((head + b"".join([piece async for piece in pieces])).decode())
            held = b""
            async for piece in pieces:
                *lines, held = (held + piece).split(b"\n")
                for line in lines:
                    if line:
                        yield line
            if held:
                yield held


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while length := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(length + 2))[:-2]


async def _rest(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(2**16):
        yield piece
