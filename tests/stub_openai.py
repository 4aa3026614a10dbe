"""A stub of an OpenAI-compatible server, over real HTTP: the test double for `--llm URL`.

It answers as vLLM does, errors included, so that a test meets the same bytes as a user.
It holds no model, checks no prompt and listens on 127.0.0.1 only::

    with StubOpenAI(reply="Look at `app/llm.py#L1-L9`.") as stub:
        chat = open_chat_model(stub.url)            # GET /v1/models, one model
        print(*stream_text(chat, messages))         # POST /v1/chat/completions
    assert stub.requests[-1].messages[-1]["content"] == "where is the code?"

`reply` is a text, or a function from the messages (`[{"role": …, "content": …}]`) to one.
It is sent in deltas of `delta_chars` characters, `delay_s` before each. Every setting is
an attribute and may be changed while the server runs.

`fault` breaks the chat, `models_fault` the list of models. It is an HTTP status, or one of:

================  ===============================================================
`hang`            takes the request and never answers
`stall`           sends the first half of the reply, then nothing more
`drop`            sends the first half, then cuts the connection
`truncate`        sends the first half, then ends politely, with no finish reason
`error_event`     sends the first half, then an error inside the stream
`empty`           finishes with no text at all
`html`            answers 200 with a web page
`not_json`        answers 200 with `application/json` that is none
`unauthorized`    401, as without a key
`unknown_model`   404, as for a model that is not served
`context_length`  400, as for a prompt longer than the model's context
`rate_limit`      429, with `Retry-After: 60`
`bad_gateway`     502 with a web page, as from a proxy whose server is down
`no_counting`     400 to requests with `stream_options`, as servers that do not know them
================  ===============================================================

`log_shares`, a function from a prompt to its tokens and their log probabilities, makes it serve
`/v1/completions` with `echo` and `logprobs` as well, with one more token as the answer; without
it, that is 404.

`finish_reason` is `length` where a server ends the answer at its limit. Asked to count
(`stream_options`), it takes every word of the messages for a token, and every delta.

`parents` says of adapters among the models which model they adapt, as vLLM does.

With `api_key` set, any other key gets `unauthorized`. A model that is not in `models` gets
`unknown_model`. A fault that waits ends when the client goes or the server closes.
"""

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Message = dict[str, Any]
Fault = (
    int
    | Literal[
        "hang",
        "stall",
        "drop",
        "truncate",
        "error_event",
        "empty",
        "html",
        "not_json",
        "unauthorized",
        "unknown_model",
        "context_length",
        "rate_limit",
        "bad_gateway",
        "no_counting",
    ]
)

LogShares = Callable[[str], tuple[list[str], list[float | None]]]

STATUSES = {"unauthorized": 401, "unknown_model": 404, "context_length": 400, "rate_limit": 429}
HALFWAY = ("stall", "drop", "truncate", "error_event")


