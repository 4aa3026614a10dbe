"""A small app behind the guard, and the whole one, for the tests of what the guard lets through."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.access import Access
from app.api_guard import Guard
from app.history import History
from app.models import open_models
from app.rate_limits import RateLimits
from app.web import WebChat, launch
from app.workspace import Workspace
from tests.fakes import FakeEncoder

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ANY_HOST = "0.0.0.0"


async def echo(request: Request) -> JSONResponse:
    """Say what arrived."""
    body = await request.body()
    return JSONResponse(
        {"person": request.state.person, "bytes": len(body)},
        headers={"Access-Control-Allow-Origin": "*"},
    )


async def fail(request: Request) -> JSONResponse:
    """Fail as no route should."""
    raise RuntimeError("secret-of-the-stack")


async def alive(request: Request) -> PlainTextResponse:
    """Answer what supervises."""
    return PlainTextResponse("ok")


def guarded(
    access: Access | None = None, *, host: str = "127.0.0.1", limits: tuple[str, ...] = ()
) -> Starlette:
    """A small app behind a guard."""
    every = ["GET", "POST", "PUT"]
    routes = [
        Route("/healthz", alive),
        Route("/fail", fail),
        Route("/assets/x.js", alive),
        Route("/{path:path}", echo, methods=every),
    ]
    guard = Middleware(Guard, host=host, access=access, rates=RateLimits(limits))
    return Starlette(routes=routes, middleware=[guard])


def client_of(app: Starlette, address: str = "192.0.2.1", scheme: str = "http") -> TestClient:
    """A browser at an address."""
    return TestClient(app, f"{scheme}://localhost", client=(address, 5), follow_redirects=False)


@contextmanager
def served_to_others(
    index_folder: Path, history_file: Path, *, limits: tuple[str, ...] = ()
) -> Iterator[WebChat]:
    """Serve the whole app as to other machines, with `TOKEN`."""
    history = History(history_file, scope="test")
    chat = launch(
        Workspace(index_folder, embedder=FakeEncoder()),
        open_models([]),
        history,
        host=ANY_HOST,
        port=0,
        access=Access(TOKEN),
        rates=RateLimits(limits),
        block=False,
    )
    try:
        yield chat
    finally:
        chat.close()
        history.close()
