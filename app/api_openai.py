"""`/v1`: the whole app as a model that any OpenAI client can ask.

Each model of the app is listed, and `quotations`, which needs none. The last message is the
question, those before it are the conversation. A client's system message is not passed on: the
prompt is the one that models are tuned with, its rules are what makes citations, and it is the
same for all, so that servers keep it cached. How an answer should look can be said in the question.

An answer cites as `[n:Lx-Ly]`, checked before it is sent. The message has fields of our own:
`evidence` (the passages that n counts; when streamed, in the first chunk), `citations` (with
links) and `codeqa` (what else is known of the answer), both in the last. A fault that comes
before the first word has a status; a later one is an `error` event in the stream.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.answer import Answer, Delta, Event, EvidenceFound, answer
from app.answer_log import logged
from app.api_errors import busy_response, error_response
from app.api_replies import ANSWERED, LISTED
from app.api_schema import ChatRequest, Unsupported
from app.checked_text import CheckedText
from app.event_stream import AnswerThreads
from app.metrics import Metrics
from app.models import Models
from app.records import answer_facts, citation_record, hit_record
from app.workspace import Workspace
from data_tools.errors import BusyError, CodeQAError, LanguageModelError, QuestionError
from retrieval.index import CodeIndex

log = logging.getLogger(__name__)

QUOTATIONS = "quotations"
CLIENT_GONE = 499  # nginx' status for it; nobody reads it
DONE = b"data: [DONE]\n\n"

Result = TypeVar("Result")


def openai_router(
    workspace: Workspace, models: Models, threads: AnswerThreads, metrics: Metrics
) -> APIRouter:
    """Make the routes under `/v1`."""
    router = APIRouter(prefix="/v1", tags=["OpenAI-compatible"])
    started_s = int(time.time())

    @router.get("/models", responses=LISTED)
    async def list_models() -> dict[str, Any]:
        """List the models that can be asked; the first is asked where none is named."""
        names = sorted(models.names, key=lambda name: name != models.default)
        names.insert(0 if models.default is None else len(names), QUOTATIONS)
        entries = [
            {"id": name, "object": "model", "created": started_s, "owned_by": "codeqa"}
            for name in names
        ]
        return {"object": "list", "data": entries}

    @router.post("/chat/completions", response_model=None, responses=ANSWERED)
    async def complete(body: ChatRequest, request: Request) -> Response:
        """Answer the last message from the index, with citations."""
        name = _choose(models, body.model)
        if isinstance(name, Response):
            return name
        index = workspace.index()
        if index is None:
            return not_ready()
        body.check_supported()
        ask = partial(
            answer,
            index,
            body.question(),
            history=body.turns(),
            strategy=body.codeqa.strategy,
            **body.codeqa.filters(),
        )
        events = _answer_events(ask, models, None if name == QUOTATIONS else name)
        strategy = body.codeqa.strategy
        events = metrics.observe(events, strategy=strategy)
        batches = threads.follow(logged(events, body.question(), strategy=strategy))
        reply = _Reply(index, name, body.ignored())
        if body.stream:
            return await _stream(reply, batches, request, body)
        whole = await until_gone(request, _last_answer(batches))
        if whole is None:
            return Response(status_code=CLIENT_GONE)
        return JSONResponse(reply.completion(whole))

    @router.api_route("/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def refuse(path: str) -> Response:
        """Say what else OpenAI's API has that this one has not."""
        return error_response(
            404, f"there is no /v1/{path[:100]} here, only /v1/models and /v1/chat/completions"
        )

    return router


def _choose(models: Models, wanted: str | None) -> str | JSONResponse:
    """The name of the model to ask, or a refusal that lists them."""
    name = wanted or models.default or QUOTATIONS
    if name == QUOTATIONS or name in models.names:
        return name
    there = ", ".join([*models.names, QUOTATIONS])
    message = f"no model is called {name[:100]}: choose from: {there}"
    return error_response(404, message, param="model", code="model_not_found")


def _answer_events(
    ask: "partial[Generator[Event]]", models: Models, name: str | None
) -> Generator[Event]:
    """Open the model, which may take a while, and answer: all in the thread that iterates."""
    yield from ask(chat=models.get(name))


async def _last_answer(batches: AsyncGenerator[list[Event]]) -> Answer:
    answered: Answer | None = None
    async with aclosing(batches):
        async for batch in batches:
            for event in batch:
                answered = event if isinstance(event, Answer) else answered
    assert answered, "an answer is the last event"
    return answered


