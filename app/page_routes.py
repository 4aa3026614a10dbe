"""What the page's script asks of the server: what to show, what was asked, what people think.

Small routes under `/page`, JSON both ways; an answer is followed as lines of JSON, each what has
changed. Everyone sees their own conversations only: all of them are one person's where the page is
served on loopback, else each browser keeps a random name in a cookie that no script can read.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from app.api_errors import retry_after
from app.conversation import Conversation, Question, Thumb, Vote
from app.conversation_markdown import conversation_markdown
from app.desk import Desk
from app.events import Strategy
from app.models import Models
from app.page_patches import Pace, Patches
from app.page_start import PageStart, evidence_renderer
from app.render_conversations import conversations_html
from app.render_exchange import parts_of
from app.workspace import Workspace
from data_tools.errors import BusyError, CodeQAError

COOKIE = "codeqa_owner"
COOKIE_AGE_S = 400 * 24 * 3600  # browsers keep none for longer
LOCAL = "local"

OwnerOf = Callable[[Request], str]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AskBody(_Body):
    """A question as the page sends it; an empty model's name quotes the code."""

    text: str = Field(max_length=200_000)
    strategy: Strategy = "direct"
    models: list[str] = Field(default=[""], min_length=1, max_length=2)
    blind: bool = False
    repos: list[str] = []
    languages: list[str] = []
    path_glob: str = ""
    conversation: str | None = None
    instead_of: str | None = None


class ExchangeBody(_Body):
    """Which exchange is meant."""

    exchange: str


class RateBody(ExchangeBody):
    """What a person thinks of an answer; no thumb takes it back."""

    thumb: Thumb | None = None
    reason: str = Field("", max_length=2_000)


class VoteBody(ExchangeBody):
    """Which of two answers is better."""

    winner: Vote


class ConversationBody(_Body):
    """Which conversation is meant."""

    conversation: str


class RenameBody(ConversationBody):
    """A conversation's new name."""

    name: str = Field(min_length=1, max_length=200)


def owner_of_request(*, on_loopback: bool) -> OwnerOf:
    """Make the function that tells whose conversations a request is about; "" is nobody's."""

    def owner_of(request: Request) -> str:
        if on_loopback:
            return LOCAL
        name = request.cookies.get(COOKIE, "")
        return name if re.fullmatch(r"[0-9a-f]{32}", name) else ""

    return owner_of


def page_router(workspace: Workspace, models: Models, desk: Desk, owner_of: OwnerOf) -> APIRouter:
    """Make the routes that the page's script asks; errors are JSON with a `detail` of one line."""

    def require_owner(request: Request) -> str:
        if not (owner := owner_of(request)):
            raise HTTPException(403, "the page has lost its cookie: reload it")
        return owner

    router = APIRouter(prefix="/page", include_in_schema=False)
    _add_reading(router, workspace, models, desk, owner_of, require_owner)
    _add_asking(router, desk, require_owner)
    _add_keeping(router, desk, require_owner)
    return router