@dataclass
class StubRequest:
    """One request as the server saw it; the server goes on filling it while it answers."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]
    deltas_sent: int = 0
    closed_early: bool = False  # the client went before it had the whole answer
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[Message]:
        """The chat messages of the body."""
        messages: list[Message] = self.body.get("messages", [])
        return messages


class StubOpenAI:
    """A running stub; use it as a context manager. See the module's page for the settings."""

    def __init__(
        self,
        reply: str | Callable[[list[Message]], str] = "This is the stub's answer.",
        *,
        models: tuple[str, ...] = ("stub-model",),
        parents: dict[str, str] | None = None,
        delta_chars: int = 4,
        delay_s: float = 0.0,
        api_key: str | None = None,
        fault: Fault | None = None,
        models_fault: Fault | None = None,
        log_shares: LogShares | None = None,
        finish_reason: str = "stop",
    ) -> None:
        self.reply = reply
        self.models = models
        self.parents = parents or {}
        self.delta_chars = delta_chars
        self.delay_s = delay_s
        self.api_key = api_key
        self.fault = fault
        self.models_fault = models_fault
        self.log_shares = log_shares
        self.finish_reason = finish_reason
        self.requests: list[StubRequest] = []
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """The server's root, without `/v1`."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def chats(self) -> list[StubRequest]:
        """The chat requests so far, oldest first."""
        return [request for request in self.requests if request.path.endswith("/completions")]

    def deltas(self, messages: list[Message]) -> list[str]:
        """The reply to `messages`, cut into the pieces that are streamed."""
        text = self.reply if isinstance(self.reply, str) else self.reply(messages)
        return [text[at : at + self.delta_chars] for at in range(0, len(text), self.delta_chars)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the handlers


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every handler
    stub: StubOpenAI


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # chunked replies, as uvicorn sends them
    timeout = 10
    server: _Server
    request_seen: StubRequest

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the test reads `stub.requests`."""

    def _answer(self, body: dict[str, Any]) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_seen = StubRequest(self.path, headers, body)
        self.server.stub.requests.append(self.request_seen)
        self.close_connection = True
        try:
            self._route()
        except OSError:
            self.request_seen.closed_early = True
        self.request_seen.done.set()

    def _route(self) -> None:
        stub = self.server.stub
        listing = self.path == "/v1/models"
        fault = stub.models_fault if listing else stub.fault
        if fault == "no_counting":
            fault = 400 if "stream_options" in self.request_seen.body else None
        if stub.api_key and self.headers["Authorization"] != f"Bearer {stub.api_key}":
            fault = "unauthorized"
        scoring = self.path == "/v1/completions" and stub.log_shares is not None
        if not listing and not scoring and self.path != "/v1/chat/completions":
            self._send_json(404, {"detail": "Not Found"})
        elif not listing and not fault and self.request_seen.body["model"] not in stub.models:
            self._send_fault("unknown_model")
        elif fault and fault not in HALFWAY and fault != "empty":
            self._send_fault(fault)
        elif listing:
            models: list[dict[str, object]] = [
                {"id": name, "object": "model", "parent": stub.parents.get(name)}
                for name in stub.models
            ]
            self._send_json(200, {"object": "list", "data": models})
        elif scoring:
            self._send_json(200, self._scores())
        else:
            deltas = [] if fault == "empty" else stub.deltas(self.request_seen.messages)
            if self.request_seen.body.get("stream"):
                self._stream(deltas, fault)
            else:
                self._send_json(200, self._completion("".join(deltas)))

    def _send_fault(self, fault: Fault) -> None:
        if fault == "hang":
            self._wait(None)
        elif fault == "html":
            self._send(200, "text/html", b"<!doctype html><html><title>Sign in</title></html>")
        elif fault == "bad_gateway":
            self._send(502, "text/html", b"<html><h1>502 Bad Gateway</h1></html>")
        elif fault == "not_json":
            self._send(200, "application/json", b'{"object": "li')
        elif isinstance(fault, int):
            detail = "The stub was told to fail."
            if self.server.stub.fault == "no_counting":
                detail = "Unrecognized request argument supplied: stream_options."
            self._send_json(fault, _error(detail, fault))
        else:
            model = self.request_seen.body.get("model")
            message = {
                "unauthorized": f"Incorrect API key provided: {self.headers['Authorization']}",
                "unknown_model": f"The model `{model}` does not exist.",
                "context_length": "This model's maximum context length is 4096 tokens. However,"
                " you requested 5000 tokens. Please reduce the length of the messages.",
                "rate_limit": "Too many requests.",
            }[fault]
            self._send_json(STATUSES[fault], _error(message, STATUSES[fault]))

    def _send_json(self, status: int, body: object) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        if status == 429:
            self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, deltas: list[str], fault: Fault | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        broken = fault in HALFWAY
        for event in self._events(deltas[: len(deltas) // 2] if broken else deltas, broken):
            self._write_chunk(f"data: {event}\n\n".encode())
        if fault == "stall":
            self._wait(None)
        if fault == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault == "error_event":
            event = json.dumps(_error("EngineDeadError: the engine died.", 500))
            self._write_chunk(f"data: {event}\n\n".encode())
        self._write_chunk(b"")

    def _events(self, deltas: list[str], broken: bool) -> Iterator[str]:
        yield self._event({"role": "assistant", "content": ""}, None)
        for delta in deltas:
            self._wait(self.server.stub.delay_s)
            yield self._event({"content": delta}, None)
            self.request_seen.deltas_sent += 1
        if not broken:
            yield self._event({}, self.server.stub.finish_reason)
            if self.request_seen.body.get("stream_options", {}).get("include_usage"):
                envelope = {**self._envelope("chat.completion.chunk", {}), "choices": []}
                yield json.dumps({**envelope, "usage": self._usage(len(deltas))})
            yield "[DONE]"

    def _event(self, delta: dict[str, str], finish_reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return json.dumps(self._envelope("chat.completion.chunk", choice))

    def _usage(self, deltas: int) -> dict[str, int]:
        words = sum(len(message["content"].split()) for message in self.request_seen.messages)
        return {
            "prompt_tokens": words,
            "completion_tokens": deltas,
            "total_tokens": words + deltas,
        }

    def _completion(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {**self._envelope("chat.completion", choice), "usage": usage}

    def _scores(self) -> dict[str, Any]:
        assert self.server.stub.log_shares and self.request_seen.body["echo"]
        prompt = self.request_seen.body["prompt"]
        tokens, log_shares = self.server.stub.log_shares(prompt)
        found = {"tokens": [*tokens, "!"], "token_logprobs": [*log_shares, -1.0]}
        choice = {"index": 0, "text": f"{prompt}!", "logprobs": found, "finish_reason": "length"}
        usage = {"prompt_tokens": len(tokens), "completion_tokens": 1, "total_tokens": 1}
        return {**self._envelope("text_completion", choice), "usage": usage}

    def _envelope(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        model = self.request_seen.body["model"]
        return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model} | {
            "choices": [choice]
        }

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _wait(self, seconds: float | None) -> None:
        """Wait; raise OSError at once when the client goes. None: until the server closes."""
        end = None if seconds is None else time.monotonic() + seconds
        watched = select.poll()  # `select` takes no more than 1,024 files of a process
        watched.register(self.connection, select.POLLIN)
        while not self.server.stub.closing.is_set():
            left = 0.02 if end is None else min(0.02, end - time.monotonic())
            if watched.poll(max(left, 0) * 1_000) and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError("the client has gone")
            if end is not None and time.monotonic() >= end:
                return


def _error(message: str, status: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": "StubError", "param": None, "code": status}}
