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
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from app.api_guard import Guard, error_response
from app.api_openai import explain, not_ready, openai_router
from app.api_schema import MAX_PASSAGES, SearchRequest, Unsupported
from app.event_stream import AnswerThreads
from app.health import Health
from app.metrics import Metrics
from app.models import Models
from app.records import hit_record
from app.workspace import Workspace
from data_tools.errors import CodeQAError
from retrieval.index import CodeIndex
from retrieval.search import check_question

SEARCHES_AT_ONCE = 8

Names = Annotated[list[str] | None, Query(description="only these; may be given several times")]
Passages = Annotated[int, Query(ge=1, le=MAX_PASSAGES, description="passages")]


def make_app(
    workspace: Workspace, models: Models, metrics: Metrics, *, host: str = "127.0.0.1"
) -> FastAPI:
    """Make the app without its page.

    :param host: the address that it will be served at: on loopback it answers to no other name.
    """
    threads = AnswerThreads()
    searches = ThreadPoolExecutor(SEARCHES_AT_ONCE, thread_name_prefix="api-search")
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
    )
    app.add_middleware(Guard, host=host)
    app.add_exception_handler(RequestValidationError, _refuse_malformed)
    for kind in (CodeQAError, Unsupported):
        app.add_exception_handler(kind, _explain)
    app.include_router(openai_router(workspace, models, threads, metrics))

    async def search(body: SearchRequest) -> Response:
        index = workspace.index()
        if index is None:
            return not_ready()
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(searches, partial(_search, index, body, metrics))
        return JSONResponse(found)

    @app.get("/api/search", tags=["search"], response_model=None)
    async def search_by_query(
        query: str, k: Passages = 8, repo: Names = None, language: Names = None, path: str = ""
    ) -> Response:
        """Find passages; the records are those of `codeqa search --json`."""
        return await search(
            SearchRequest(query=query, k=k, repos=repo, languages=language, path=path)
        )

    @app.post("/api/search", tags=["search"], response_model=None)
    async def search_by_body(body: SearchRequest) -> Response:
        """Find passages; the records are those of `codeqa search --json`."""
        return await search(body)

    @app.get("/healthz", tags=["operation"])
    async def is_alive() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"], response_model=None)
    async def is_ready() -> Response:
        """Say whether questions can be asked: 503 before there is an index."""
        report = await health.report()
        return JSONResponse(report, 200 if report["ready"] else 503)

    @app.get("/metrics", tags=["operation"], response_model=None)
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


async def _refuse_malformed(request: Request, error: Exception) -> JSONResponse:
    """Name the first field that cannot be read."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    where = f"{place}: " if place else ""
    return error_response(400, f"{where}{first['msg']}", param=place or None)
