"""A model server without a model: it streams at a steady rate, and costs next to nothing.

    python -m benchmarks.serving_stub --tokens 100 --rate 20 --first 0.2

An OpenAI-compatible server in a process of its own, for `benchmarks.serving`: what it takes of the
machine is taken from the app that is measured, so it is written on bare sockets. It prints its URL
and serves until it is killed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial

NAME = "steady"
FIRST_WORD = "Steadily"  # by which text of an answer is known
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve at a free port."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving_stub", description=__doc__)
    parser.add_argument("--tokens", type=int, default=100, help="of an answer")
    parser.add_argument("--rate", type=float, default=20.0, help="tokens a second")
    parser.add_argument("--first", type=float, default=0.2, help="seconds to the first token")
    asyncio.run(_serve(parser.parse_args(arguments)))
    return 0


def reply_tokens(count: int) -> list[str]:
    """The tokens of every answer: words, and here and there a citation."""
    words = "the value is read from the passage and kept until it is asked for".split()
    rest = (
        " [1]." if number % 25 == 24 else f" {words[number % len(words)]}"
        for number in range(1, count)
    )
    return [FIRST_WORD, *rest]


async def _serve(options: argparse.Namespace) -> None:
    pieces = [_event({"content": token}) for token in reply_tokens(options.tokens)]
    answer = partial(_answer, pieces, options.first, 1 / options.rate)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _answer(
    pieces: Sequence[bytes],
    first_s: float,
    step_s: float,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Answer one request and close."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            models = {"object": "list", "data": [{"id": NAME, "object": "model"}]}
            writer.write(HEAD % b"application/json" + json.dumps(models).encode())
        else:
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().splitlines()
                if line.startswith(b"content-length")
            )
            request = json.loads(await reader.readexactly(length))
            usage = (request.get("stream_options") or {}).get("include_usage")
            await _stream(pieces, first_s, step_s, writer, with_usage=bool(usage))
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the client has gone
    finally:
        writer.close()


async def _stream(
    pieces: Sequence[bytes],
    first_s: float,
    step_s: float,
    writer: asyncio.StreamWriter,
    *,
    with_usage: bool,
) -> None:
    """Send each piece when it is due, however long the one before took."""
    loop = asyncio.get_running_loop()
    due_s = loop.time() + first_s
    writer.write(HEAD % b"text/event-stream")
    for piece in pieces:
        await asyncio.sleep(due_s - loop.time())
        writer.write(piece)
        await writer.drain()
        due_s += step_s
    writer.write(_event({}, "stop"))
    if with_usage:
        tokens = {"prompt_tokens": 4_000, "completion_tokens": len(pieces)}
        usage = {**tokens, "total_tokens": sum(tokens.values())}
        writer.write(_line({**_envelope(), "choices": [], "usage": usage}))
    writer.write(b"data: [DONE]\n\n")


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _line({**_envelope(), "choices": [choice]})


def _envelope() -> dict[str, object]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": NAME}


def _line(body: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


if __name__ == "__main__":
    sys.exit(main())
