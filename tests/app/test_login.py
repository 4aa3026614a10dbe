"""How people and programs are let in, and how guessing is stopped."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.access import Access
from tests.app.guarded import ANY_HOST, BEARER, TOKEN, client_of, guarded

TRIES = 10  # a minute


@pytest.fixture
def guard() -> Starlette:
    return guarded(Access(TOKEN), host=ANY_HOST)


@pytest.fixture
def client(guard: Starlette) -> Iterator[TestClient]:
    with client_of(guard) as client:
        yield client


def test_a_stranger_finds_the_form_on_the_page_and_a_refusal_elsewhere(client: TestClient) -> None:
    for path in ("/", "/login"):
        form = client.get(path)
        assert form.status_code == 401
        assert '<label for="token">' in form.text
        assert "<script" not in form.text
    refusal = client.get("/page/start")
    assert refusal.status_code == 401
    assert refusal.headers["WWW-Authenticate"] == "Bearer"
    assert refusal.json()["error"]["code"] == "invalid_api_key"
    assert client.get("/healthz").text == "ok"


def test_the_form_opens_the_page_by_a_cookie_that_is_not_the_token(client: TestClient) -> None:
    reply = client.post("/login", data={"token": f" {TOKEN}\n"})
    assert (reply.status_code, reply.headers["Location"]) == (303, "./")
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert client.get("/page/start").status_code == 200


def test_over_https_the_cookie_is_for_https_alone(guard: Starlette) -> None:
    with client_of(guard, scheme="https") as client:
        assert "Secure" in client.post("/login", data={"token": TOKEN}).headers["Set-Cookie"]


def test_the_address_that_is_printed_opens_the_page_and_is_left_behind(client: TestClient) -> None:
    reply = client.get("/", params={"token": TOKEN, "theme": "dark", "x": "/&y"})
    assert (reply.status_code, reply.headers["Location"]) == (303, "./?theme=dark&x=%2F%26y")
    assert client.get("/", params={"token": TOKEN}).headers["Location"] == "./"
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/\\evil.example", "///evil.example/%2e%2e", "/./", "/x/../"]
)
def test_a_token_leads_to_no_other_place(client: TestClient, path: str) -> None:
    reply = client.get(f"http://localhost{path}?token={TOKEN}")
    assert reply.status_code == 401 or urlsplit(reply.headers["Location"]).netloc == ""
    assert "evil" not in reply.headers.get("Location", "")


@pytest.mark.parametrize("sent", ["", "guess", TOKEN[:-1], TOKEN + "x", "\x00", "ünïcode"])
def test_a_wrong_token_shows_the_form_again_and_says_so(client: TestClient, sent: str) -> None:
    reply = client.post("/login", data={"token": sent})
    assert reply.status_code == 401
    assert "not the token" in reply.text
    assert 'role="alert"' in reply.text
    assert "Set-Cookie" not in reply.headers


def test_what_is_no_form_lets_nobody_in(client: TestClient) -> None:
    for body in (b"", b"\xff\xfe", b"&" * 5_000, b"token", b'{"token": "' + TOKEN.encode() + b'"}'):
        assert client.post("/login", content=body).status_code in (401, 429)
    assert client.post("/login", content=b"token=" + b"x" * 20_000).status_code == 413


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer   {TOKEN} ", 200),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("Bearer guess", 401),
        (f"Bearer {TOKEN} {TOKEN}", 401),
    ],
)
def test_programs_send_the_token(client: TestClient, header: str, status: int) -> None:
    assert client.get("/v1/models", headers={"Authorization": header}).status_code == status


@pytest.mark.parametrize("way", ["form", "address", "header"])
def test_after_some_wrong_tokens_even_the_right_one_has_to_wait(guard: Starlette, way: str) -> None:
    def give(client: TestClient, token: str) -> int:
        if way == "form":
            return client.post("/login", data={"token": token}).status_code
        if way == "address":
            return client.get("/", params={"token": token}).status_code
        headers = {"Authorization": f"Bearer {token}"}
        return client.get("/v1/models", headers=headers).status_code

    with client_of(guard, "198.51.100.1") as early:
        early.post("/login", data={"token": TOKEN})
        with client_of(guard, "198.51.100.1") as guesser:
            answers = [give(guesser, f"guess-{number}") for number in range(TRIES + 2)]
            assert answers[:TRIES] == [401] * TRIES
            assert answers[-1] == 429
            assert give(guesser, TOKEN) == 429
            refusal = guesser.post("/login", data={"token": TOKEN})
            assert int(refusal.headers["Retry-After"]) >= 1
            assert "try again in" in refusal.text
        assert early.get("/page/start").status_code == 200  # who is in, stays in
    with client_of(guard, "198.51.100.2") as other:
        assert give(other, TOKEN) in (200, 303)


def test_a_link_on_another_site_does_not_log_anybody_out(client: TestClient) -> None:
    client.post("/login", data={"token": TOKEN})
    strict = {"Sec-Fetch-Site": "cross-site"}
    followed = client.get("/", headers={**strict, "Cookie": ""})  # a browser keeps it back
    assert followed.status_code == 200
    assert 'http-equiv="refresh"' in followed.text
    assert client.get("/", headers={"Sec-Fetch-Site": "same-origin"}).json()["person"]


def test_a_cookie_of_another_server_on_this_host_opens_nothing(client: TestClient) -> None:
    other = Access("another-token-altogether")
    for name in (other.cookie, Access(TOKEN).cookie):
        headers = {"Cookie": f"{name}={other.let_in()}; x"}
        assert client.get("/page/start", headers=headers).status_code == 401


def test_a_person_has_one_name_by_cookie_and_another_by_address(client: TestClient) -> None:
    client.post("/login", data={"token": TOKEN})
    by_cookie = client.get("/x").json()["person"]
    assert client.get("/x").json()["person"] == by_cookie
    client.cookies.clear()
    assert client.get("/x", headers=BEARER).json()["person"] == "192.0.2.1"


def test_after_the_form_the_conversation_that_was_asked_for_is_there(client: TestClient) -> None:
    page = client.get("/", params={"conversation": 'x"y&<z>'})
    assert 'name="query" value="conversation=x%22y%26%3Cz%3E"' in page.text
    form = {"token": TOKEN, "query": "conversation=x%22y&token=z\r\nSet-Cookie: a=b"}
    reply = client.post("/login", data=form)
    assert reply.headers["Location"] == "./?conversation=x%22y"
    assert "a" not in client.cookies
