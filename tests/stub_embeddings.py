"""A stub of an OpenAI-compatible server of embeddings, over real HTTP, on 127.0.0.1 only.

It counts words as `FakeEncoder` does, so that texts that share words are near each other::

    with StubEmbeddings() as stub:
        vectors = open_embedder(stub.url).embed(["a text"])
    assert stub.batches == [[PROBE], ["a text"]]

Every setting is an attribute and may be changed while the server runs.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import numpy as np

from tests.fakes import FakeEncoder

LENGTH = 3.0  # of the vectors: not every server sends unit vectors


class StubEmbeddings:
    """A running stub; use it as a context manager.

    :ivar answers: what to answer next instead of vectors, one a request: an HTTP status, or text.
    :ivar answers_left: requests until every further one is refused with 503; None is no end.
    :ivar context_chars: a longer text is refused as vLLM does; None takes any.
    :ivar sign: -1 turns the vectors around, as another model would.
    :ivar dimension: vectors are folded to this.
    :ivar batches: the texts of each request that was answered with vectors.
    :ivar requests: the number of requests for vectors, whatever became of them.
    """

    def __init__(
        self,
        *,
        models: tuple[str, ...] = ("stub-embedder",),
        api_key: str | None = None,
        answers: tuple[int | str, ...] = (),
        answers_left: int | None = None,
        context_chars: int | None = None,
    ) -> None:
        self.models = models
        self.api_key = api_key
        self.answers = list(answers)
        self.answers_left = answers_left
        self.context_chars = context_chars
        self.sign = 1
        self.dimension = FakeEncoder.dimension
        self.batches: list[list[str]] = []
        self.requests = 0
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def texts(self) -> set[str]:
        """All texts that were embedded so far."""
        return {text for batch in self.batches for text in batch}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the handlers


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    stub: StubEmbeddings


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the test reads `stub.batches`."""

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model"} for name in self.server.stub.models]
        self._send(*(self._refusal() or (200, {"object": "list", "data": models})))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stub = self.server.stub
        with stub.lock:
            stub.requests += 1
            self._send(*(self._refusal() or self._fault(body) or self._answer(body)))

    def _refusal(self) -> tuple[int, object] | None:
        key = self.server.stub.api_key
        if key and self.headers["Authorization"] != f"Bearer {key}":
            return 401, _error(f"Incorrect API key provided: {self.headers['Authorization']}")
        return None

    def _fault(self, body: dict[str, Any]) -> tuple[int, object] | None:
        stub = self.server.stub
        if stub.answers:
            answer = stub.answers.pop(0)
            return (200, answer) if isinstance(answer, str) else (answer, _error("told to fail"))
        if stub.answers_left is not None:
            stub.answers_left -= 1
            if stub.answers_left < 0:
                return 503, _error("the engine has died")
        if body["model"] not in stub.models:
            return 404, _error(f"The model `{body['model']}` does not exist.")
        if stub.context_chars and max(map(len, body["input"])) > stub.context_chars:
            return 400, _error("This model's maximum context length is 512 tokens.")
        return None

    def _answer(self, body: dict[str, Any]) -> tuple[int, object]:
        stub = self.server.stub
        stub.batches.append(body["input"])
        whole = FakeEncoder().embed(body["input"]) * LENGTH * stub.sign
        vectors = [whole[:, start :: stub.dimension].sum(axis=1) for start in range(stub.dimension)]
        rows = [
            {"object": "embedding", "index": number, "embedding": vector}
            for number, vector in enumerate(np.stack(vectors, axis=1).tolist())
        ]
        return 200, {"object": "list", "model": body["model"], "data": rows[::-1], "usage": {}}

    def _send(self, status: int, body: object) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After-Ms", "20")
        self.end_headers()
        self.wfile.write(data)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "StubError", "param": None, "code": None}}
