"""No route answers a stranger: all of them, Gradio's too, are found in the app and asked."""

import http.client
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

from app.api import make_app
from app.desk import Desk
from app.history import History
from app.metrics import Metrics
from app.models import open_models
from app.rate_limits import RateLimits
from app.web import GRADIO_ROUTES, WebChat, mount_page
from app.workspace import Workspace
from tests.app.guarded import TOKEN, served_to_others
from tests.fakes import FakeEncoder

OPEN = {"/healthz", "/readyz"}
FORM = {"/", "/login"}  # where a person finds the form
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
ELSEWHERE = (  # what Gradio serves elsewhere, or a server often has
    *("/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/gradio_api/queue/join"),
    *("/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/vibe-code", "/gradio_api/info"),
    *("/docs", "/redoc", "/login/", "/logout", "/login_check", "/monitoring", "/mcp", "/.env"),
    *("/healthz/", "/readyz/x", "/healthz/../metrics", "//healthz", "/%68ealthz/", "/none"),
)


@pytest.fixture
def app(index_folder: Path, tmp_path: Path) -> Iterator[FastAPI]:
    """The whole app, as it is served."""
    workspace, models = Workspace(index_folder, embedder=FakeEncoder()), open_models([])
    metrics, rates = Metrics(), RateLimits()
    history = History(tmp_path / "conversations.sqlite", scope="test")
    desk = Desk(workspace, models, history, metrics=metrics)
    app = make_app(workspace, models, metrics, rates=rates)
    mount_page(app, workspace, models, desk, rates, host="127.0.0.1")
    yield app
    desk.close()
    history.close()


@pytest.fixture(scope="module")
def chat(index_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebChat]:
    file = tmp_path_factory.mktemp("others") / "conversations.sqlite"
    with served_to_others(index_folder, file) as chat:
        yield chat


def paths_of(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """The path of every route, those of what is mounted too, each with something in its gaps."""
    for route in routes:
        if isinstance(route, Mount):
            yield from (route.path + path for path in paths_of(route.routes))
        else:
            assert isinstance(route, Route), f"what is {route}?"
            yield re.sub(r"\{[^}]*\}", "x", route.path)


def ask(url: str, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """The status and the text of a reply to a path that is sent as it is."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request(method, path, headers=headers or {})
    reply = connection.getresponse()
    text = reply.read().decode("utf-8", "replace")
    connection.close()
    return reply.status, text


def test_every_route_refuses_a_stranger_but_those_that_supervise(
    app: FastAPI, chat: WebChat
) -> None:
    paths = set(paths_of(app.routes))
    assert len(paths) >= 25
    assert {"/metrics", "/openapi.json", "/v1/models", "/page/ask", "/config"} <= paths
    for path in sorted(paths | set(ELSEWHERE)):
        for method in METHODS:
            status, text = ask(chat.url, method, path)
            if path in OPEN:
                assert status in (200, 404, 405), (method, path)
                continue
            assert status == 401, (method, path)
            if path in FORM and method == "GET":
                assert 'action="login"' in text
            elif method != "HEAD":
                error = json.loads(text)["error"]
                assert error["code"] == "invalid_api_key", (method, path)


def test_with_the_token_the_same_routes_answer(app: FastAPI, chat: WebChat) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in set(paths_of(app.routes)) - FORM:
        status, _ = ask(chat.url, "GET", path, headers)
        assert status != 401, path
        assert status < 500, path


def test_of_gradio_only_what_the_page_uses_is_there(app: FastAPI) -> None:
    (mounted,) = (route for route in app.routes if isinstance(route, Mount))
    assert {getattr(route, "path", "?") for route in mounted.routes} == set(GRADIO_ROUTES)


@pytest.mark.parametrize("path", ELSEWHERE)
def test_what_is_not_there_is_not_there_for_those_who_are_in_either(
    chat: WebChat, path: str
) -> None:
    for method in ("GET", "POST"):
        status, text = ask(chat.url, method, path, {"Authorization": f"Bearer {TOKEN}"})
        assert status in (404, 405), (method, path, text[:200])