def _add_reading(
    router: APIRouter,
    workspace: Workspace,
    models: Models,
    desk: Desk,
    owner_of: OwnerOf,
    require_owner: OwnerOf,
) -> None:
    page_start = PageStart(workspace, models)
    evidence_of = evidence_renderer(workspace)
    pace = Pace()

    @router.get("/start")
    def start(request: Request, key: str = "") -> Response:
        """Return what the page begins with, or what of it has changed since `key`."""
        response = JSONResponse(page_start.describe(key))
        if not owner_of(request):
            response.set_cookie(
                COOKIE,
                secrets.token_hex(16),
                max_age=COOKIE_AGE_S,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return response

    @router.get("/conversations")
    def conversations(
        owner: Annotated[str, Depends(require_owner)], query: str = ""
    ) -> dict[str, Any]:
        """Return the list of conversations as HTML, and their names by id."""
        records = desk.history.list(owner, query[:200])
        return {
            "html": conversations_html(records, query),
            "names": {record.id: record.name for record in records},
        }

    @router.get("/follow/{conversation_id}")
    async def follow(
        conversation_id: str, owner: Annotated[str, Depends(require_owner)], shown: str = ""
    ) -> Response:
        """Stream what to show of a conversation until nothing of it runs."""
        states = desk.follow(owner, conversation_id)
        with _explained():
            first = await anext(states)  # before the reply begins: a refusal has a status
        patches = Patches(evidence_of, shown or None)

        async def lines() -> AsyncIterator[str]:
            pace.followers += 1
            try:
                async with aclosing(states):
                    exchanges: Conversation | None = first
                    while exchanges is not None:
                        if patch := await patches.make_soon(exchanges):
                            yield json.dumps(patch, ensure_ascii=False) + "\n"
                        if patches.only_text:
                            await asyncio.sleep(pace.pause_s(patches.cost_s))
                        exchanges = await anext(states, None)
            finally:
                pace.followers -= 1

        return StreamingResponse(
            lines(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"}
        )

    @router.get("/export/{conversation_id}")
    def export(conversation_id: str, owner: Annotated[str, Depends(require_owner)]) -> Response:
        """Return a conversation as a Markdown file."""
        with _explained():
            exchanges = desk.snapshot(owner, conversation_id)
        names = {record.id: record.name for record in desk.history.list(owner)}
        name = names.get(conversation_id, "conversation")
        file_name = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:60] or "conversation"
        return Response(
            conversation_markdown(name, exchanges),
            media_type="text/markdown; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{file_name}.md"'},
        )


def _add_asking(router: APIRouter, desk: Desk, require_owner: OwnerOf) -> None:
    @router.post("/ask")
    def ask(body: AskBody, owner: Annotated[str, Depends(require_owner)]) -> dict[str, str]:
        """Begin to answer a question."""
        question = Question(
            body.text.strip(),
            strategy=body.strategy,
            models=tuple(name or None for name in body.models),
            blind=body.blind,
            repos=tuple(body.repos),
            languages=tuple(body.languages),
            path_glob=body.path_glob.strip() or None,
        )
        if not question.text:
            raise HTTPException(422, "there is no question")
        with _explained():
            return _name(desk.ask(owner, question, body.conversation, instead_of=body.instead_of))

    @router.post("/retry")
    def retry(body: ExchangeBody, owner: Annotated[str, Depends(require_owner)]) -> dict[str, str]:
        """Ask again what failed or was stopped."""
        with _explained():
            return _name(desk.retry(owner, body.exchange))

    @router.post("/stop")
    def stop(body: ExchangeBody, owner: Annotated[str, Depends(require_owner)]) -> None:
        """Stop an answer; what there is of it is kept."""
        with _explained():
            desk.stop(owner, body.exchange)


def _add_keeping(router: APIRouter, desk: Desk, require_owner: OwnerOf) -> None:
    @router.post("/rate")
    def rate(body: RateBody, owner: Annotated[str, Depends(require_owner)]) -> dict[str, Any]:
        """Keep what a person thinks of an answer; return how it looks now."""
        with _explained():
            desk.history.rate(owner, body.exchange, body.thumb, body.reason.strip())
            return _judged(desk, owner, body.exchange)

    @router.post("/vote")
    def vote(body: VoteBody, owner: Annotated[str, Depends(require_owner)]) -> dict[str, Any]:
        """Keep which of two answers is better; return how they look now."""
        with _explained():
            desk.history.vote(owner, body.exchange, body.winner)
            return _judged(desk, owner, body.exchange)

    @router.post("/rename")
    def rename(body: RenameBody, owner: Annotated[str, Depends(require_owner)]) -> None:
        """Give a conversation another name."""
        with _explained():
            desk.history.rename(owner, body.conversation, body.name.strip())

    @router.post("/delete")
    def delete(body: ConversationBody, owner: Annotated[str, Depends(require_owner)]) -> None:
        """Delete a conversation for good."""
        with _explained():
            desk.history.delete(owner, body.conversation)


def _judged(desk: Desk, owner: str, exchange_id: str) -> dict[str, Any]:
    exchanges = desk.snapshot(owner, desk.history.find(owner, exchange_id))
    for number, exchange in enumerate(exchanges, start=1):
        if exchange.id == exchange_id:
            return {"parts": parts_of(exchange, number)}
    raise KeyError(exchange_id)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a person can mend into an answer with a `detail` of one line."""
    try:
        yield
    except KeyError as error:
        raise HTTPException(404, "there is no such conversation here any more") from error
    except BusyError as error:
        raise HTTPException(429, str(error), {"Retry-After": retry_after(error)}) from error
    except CodeQAError as error:
        raise HTTPException(409, str(error)) from error


def _name(ids: tuple[str, str]) -> dict[str, str]:
    return {"conversation": ids[0], "exchange": ids[1]}
