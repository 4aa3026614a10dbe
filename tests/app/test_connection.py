"""Connections that dribble, and requests without end, over real sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from app.connection import MAX_HEAD_BYTES, BoundedConnection

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


class HastyConnection(BoundedConnection):
    """Gives a request half a second for each of its parts, and a reply to be taken."""

    head_s = body_s = stalled_s = 0.5
    max_body_bytes = 1_000_000


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and say how long it was."""
    length = 0
    while (message := await receive())["type"] == "http.request":
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


def talk(say: Talk, app: ASGIApp = answer) -> bytes:
    """Serve, connect, and return what the other side heard until it was cut off or had enough."""

    async def run() -> bytes:
        config = uvicorn.Config(app, ws="none", access_log=False)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: HastyConnection(config=config, server_state=state, app_state={}), "127.0.0.1"
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await asyncio.wait_for(say(reader, writer), 10)
            finally:
                writer.close()

    return asyncio.run(run())


async def heard(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends."""
    said = b""
    try:
        while piece := await reader.read(1_000):
            said += piece
    except ConnectionError:
        pass
    return said


def dribble(first: bytes, piece: bytes) -> Talk:
    """Say something at once, then a little more, for as long as somebody listens."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(first)
        listening = asyncio.ensure_future(heard(reader))
        while not listening.done():
            writer.write(piece)
            await asyncio.sleep(0.05)
        return await listening

    return say


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (b"", b"G"),
        (HEAD, b"X-Slow: 1\r\n"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 1\r\n"),
    ],
    ids=["silent", "half a line", "letters", "headers", "body", "chunks", "trailers"],
)
def test_who_dribbles_is_cut_off(first: bytes, piece: bytes) -> None:
    said = talk(dribble(first, piece))
    assert b"200 OK" not in said


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (HEAD, b"X-Long: " + b"x" * 20_000 + b"\r\n"),
        (HEAD + b"X-Long: ", b"x" * 20_000),
        (b"GET /", b"x" * 20_000),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4e20\r\n" + b"x" * 20_000 + b"\r\n"),
    ],
    ids=["headers", "one header", "address", "body"],
)
def test_a_request_without_end_is_cut_off(first: bytes, piece: bytes) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        listening = asyncio.ensure_future(heard(reader))
        writer.write(first)
        poured = 0
        try:
            while not listening.done():
                writer.write(piece)
                poured += len(piece)
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        assert poured > MAX_HEAD_BYTES
        return await listening

    assert b"200 OK" not in talk(pour)


def test_who_takes_nothing_of_a_reply_is_cut_off() -> None:
    sent: list[int] = []

    async def pour(scope: Scope, receive: Receive, send: Send) -> None:
        async def hear_the_end() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        await send({"type": "http.response.start", "status": 200, "headers": []})
        ended = asyncio.ensure_future(hear_the_end())
        while not ended.done():  # it is held up as soon as nobody takes what is there
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            sent.append(65_536)
            await asyncio.sleep(0)

    async def take_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        cast(asyncio.Transport, writer.transport).pause_reading()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        before = 0
        while before != len(sent) or not sent:  # until it is cut off, or held up for good
            before = len(sent)
            await asyncio.sleep(1.0)
        cast(asyncio.Transport, writer.transport).resume_reading()
        return await heard(reader)

    assert len(talk(take_nothing, pour)) < sum(sent) < 50_000_000


def test_who_asks_in_time_is_answered_again_and_again() -> None:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        said = b""
        for _ in range(4):  # together for longer than one request may take
            writer.write(HEAD + b"Content-Length: 3\r\n\r\nabc")
            said += await reader.readuntil(b"\r\n\r\n3")
            await asyncio.sleep(0.25)
        return said

    assert talk(ask).count(b"200 OK") == 4


def test_a_long_answer_is_not_hurried() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        await asyncio.sleep(1.0)
        return await reader.readuntil(b"\r\n\r\n0")

    assert b"200 OK" in talk(wait)
