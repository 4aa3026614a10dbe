"""Fetching pages from servers that mean well, and from others."""

import gzip
import socket
import time
from collections.abc import Iterator

import pytest

from data_tools.web_fetch import USER_AGENT, Fetcher, NotFetchedError
from tests.data_tools.name_server import name_server
from tests.data_tools.site_server import Reply, SiteServer, page, serve_site

pytestmark = pytest.mark.usefixtures("private_allowed")


@pytest.fixture
def site() -> Iterator[SiteServer]:
    """A server with one page."""
    with serve_site() as server:
        server.replies["/"] = page("<p>Hello</p>")
        yield server


def fetch(site: SiteServer, path: str = "/", **limits) -> bytes:
    """What a server sends."""
    with Fetcher(site.url(), **limits) as fetcher:
        return fetcher.fetch(site.url(path)).body


def refusal(site: SiteServer, path: str = "/", **limits) -> NotFetchedError:
    """Why a page is not fetched."""
    with pytest.raises(NotFetchedError) as caught:
        fetch(site, path, **limits)
    return caught.value


def test_a_page_is_fetched_by_a_robot_that_gives_its_name_and_nothing_else(
    site: SiteServer,
) -> None:
    assert b"Hello" in fetch(site)
    ((_, headers),) = site.requests
    assert headers == {
        "Host": f"127.0.0.1:{site.port}",
        "User-Agent": USER_AGENT,
        "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1",
        "Accept-Encoding": "gzip",
    }


def test_a_page_that_has_not_changed_is_not_sent_again(site: SiteServer) -> None:
    def reply(headers: dict[str, str]) -> Reply:
        known = headers.get("If-None-Match") == '"1"' and "If-Modified-Since" in headers
        stamp = {"ETag": '"1"', "Last-Modified": "Sun, 01 Nov 2026 00:00:00 GMT"}
        return Reply(b"" if known else b"new", 304 if known else 200, stamp)

    site.replies["/"] = reply
    with Fetcher(site.url()) as fetcher:
        first = fetcher.fetch(site.url())
        again = fetcher.fetch(site.url(), conditions=first.conditions)
    assert (first.changed, first.body) == (True, b"new")
    assert (again.changed, again.conditions) == (False, first.conditions)


def test_redirects_within_the_server_are_followed(site: SiteServer) -> None:
    site.replies["/old"] = Reply(status=301, headers={"Location": "/older?x=1#y"})
    site.replies["/older"] = Reply(status=308, headers={"Location": "/"})
    with Fetcher(site.url()) as fetcher:
        assert fetcher.fetch(site.url("/old")).url == site.url()


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("https://other.example/x", "redirects to another host"),
        ("http://127.0.0.2/x", "redirects to a private address"),
        ("http://169.254.169.254/latest/meta-data", "redirects to a private address"),
        ("http://[::1]/x", "redirects to a private address"),
        ("http://127.0.0.1:1/x", "redirects to a private address"),
        ("file:///etc/passwd", "no web address"),
        ("/loop", "redirects more than 5 times"),
    ],
)
def test_redirects_elsewhere_are_refused_before_anyone_is_asked(
    site: SiteServer, location: str, reason: str
) -> None:
    site.replies["/loop"] = Reply(status=302, headers={"Location": location})
    assert reason in str(refusal(site, "/loop"))


def test_another_server_is_not_asked_even_if_it_is_there(site: SiteServer) -> None:
    with serve_site("127.0.0.2") as other:
        other.replies["/"] = page("<p>secret</p>")
        site.replies["/out"] = Reply(status=302, headers={"Location": other.url()})
        assert refusal(site, "/out").leads_to == other.url()
        assert other.requests == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b"%PDF", type="application/pdf"), r"not HTML \(application/pdf\)"),
        (Reply(b"x", type=""), "not HTML"),
        (Reply(b"x", headers={"Content-Length": "100000000"}), r"oversized \(100,000,000 bytes"),
        (Reply(b"x" * 50_000), "oversized"),
        (
            Reply(gzip.compress(b"x" * 1_000_000), headers={"Content-Encoding": "gzip"}),
            "oversized",
        ),
        (Reply(b"\x1f\x8bno", headers={"Content-Encoding": "gzip"}), "damaged"),
        (Reply(b"x", headers={"Content-Encoding": "br"}), "not asked for"),
        (Reply(status=403), "needs a login"),
        (Reply(status=404), "status 404"),
        (Reply(status=500), "status 500"),
    ],
)
def test_what_is_no_page_or_too_large_is_refused(
    site: SiteServer, reply: Reply, reason: str
) -> None:
    site.replies["/x"] = reply
    with pytest.raises(NotFetchedError, match=reason):
        fetch(site, "/x", max_bytes=20_000)


def test_a_body_without_end_is_cut_off(site: SiteServer) -> None:
    part = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    chunked = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    site.replies["/x"] = Reply(part * 100, headers=chunked)
    assert "oversized" in str(refusal(site, "/x", max_bytes=20_000))


def test_compressed_pages_are_read(site: SiteServer) -> None:
    packed = gzip.compress(b"x" * 10_000)
    site.replies["/"] = Reply(packed, headers={"Content-Encoding": "gzip"})
    assert fetch(site, max_bytes=20_000) == b"x" * 10_000


def test_a_server_that_is_slow_is_given_up(site: SiteServer) -> None:
    site.replies["/"] = Reply(b"late", hang_s=20)
    started = time.monotonic()
    error = refusal(site, max_seconds=0.3)
    assert error.later
    assert "longer than 0.3 seconds" in str(error)
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_there_may_be_later(unused_port: int) -> None:
    with Fetcher(f"http://127.0.0.1:{unused_port}/") as fetcher:
        with pytest.raises(NotFetchedError, match="no answer") as caught:
            fetcher.fetch(f"http://127.0.0.1:{unused_port}/")
        assert caught.value.later
    with pytest.raises(NotFetchedError, match="check its spelling"):
        Fetcher("https://no-such-host.invalid/")


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_name_is_looked_up_once_however_its_address_changes(
    site: SiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = name_server(monkeypatch, "127.0.0.1", "127.0.0.2")
    site.replies["/"] = Reply(b"x", headers={"Connection": "close"})
    url = f"http://docs.test:{site.port}/"
    with Fetcher(url) as fetcher:
        assert fetcher.fetch(url).body == fetcher.fetch(url).body == b"x"
    assert asked == ["docs.test"]
    assert site.requests[0][1]["Host"] == f"docs.test:{site.port}"


def test_a_name_that_stands_for_a_link_local_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_server(monkeypatch, "169.254.169.254")
    with pytest.raises(NotFetchedError, match="never asked"):
        Fetcher("http://metadata.test/")
