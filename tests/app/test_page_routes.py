"""The routes that the page's script asks, over HTTP, with a real desk and history behind them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.desk import MAX_FOLLOWERS, Desk
from app.history import History
from app.models import open_models
from app.page_routes import COOKIE, owner_of_request, page_router
from app.workspace import Workspace
from tests.fakes import FakeEncoder

QUESTION = "How does the TokenBucket refill its tokens?"


@pytest.fixture
def workspace(index_folder: Path) -> Workspace:
    return Workspace(index_folder, embedder=FakeEncoder())


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path) -> Iterator[Desk]:
    history = History(tmp_path / "conversations.sqlite", scope="limits")
    desk = Desk(workspace, open_models([]), history)
    yield desk
    desk.close()
    history.close()


@pytest.fixture
def app(workspace: Workspace, desk: Desk) -> FastAPI:
    """An app that everyone can reach, as on a host that is not loopback."""
    owner_of = owner_of_request(on_loopback=False)
    app = FastAPI()
    app.include_router(page_router(workspace, open_models([]), desk, owner_of))
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        client.get("/page/start")  # gives the cookie
        yield client


def ask(client: TestClient, text: str = QUESTION, **fields: object) -> dict[str, str]:
    response = client.post("/page/ask", json={"text": text, **fields})
    assert response.status_code == 200, response.text
    ids: dict[str, str] = response.json()
    return ids


def follow(client: TestClient, conversation: str, shown: str = "") -> list[dict[str, Any]]:
    response = client.get(f"/page/follow/{conversation}", params={"shown": shown})
    return [json.loads(line) for line in response.text.splitlines()]


def test_the_page_begins_with_what_is_indexed_and_then_only_news(client: TestClient) -> None:
    start = client.get("/page/start").json()
    assert "limits" in start["header"]
    assert "python (3)" in start["choices"]
    assert "What is limits for?" in start["welcome"]
    assert start["ready"]
    assert start["costs"]["direct"][0][0] == "1 search, no model"
    assert client.get("/page/start", params={"key": start["key"]}).json().keys() == {
        "key",
        "banner",
        "building",
    }


def test_a_question_is_answered_line_by_line(client: TestClient) -> None:
    asked = ask(client)
    lines = follow(client, asked["conversation"])
    assert any("bucket.py" in line.get("evidence", "") for line in lines)
    assert lines[-1]["running"] == []
    again = follow(client, asked["conversation"])
    assert len(again) == 1
    assert "Quoted from the code" in again[0]["exchanges"][0]
    known = follow(client, asked["conversation"], asked["exchange"])
    assert (known[0]["keep"], known[0]["exchanges"]) == (1, [])


def test_a_follow_up_joins_its_conversation_and_an_edit_replaces(client: TestClient) -> None:
    first = ask(client)
    follow(client, first["conversation"])
    second = ask(client, "And where is it filled?", conversation=first["conversation"])
    assert second["conversation"] == first["conversation"]
    assert len(follow(client, first["conversation"])[-1:]) == 1
    ask(client, "What is limits?", conversation=first["conversation"], instead_of=first["exchange"])
    follow(client, first["conversation"])
    html = follow(client, first["conversation"])[0]["exchanges"]
    assert len(html) == 1
    assert "What is limits?" in html[0]


def test_conversations_are_listed_renamed_exported_and_deleted(client: TestClient) -> None:
    conversation = ask(client)["conversation"]
    follow(client, conversation)
    names = client.get("/page/conversations").json()["names"]
    assert names == {conversation: QUESTION}
    client.post("/page/rename", json={"conversation": conversation, "name": "Buckets & more"})
    listed = client.get("/page/conversations", params={"query": "refill"}).json()
    assert "Buckets &amp; more" in listed["html"]
    export = client.get(f"/page/export/{conversation}")
    assert 'filename="buckets-more.md"' in export.headers["Content-Disposition"]
    assert QUESTION in export.text
    client.post("/page/delete", json={"conversation": conversation})
    assert client.get("/page/conversations").json()["names"] == {}
    assert client.get(f"/page/follow/{conversation}").status_code == 404


def test_a_thumb_and_its_reason_come_back_as_they_look_now(client: TestClient) -> None:
    asked = ask(client)
    follow(client, asked["conversation"])
    body = {"exchange": asked["exchange"], "thumb": "down", "reason": " too short "}
    parts = client.post("/page/rate", json=body).json()["parts"]
    assert 'value="too short"' in parts["verdict"]


def test_nobody_sees_the_conversations_of_others(app: FastAPI, client: TestClient) -> None:
    asked = ask(client)
    follow(client, asked["conversation"])
    with TestClient(app) as other:
        assert other.get("/page/conversations").status_code == 403  # no cookie yet
        other.get("/page/start")
        assert other.cookies[COOKIE] != client.cookies[COOKIE]
        assert other.get("/page/conversations").json()["names"] == {}
        for path, body in (
            ("rename", {"conversation": asked["conversation"], "name": "mine"}),
            ("delete", {"conversation": asked["conversation"]}),
            ("rate", {"exchange": asked["exchange"], "thumb": "up"}),
            ("vote", {"exchange": asked["exchange"], "winner": "left"}),
            ("retry", {"exchange": asked["exchange"]}),
        ):
            response = other.post(f"/page/{path}", json=body)
            assert response.status_code == 404, path
            assert "\n" not in response.json()["detail"]


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(app: FastAPI) -> None:
    with TestClient(app) as client:
        cookie = client.get("/page/start").headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Set-Cookie" not in client.get("/page/start").headers


@pytest.mark.parametrize(
    "body",
    [
        {"text": " "},
        {},
        {"text": "x", "strategy": "magic"},
        {"text": "x", "models": []},
        {"q": "x"},
    ],
)
def test_a_malformed_question_is_refused(client: TestClient, body: dict[str, object]) -> None:
    assert client.post("/page/ask", json=body).status_code == 422


def test_a_question_of_any_length_is_answered_in_the_conversation(client: TestClient) -> None:
    asked = ask(client, "a" * 30_000)
    follow(client, asked["conversation"])
    assert "shorten it" in follow(client, asked["conversation"])[0]["exchanges"][0]


def test_too_many_followers_are_told_when_to_come_back(client: TestClient, desk: Desk) -> None:
    conversation = ask(client)["conversation"]
    follow(client, conversation)
    for _ in range(MAX_FOLLOWERS):
        desk.followers.enter()
    refused = client.get(f"/page/follow/{conversation}")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert "ask again in" in refused.json()["detail"]
