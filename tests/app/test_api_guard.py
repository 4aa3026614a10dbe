"""What the guard passes on, what it refuses, and what goes with every reply."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.access import Access
from app.api_guard import HEADERS, POLICY, Guard
from app.request_body import MAX_BODY_BYTES
from tests.app.guarded import BEARER, TOKEN, client_of, guarded

MOST_GUARD_US = 500.0  # a request; a quiet processor of 2024 needs 15


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(guarded()) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/anything", {}, 200),
        ("GET", "/fail", {}, 500),
        ("PATCH", "/anything", {}, 405),
        ("GET", "/anything", {"Host": "evil.example"}, 421),
        ("POST", "/anything", {"Origin": "https://evil.example"}, 403),
        ("POST", "/anything", {"Content-Length": "99999999"}, 413),
    ],
)
def test_the_policy_goes_with_every_reply(
    client: TestClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    reply = client.request(method, path, headers=headers)
    assert reply.status_code == status
    for name, value in HEADERS:
        assert reply.headers.get_list(name.decode()) == [value.decode()]
    assert reply.headers["Cache-Control"] == "no-store"
    assert "Server" not in reply.headers


def test_only_the_library_s_own_files_may_be_kept(client: TestClient) -> None:
    assert "Cache-Control" not in client.get("/assets/x.js").headers


def test_no_other_site_is_told_that_it_may_read(client: TestClient) -> None:
    reply = client.get("/anything", headers={"Origin": "https://evil.example"})
    assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["object-src"] == "'none'"
    sources = {source for rule in rules.values() for source in rule.split()}
    assert sources == {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:"}
    assert "data:" not in rules["script-src"]


def test_a_fault_shows_nothing_of_where_it_came_from(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    reply = client.get("/fail")
    assert reply.status_code == 500
    assert "secret-of-the-stack" not in reply.text
    assert "Traceback" not in reply.text
    assert "server's log" in reply.json()["error"]["message"]
    assert "secret-of-the-stack" in caplog.text


def test_a_body_is_counted_as_it_comes_whatever_was_announced() -> None:
    async def pour(headers: list[tuple[bytes, bytes]]) -> tuple[int, int]:
        """Send pieces of a body without end; the status, and how many were taken."""
        taken, status = 0, 0

        async def receive() -> Message:
            nonlocal taken
            taken += 1
            return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)

        scope = {
            **{"type": "http", "method": "POST", "path": "/", "query_string": b""},
            "headers": [(b"host", b"localhost"), *headers],
        }
        await guarded()(scope, receive, send)
        return status, taken

    pieces = MAX_BODY_BYTES // 100_000 + 1
    assert asyncio.run(pour([(b"transfer-encoding", b"chunked")])) == (413, pieces)
    assert asyncio.run(pour([(b"content-length", b"5")])) == (413, pieces)
    assert asyncio.run(pour([(b"content-length", b"9" * 40)])) == (413, 0)


def test_a_body_of_a_sensible_size_arrives_whole(client: TestClient) -> None:
    body = b"x" * (MAX_BODY_BYTES - 1)
    assert client.post("/anything", content=body).json()["bytes"] == len(body)
    assert client.post("/anything", content=iter([b"a" * 10, b"b" * 7])).json()["bytes"] == 17
    assert client.post("/anything", content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_client_that_goes_while_it_sends_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def go_away() -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            raise AssertionError("there is nobody to answer")

        headers = [(b"host", b"localhost"), (b"content-length", b"5")]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        await guarded()({**scope, "query_string": b""}, receive, send)

    asyncio.run(go_away())
    assert not caplog.text


def test_there_are_no_web_sockets(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/anything"):
        pass


def test_an_open_server_for_others_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="give the access"):
        Guard(guarded(), host="0.0.0.0")
    Guard(guarded(), host="0.0.0.0", access=Access(TOKEN))


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)],
)
def test_a_browser_says_when_another_site_sends_a_form(site: str, status: int) -> None:
    with client_of(guarded(Access(TOKEN), host="0.0.0.0")) as client:
        headers = {**BEARER, "Sec-Fetch-Site": site}
        assert client.post("/page/ask", headers=headers).status_code == status
        assert client.get("/page/start", headers=headers).status_code == 200


def test_too_many_questions_are_told_when_to_ask_again() -> None:
    guard = guarded(limits=("questions=3/hour",))
    with client_of(guard) as client:
        assert [client.post("/page/ask").status_code for _ in range(4)] == [200, 200, 200, 429]
        refusal = client.post("/v1/chat/completions")
        assert refusal.status_code == 429
        assert int(refusal.headers["Retry-After"]) >= 1
        error = refusal.json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert "try again in" in error["message"]
        assert client.get("/page/start").status_code == 200
    with client_of(guard, "192.0.2.2") as other:
        assert other.post("/page/ask").status_code == 200


def test_each_browser_that_was_let_in_counts_for_itself() -> None:
    guard = guarded(Access(TOKEN), host="0.0.0.0", limits=("questions=2/hour",))
    for _ in range(2):  # behind one address, as colleagues behind a proxy are
        with client_of(guard) as client:
            assert client.get("/", params={"token": TOKEN}).status_code == 303
            assert [client.post("/page/ask").status_code for _ in range(3)] == [200, 200, 429]


def test_the_guard_costs_microseconds() -> None:
    access = Access(TOKEN)
    headers = [(b"host", b"localhost"), (b"cookie", f"{access.cookie}={access.let_in()}".encode())]
    scope = {
        **{"type": "http", "method": "GET", "path": "/page/follow/x", "query_string": b""},
        **{"headers": headers, "client": ("192.0.2.1", 5), "scheme": "http"},
    }

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ignore(message: Message) -> None:
        pass

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def time_us(app: ASGIApp, rounds: int = 2_000) -> float:
        begun_s = time.process_time()
        for _ in range(rounds):
            await app(dict(scope), nothing, ignore)
        return (time.process_time() - begun_s) / rounds * 1e6

    bare = asyncio.run(time_us(answer))
    whole = asyncio.run(time_us(Guard(answer, host="0.0.0.0", access=access)))
    print(json.dumps({"guard_us": round(whole - bare, 1)}))
    assert whole - bare < MOST_GUARD_US
