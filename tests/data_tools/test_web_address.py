"""Addresses of web pages, each in one way."""

import pytest

from data_tools.web_address import (
    canonical_url,
    is_within,
    origin_of,
    readable_path,
    scope_of,
)


@pytest.mark.parametrize(
    ("address", "base", "url"),
    [
        ("../x/./y.html#part", "https://Docs.Example/a/b/", "https://docs.example/a/x/y.html"),
        ("?page=2", "https://docs.example/a/", "https://docs.example/a/"),
        ("b", "https://docs.example/a/", "https://docs.example/a/b"),
        ("//other.example", "https://docs.example/", "https://other.example/"),
        ("https://ada:pw@docs.example:443/a", "", "https://docs.example/a"),
        ("http://docs.example:8080//a//b/../c/", "", "http://docs.example:8080/a/c/"),
        ("/%7Eada/caf%c3%a9", "http://docs.example", "http://docs.example/~ada/caf%C3%A9"),
        ("https://docs.example", "", "https://docs.example/"),
        ("/../../etc/passwd", "https://docs.example/a", "https://docs.example/etc/passwd"),
        ("https://bücher.example/", "", "https://xn--bcher-kva.example/"),
        ("http://[::1]:8000/a", "", "http://[::1]:8000/a"),
    ],
)
def test_an_address_is_written_in_one_way(address: str, base: str, url: str) -> None:
    assert canonical_url(address, base) == url
    assert canonical_url(url) == url


@pytest.mark.parametrize(
    "address",
    [
        "mailto:ada@docs.example",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https://host:port/",
        "https://[::1/",
        "https://a b/",
        "https://docs.example/a%00b",
        "https://docs.example/" + "x" * 2_000,
        "https://docs.example" + "/a/b" * 4,
        "https://docs.example/" + "/".join(map(str, range(30))),
    ],
)
def test_what_is_no_web_address_or_made_by_a_loop_is_none(address: str) -> None:
    assert canonical_url(address) is None


def test_a_server_leads_to_itself_and_to_itself_over_https() -> None:
    plain, secure = origin_of("http://docs.example/"), origin_of("https://docs.example/")
    assert plain.leads_to(secure)
    assert not secure.leads_to(plain)
    assert not plain.leads_to(origin_of("http://docs.example:8080/"))
    assert not plain.leads_to(origin_of("https://api.docs.example/"))
    assert not origin_of("http://docs.example:8080/").leads_to(secure)


@pytest.mark.parametrize(
    ("start", "scope"),
    [
        ("https://docs.example/", "/"),
        ("https://docs.example/guide/", "/guide/"),
        ("https://docs.example/guide", "/guide/"),
        ("https://docs.example/guide/index.html", "/guide/"),
        ("https://docs.example/3.11", "/3.11/"),
    ],
)
def test_pages_lie_below_the_folder_of_the_first(start: str, scope: str) -> None:
    assert scope_of(start) == scope
    assert is_within(start, scope)
    assert is_within(f"https://docs.example{scope}a/b", scope)
    assert not is_within("https://docs.example/guides/", "/guide/")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://docs.example/guide/", "index.md"),
        ("https://docs.example/guide", "index.md"),
        ("https://docs.example/guide/install.html", "install.md"),
        ("https://docs.example/guide/install/", "install.md"),
        ("https://docs.example/guide/a/b", "a/b.md"),
        ("https://docs.example/guide/caf%C3%A9.htm", "café.md"),
        ("https://docs.example/guide/CHANGES.md", "CHANGES.md"),
    ],
)
def test_a_page_is_named_like_the_file_it_may_have_been(url: str, path: str) -> None:
    assert readable_path(url, "/guide/") == path
