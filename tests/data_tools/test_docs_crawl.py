"""Which pages a crawl reads, in what order, and what it leaves alone."""

from collections.abc import Callable, Iterator

import pytest

from data_tools import docs_crawl
from data_tools.docs_crawl import Crawl, Page, crawl
from data_tools.errors import SourceError
from tests.data_tools.site_server import Reply, Response, SiteServer, page, serve_site

pytestmark = pytest.mark.usefixtures("private_allowed")


class Memory:
    """What was read before, in a dictionary."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}

    def get(self, url: str) -> Page | None:
        return self.pages.get(url)

    def put(self, url: str, page: Page) -> None:
        self.pages[url] = page

    def forget(self, url: str) -> None:
        self.pages.pop(url, None)


@pytest.fixture
def site() -> Iterator[SiteServer]:
    """A site of four pages below /docs/, and one beside them."""
    with serve_site() as server:
        server.replies |= {
            "/docs/": page('<h1>Docs</h1><a href="a.html">A</a> <a href="b/">B</a>'),
            "/docs/a.html": page('<h1>A</h1><a href="/docs/b/#part">B</a> <a href="/">Up</a>'),
            "/docs/b/": page('<h1>B</h1><a href="c">C</a> <a href="https://other.example/">O</a>'),
            "/docs/b/c": page('<h1>C</h1><a href="../?page=2">Docs</a>'),
            "/": page("<h1>Shop</h1>"),
        }
        yield server


def read(site: SiteServer, start: str = "/docs/", memory: Memory | None = None, **options) -> Crawl:
    """Crawl a site."""
    return crawl(site.url(start), memory or Memory(), **options)


def paths(found: Crawl, site: SiteServer) -> list[str]:
    """The paths of the pages that were read."""
    return [page.url.removeprefix(site.url("")) for page in found.pages]


def reasons(found: Crawl, site: SiteServer) -> dict[str, str]:
    """Path and reason of each page that was skipped."""
    return {page.url.removeprefix(site.url("")): page.reason for page in found.skipped}


def test_links_below_the_first_page_are_followed_breadth_first_each_once(site: SiteServer) -> None:
    lines: list[str] = []
    found = read(site, report=lines.append)
    assert paths(found, site) == ["/docs/", "/docs/a.html", "/docs/b/", "/docs/b/c"]
    usual = ["/robots.txt", "/docs/", "/docs/sitemap.xml", "/sitemap.xml"]
    assert site.asked() == [*usual, "/docs/a.html", "/docs/b/", "/docs/b/c"]
    assert lines[-1] == "crawling: page 4 of 4"
    assert found.skipped == ()


def test_a_first_page_that_redirects_says_where_the_site_is(site: SiteServer) -> None:
    site.replies["/go"] = Reply(status=302, headers={"Location": "/docs/"})
    found = read(site, "/go")
    assert found.start == site.url("/docs/")
    assert len(found.pages) == 4


def test_pages_of_the_sitemap_are_read_though_nothing_links_to_them(site: SiteServer) -> None:
    address = "<url><loc>{}</loc></url><url><loc>https://other.example/docs/x</loc></url>"
    index = f"<sitemapindex><sitemap><loc>{site.url('/more.xml')}</loc></sitemap></sitemapindex>"
    site.replies |= {
        "/sitemap.xml": Reply(index.encode(), type="text/xml"),
        "/more.xml": Reply(f"<urlset>{address.format(site.url('/docs/d'))}</urlset>".encode()),
        "/docs/d": page("<h1>D</h1>"),
    }
    assert "/docs/d" in paths(read(site), site)


def test_a_sitemap_that_would_grow_without_end_is_refused_with_its_reason(site: SiteServer) -> None:
    site.replies["/sitemap.xml"] = Reply(b'<!DOCTYPE x [<!ENTITY a "b">]><urlset>&a;</urlset>')
    found = read(site)
    assert "declares a document type" in reasons(found, site)["/sitemap.xml"]
    assert len(found.pages) == 4


def test_robots_txt_is_followed(site: SiteServer) -> None:
    site.replies["/robots.txt"] = Reply(
        b"User-agent: codeqa\nDisallow: /docs/b/\nSitemap: /docs/map.xml\n", type="text/plain"
    )
    found = read(site)
    assert paths(found, site) == ["/docs/", "/docs/a.html"]
    assert reasons(found, site) == {"/docs/b/": "robots.txt asks programs not to read it"}
    assert "/docs/b/" not in site.asked()
    site.replies["/robots.txt"] = Reply(b"User-agent: *\nDisallow: /\n", type="text/plain")
    with pytest.raises(SourceError, match=r"robots\.txt asks programs not to read it"):
        read(site)


def test_as_long_as_robots_txt_asks_is_waited_up_to_a_limit(
    site: SiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    site.replies["/robots.txt"] = Reply(b"User-agent: *\nCrawl-delay: 600\n", type="text/plain")
    read(site)
    assert waits == [docs_crawl.MAX_DELAY_S] * 4


def test_what_is_not_to_be_read_is_listed_with_its_reason(site: SiteServer) -> None:
    links = (
        "manual.pdf x.zip _modules/x.html genindex.html moved out private huge text gone "
        "twin empty refresh"
    ).split()
    site.replies |= {
        "/docs/": page("".join(f'<a href="{link}">{link}</a>' for link in links) + "Docs"),
        "/docs/moved": Reply(status=301, headers={"Location": "/"}),
        "/docs/out": Reply(status=301, headers={"Location": "https://other.example/"}),
        "/docs/private": Reply(status=301, headers={"Location": "http://10.0.0.1/admin"}),
        "/docs/huge": Reply(b"x", headers={"Content-Length": "100000000"}),
        "/docs/text": Reply(b"plain", type="text/plain"),
        "/docs/twin": page("<p>Once</p>"),
        "/docs/empty": Reply(b"<html><body><script>render()</script></body></html>"),
        "/docs/refresh": Reply(b'<meta http-equiv="refresh" content="0;url=/docs/target">'),
        "/docs/target": page("<p>Once</p>"),
    }
    found = read(site)
    assert paths(found, site) == ["/docs/", "/docs/twin"]
    assert reasons(found, site) == {
        "/docs/manual.pdf": "not HTML (.pdf)",
        "/docs/x.zip": "not HTML (.zip)",
        "/docs/_modules/x.html": "no page of its own (_modules/)",
        "/docs/genindex.html": "a list that a program made",
        "/docs/moved": f"redirects out of /docs/ (to {site.url('/')})",
        "/docs/out": "redirects to another host (https://other.example/)",
        "/docs/private": "redirects to a private address (http://10.0.0.1/admin)",
        "/docs/huge": "oversized (100,000,000 bytes, limit 5,000,000 bytes)",
        "/docs/text": "not HTML (text/plain)",
        "/docs/gone": "status 404",
        "/docs/empty": "no text in it; scripts are not run",
        "/docs/refresh": f"redirects (to {site.url('/docs/target')})",
        "/docs/target": f"the same text as another page ({site.url('/docs/twin')})",
    }


class EveryPath(dict[str, Response]):
    """A page for every path; `links` makes what it links to of the path."""

    def __init__(self, links: Callable[[str], str]) -> None:
        super().__init__({"/robots.txt": Reply(status=404)})
        self._links = links

    def get(self, path: str, default: object = None) -> Response:
        return self[path] if path in self else page(f"<p>{path}</p>{self._links(path)}")


def test_links_that_nest_without_end_come_to_an_end(site: SiteServer) -> None:
    site.replies = EveryPath(lambda path: '<a href="a/">a</a><a href="b/">b</a>')
    found = read(site, "/")
    assert 6 < len(found.pages) < 80
    assert max(page.url.count("/a/") for page in found.pages) <= docs_crawl.MAX_CLICKS
    assert found.more == 0


def test_a_site_without_end_is_read_up_to_the_limit(site: SiteServer) -> None:
    def links(path: str) -> str:
        number = int(path.strip("/") or 0)
        return "".join(f'<a href="/{2 * number + side}/">on</a>' for side in (1, 2))

    site.replies = EveryPath(links)
    found = read(site, "/", max_pages=30)
    assert (len(found.pages), found.more) == (30, 31)
    assert found.skipped[-1].reason == "beyond the limit of 30 pages"


def test_an_update_asks_only_whether_pages_have_changed(site: SiteServer) -> None:
    for path in ("/docs/", "/docs/a.html", "/docs/b/", "/docs/b/c"):
        reply = site.replies[path]
        assert isinstance(reply, Reply)
        site.replies[path] = stamped(reply)
    memory = Memory()
    first = read(site, memory=memory)
    site.asked()
    site.replies["/docs/a.html"] = page("<h1>A, written anew</h1>")
    second = read(site, memory=memory)
    sent = [path for path, headers in site.requests if "If-None-Match" in headers]
    assert sent == ["/docs/", "/docs/a.html", "/docs/b/", "/docs/b/c"]
    changed = [page.url for page in second.pages if page not in first.pages]
    assert changed == [site.url("/docs/a.html")]


def stamped(reply: Reply) -> Callable[[dict[str, str]], Reply]:
    """A page that is sent only if it has changed."""

    def answer(headers: dict[str, str]) -> Reply:
        known = headers.get("If-None-Match") == '"1"'
        return Reply(b"" if known else reply.body, 304 if known else 200, {"ETag": '"1"'})

    return answer


def test_a_page_that_cannot_be_had_now_stays_and_one_that_is_gone_goes(site: SiteServer) -> None:
    memory = Memory()
    read(site, memory=memory)
    site.replies["/docs/a.html"] = Reply(status=500)
    site.replies["/docs/b/c"] = Reply(status=410)
    found = read(site, memory=memory)
    assert paths(found, site) == ["/docs/", "/docs/a.html", "/docs/b/"]
    assert found.kept == 1
    assert reasons(found, site) == {"/docs/b/c": "status 410"}
    assert site.url("/docs/b/c") not in memory.pages


def test_a_busy_server_is_asked_once_more_after_as_long_as_it_says(
    site: SiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    good, replies = site.replies["/docs/a.html"], []

    def busy(headers: dict[str, str]) -> Reply:
        replies.append(headers)
        assert isinstance(good, Reply)
        return good if len(replies) > 1 else Reply(status=429, headers={"Retry-After": "7"})

    site.replies["/docs/a.html"] = busy
    assert len(read(site).pages) == 4
    assert 7.0 in waits


def test_a_server_that_stops_answering_ends_the_crawl(site: SiteServer) -> None:
    links = "".join(f'<a href="{number}">x</a>' for number in range(40))
    site.replies["/docs/"] = page(f"<p>Docs</p>{links}")
    site.replies |= {f"/docs/{number}": Reply(status=503) for number in range(40)}
    with pytest.raises(SourceError, match=r"has stopped answering \(status 503\)"):
        read(site)
    assert len(site.requests) < 30


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "status 404"),
        (Reply(b"%PDF", type="application/pdf"), "not HTML"),
        (
            Reply(status=301, headers={"Location": "https://other.example/docs"}),
            "redirects to another host (https://other.example/docs); if that is right, give",
        ),
    ],
)
def test_a_first_page_that_cannot_be_read_is_an_error(
    site: SiteServer, reply: Reply, reason: str
) -> None:
    site.replies["/docs/"] = reply
    with pytest.raises(SourceError) as caught:
        read(site)
    assert reason in str(caught.value)