async def _stream(
    reply: "_Reply",
    batches: AsyncGenerator[list[Event]],
    request: Request,
    body: ChatRequest,
) -> Response:
    """Start to stream once there is text, so that a fault before it still has its status."""
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    chunks = reply.chunks(batches, with_usage=with_usage)
    first = await until_gone(request, anext(chunks))
    if first is None:
        return Response(status_code=CLIENT_GONE)
    return StreamingResponse(
        _chain(first, chunks),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _chain(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Send what there is; once it has begun, a fault is a part of the stream."""
    async with aclosing(chunks):
        yield first
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            yield _event(json.loads(bytes(explain(error).body)))


class _Reply:
    """One answer in the form of OpenAI's replies."""

    def __init__(self, index: CodeIndex, model: str, ignored: Sequence[str]) -> None:
        self._web_urls = {each.name: each.web_url for each in index.manifest.repositories}
        self._ignored = list(ignored)
        self._envelope = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    def completion(self, answered: Answer) -> dict[str, Any]:
        """The whole reply, not streamed."""
        message = {
            "role": "assistant",
            "content": answered.text,
            "refusal": None,
            **self._findings(answered),
            "evidence": _evidence(answered),
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {
            **self._envelope,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(answered),
        }

    async def chunks(
        self, batches: AsyncGenerator[list[Event]], *, with_usage: bool
    ) -> AsyncGenerator[bytes]:
        """The reply as server-sent events, the first of which holds text already."""
        text = CheckedText()
        evidence: Sequence[Any] = ()
        answered: Answer | None = None
        begun = False
        async with aclosing(batches):
            async for batch in batches:
                for event in batch:
                    if isinstance(event, EvidenceFound):
                        evidence = event.hits
                        text.cite_from([hit.chunk for hit in evidence], self._web_urls)
                    elif isinstance(event, Answer):
                        answered, evidence = event, event.evidence
                news = "".join(text.add(event.text) for event in batch if isinstance(event, Delta))
                if answered:
                    news += text.finish(answered.text)
                if not (news or answered):
                    continue
                delta: dict[str, Any] = {"content": news}
                if not begun:
                    records = [hit_record(rank, hit) for rank, hit in enumerate(evidence, start=1)]
                    delta = {"role": "assistant", **delta, "evidence": records}
                    begun = True
                yield self._chunk(delta)
        assert answered, "an answer is the last event"
        yield self._chunk(self._findings(answered), finish_reason="stop")
        if with_usage:
            yield _event(self._body([]) | {"usage": _usage(answered)})
        yield DONE

    def _findings(self, answered: Answer) -> dict[str, Any]:
        facts = answer_facts(answered) | {"ignored": self._ignored}
        if answered.usage:
            facts["usage"] = asdict(answered.usage)
        return {
            "citations": [citation_record(citation) for citation in answered.citations],
            "codeqa": facts,
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return _event(self._body([choice]))

    def _body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._envelope, "object": "chat.completion.chunk", "choices": choices}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _evidence(answered: Answer) -> list[dict[str, Any]]:
    return [hit_record(rank, hit) for rank, hit in enumerate(answered.evidence, start=1)]


def _usage(answered: Answer) -> dict[str, int] | None:
    """Tokens as OpenAI counts them; None where nobody counted."""
    usage = answered.usage
    if answered.mode == "extractive":
        prompt, completion = 0, 0
    elif usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    else:
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


async def until_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do some work unless the client goes first; that ends the work, and None is returned."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def not_ready() -> JSONResponse:
    """Say that there is no index yet."""
    response = error_response(
        503, "there is no index yet: ask again once it is made", code="index_not_ready"
    )
    response.headers["Retry-After"] = "5"
    return response


def explain(error: Exception) -> JSONResponse:
    """Say what went wrong, with the status that tells whose fault it is."""
    if isinstance(error, Unsupported):
        return error_response(400, str(error), param=error.param, code="unsupported_value")
    if isinstance(error, QuestionError):
        return error_response(400, str(error))
    if isinstance(error, LanguageModelError):
        return error_response(502, str(error), code="model_failed")
    if isinstance(error, BusyError):
        return busy_response(error)
    if isinstance(error, CodeQAError):
        return error_response(503, str(error))
    log.exception("a request could not be answered", exc_info=error)
    return error_response(
        500, f"something went wrong ({type(error).__name__}): see the server's log"
    )
