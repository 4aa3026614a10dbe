"""The app over HTTP: chat as OpenAI's clients speak it, search, health, and Prometheus' metrics.

The page is mounted beside it by `app.web`, in the same process and with the same index. The
description at `/openapi.json` is served without a viewer, because FastAPI's own loads scripts
from another host.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from app.access import Access, check_access
from app.api_errors import error_response
from app.api_guard import Guard
from app.api_openai import explain, not_ready, openai_router
from app.api_replies import COUNTED, READY, REFUSED, SEARCHED
from app.api_schema import MAX_PASSAGES, SearchRequest, Unsupported
from app.event_stream import AnswerThreads
from app.health import Health
from app.metrics import Metrics
from app.models import Models
from app.rate_limits import RateLimits
from app.records import hit_record
from app.request_log import RequestLog
from app.room import Room
from app.workspace import Workspace
from data_tools.errors import CodeQAError
from retrieval.index import CodeIndex
from retrieval.search import check_question

SEARCHES_AT_ONCE = 8
MAX_SEARCHES = 32 * SEARCHES_AT_ONCE  # with those that wait; each takes some hundredths of a second

Names = Annotated[list[str] | None, Query(description="only these; may be given several times")]
Passages = Annotated[int, Query(ge=1, le=MAX_PASSAGES, description="passages")]


def make_app(
    workspace: Workspace,
    models: Models,
    metrics: Metrics,
    *,
    host: str = "127.0.0.1",
    access: Access | None = None,
    rates: RateLimits | None = None,
) -> FastAPI:
    """Make the app without its page.

    :param host: the address that it will be served at: on loopback it answers to no other name.
    :param access: who may ask; None, on loopback alone, for whoever reaches it.
    :param rates: how often; None for the usual limits.
    :raises ValueError: others reach the host, and would not be asked who they are.
    """
    check_access(host, access)  # the guard does too, but is made with the first request
    threads = AnswerThreads()
    searches = ThreadPoolExecutor(SEARCHES_AT_ONCE, thread_name_prefix="api-search")
    searching = Room(MAX_SEARCHES, "searches are going on or wait", usual_s=1.0)
    health = Health(workspace, models)
    metrics.watch_index(workspace)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        threads.close()
        searches.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="codeqa",
        summary="Answers questions about codebases, each claim cited to lines of a file",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=REFUSED,
    )
    app.add_middleware(Guard, host=host, access=access, rates=rates)
    app.add_middleware(RequestLog)  # around the other
    app.add_exception_handler(RequestValidationError, _refuse_malformed)
    app.add_exception_handler(HTTPException, _refuse)
    for kind in (CodeQAError, Unsupported):
        app.add_exception_handler(kind, _explain)
    app.include_router(openai_router(workspace, models, threads, metrics))

    async def search(body: SearchRequest) -> Response:
        index = workspace.index()
        if index is None:
            return not_ready()
        loop = asyncio.get_running_loop()
        with searching.stay():
            found = await loop.run_in_executor(searches, partial(_search, index, body, metrics))
        return JSONResponse(found)

    @app.get("/api/search", tags=["search"], response_model=None, responses=SEARCHED)
    async def search_by_query(
        query: str, k: Passages = 8, repo: Names = None, language: Names = None, path: str = ""
    ) -> Response:
        """Find passages; the records are those of `codeqa search --json`."""
        return await search(
            SearchRequest(query=query, k=k, repos=repo, languages=language, path=path)
        )

    @app.post("/api/search", tags=["search"], response_model=None, responses=SEARCHED)
    async def search_by_body(body: SearchRequest) -> Response:
        """Find passages; the records are those of `codeqa search --json`."""
        return await search(body)

    @app.get("/healthz", tags=["operation"])
    async def is_alive() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"], response_model=None, responses=READY)
    async def is_ready() -> Response:
        """Say whether questions can be asked: 503 before there is an index."""
        report = await health.report()
        return JSONResponse(report, 200 if report["ready"] else 503)

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=COUNTED)
    async def read_metrics() -> Response:
        """Say what was counted, as Prometheus reads it."""
        return Response(metrics.write(), media_type=metrics.content_type)

    return app


def _search(index: CodeIndex, body: SearchRequest, metrics: Metrics) -> dict[str, Any]:
    start_s = time.perf_counter()
    hits = index.search(check_question(body.query), **body.filters())
    metrics.observe_search(time.perf_counter() - start_s)
    return {
        "results": [hit_record(rank, hit) for rank, hit in enumerate(hits, start=1)],
        "words_only": not index.vectors_ready,
    }


async def _explain(request: Request, error: Exception) -> JSONResponse:
    return explain(error)


async def _refuse(request: Request, error: Exception) -> Response:
    """Say what the framework refuses as the rest is said, but to the page, as its script reads."""
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/page/"):
        return await http_exception_handler(request, error)
    response = error_response(error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _refuse_malformed(request: Request, error: Exception) -> JSONResponse:
    """Name the first field that cannot be read."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    where = f"{place}: " if place else ""
    return error_response(400, f"{where}{first['msg']}", param=place or None)
