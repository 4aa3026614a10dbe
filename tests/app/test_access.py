"""Tokens and the cookies that stand for them."""

import time
from pathlib import Path

import pytest

from app.access import CLOCK_SLACK_S, SESSION_S, Access, find_access
from data_tools.errors import TokenError

TOKEN = "correct-horse-battery-staple"


def test_a_cookie_is_known_again_by_whoever_has_the_token() -> None:
    cookie = Access(TOKEN).let_in()
    person = Access(TOKEN).person(cookie)
    assert person is not None
    assert TOKEN not in cookie
    assert Access(TOKEN).person(Access(TOKEN).let_in()) != person
    assert Access(TOKEN[:-1] + "x").person(cookie) is None


def test_a_changed_cookie_is_nobody_s() -> None:
    access = Access(TOKEN)
    cookie = access.let_in()
    for place in range(len(cookie)):
        other = "0" if cookie[place] != "0" else "1"
        assert access.person(cookie[:place] + other + cookie[place + 1 :]) is None
    for forged in ("", "..", cookie + "0", cookie.upper(), f" {cookie}", cookie.replace(".", "")):
        assert access.person(forged) is None


@pytest.mark.parametrize("age_s", [SESSION_S + 60, -CLOCK_SLACK_S - 60])
def test_a_cookie_ends_and_none_is_from_the_future(
    age_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = Access(TOKEN).let_in()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + age_s)
    assert Access(TOKEN).person(cookie) is None


def test_the_token_is_not_shown_where_the_object_is() -> None:
    assert TOKEN not in repr(Access(TOKEN))
    assert TOKEN not in Access(TOKEN).cookie


@pytest.mark.parametrize("given", [b"", b"correct", TOKEN.encode() + b"\0", b"\xff" * 28])
def test_only_the_token_is_the_token(given: bytes) -> None:
    assert Access(TOKEN).is_token(TOKEN.encode())
    assert not Access(TOKEN).is_token(given)


def test_loopback_needs_none_and_every_other_address_gets_one() -> None:
    assert find_access("127.0.0.1") is None
    made = find_access("0.0.0.0")
    assert made is not None
    assert made.made
    assert len(made.token) >= 40
    assert made != find_access("0.0.0.0")


def test_a_token_of_the_environment_is_asked_for_on_loopback_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CODEQA_TOKEN", TOKEN)
    assert find_access("127.0.0.1") == Access(TOKEN)
    file = tmp_path / "token"
    file.write_text("another-token-of-a-file\n")
    assert find_access("127.0.0.1", str(file)) == Access("another-token-of-a-file")


@pytest.mark.parametrize("token", ["short", "two words of a phrase", "ümlaut-" * 4, "x" * 501])
def test_what_is_no_secret_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEQA_TOKEN", token)
    with pytest.raises(TokenError, match="CODEQA_TOKEN holds no token.*openssl") as caught:
        find_access("127.0.0.1")
    assert token not in str(caught.value)


def test_a_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="cannot read the file of --token-file"):
        find_access("127.0.0.1", str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(TokenError, match="holds no token"):
        find_access("127.0.0.1", str(tmp_path / "binary"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(TokenError, match="holds no token"):
        find_access("127.0.0.1", str(tmp_path / "empty"))
