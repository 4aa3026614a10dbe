"""Crawling a documentation site: which pages it has, and what each of them says.

Pages come from the sitemap and from links, breadth first, below the address that the user named;
both, because the sitemaps of some hosts name only versions. robots.txt is followed. All is bounded:
pages, links from one to the next, bytes, waits. What is not read is listed with its reason.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

from data_tools.docs_page import Document, read_document
from data_tools.docs_robots import Robots, read_robots
from data_tools.docs_sitemap import UnreadableSitemapError, read_sitemap
from data_tools.errors import SourceError
from data_tools.web_address import canonical_url, is_within, origin_of, scope_of
from data_tools.web_fetch import ROBOT_NAME, Fetched, Fetcher, NotFetchedError

MAX_PAGES = 2_000
MAX_CLICKS = 30  # links from the first page; documentation is shallow, loops of links are not
MAX_BYTES = 1_000_000_000  # received for one site
MAX_QUEUED = 50_000  # addresses kept in mind
MAX_SITEMAPS = 50
MAX_DELAY_S = 5.0  # between two pages, however much robots.txt asks for
MAX_RETRY_S = 30.0  # waited for a server that is busy
MAX_FAILURES = 10  # in a row: then the server is taken to be down
# Lists, searches and copies that generators make: nothing in them that the pages do not say.
_MADE_PAGES = frozenset(
    "genindex py-modindex modindex http-routingtable search.html 404.html".split()
)
_MADE_FOLDERS = frozenset("_sources _modules _static _images _downloads".split())
_FILES = frozenset(
    "7z avi bz2 css csv deb dmg doc docx eot epub exe gif gz ico inv iso jar jpeg jpg json map "
    "mov mp3 mp4 ods odt pdf png ppt pptx ps rar rpm rss svg tar tgz tif tiff ttf txt wav webm "
    "webp whl wmv woff woff2 xls xlsx xml xz zip".split()
)


@dataclass(frozen=True)
class Page:
    """A page as it was read.

    :param url: its address, after redirects.
    :param sha256: of all that it says.
    :param conditions: headers that ask the server for it only if it has changed.
    """

    url: str
    document: Document
    sha256: str
    conditions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SkippedPage:
    """A page that is not read, and why."""

    url: str
    reason: str


@dataclass(frozen=True)
class Crawl:
    """What a crawl found.

    :param start: the first page, after redirects.
    :param pages: in the order they were found.
    :param kept: how many could not be had this time and are as they were the last time.
    :param more: how many addresses were left when a limit was reached.
    :param limit: which one that was, in words.
    """

    start: str
    pages: tuple[Page, ...]
    skipped: tuple[SkippedPage, ...]
    kept: int = 0
    more: int = 0
    limit: str = ""


class PageMemory(Protocol):
    """What was read before, by the address that was asked for."""

    def get(self, url: str) -> Page | None:
        """Return the page that was read at an address, if there is one."""

    def put(self, url: str, page: Page) -> None:
        """Remember a page."""

    def forget(self, url: str) -> None:
        """Forget a page that is no more."""


def crawl(
    start: str,
    memory: PageMemory,
    *,
    max_pages: int = MAX_PAGES,
    report: Callable[[str], None] | None = None,
) -> Crawl:
    """Read the pages below `start`, on its server alone.

    :param start: as `canonical_url` returns it.
    :param report: receives lines of progress.
    :raises SourceError: the first page cannot be read, or the server stops answering.
    """
    try:
        with Fetcher(start) as fetcher:
            return _Crawler(fetcher, memory, max_pages, report).run(start)
    except NotFetchedError as error:
        advice = "; if that is right, give that address" if error.leads_to else ""
        raise SourceError(f"cannot read {start}: {error}{advice}") from error


class _Crawler:
    """One crawl, while it goes on."""

    def __init__(
        self,
        fetcher: Fetcher,
        memory: PageMemory,
        max_pages: int,
        report: Callable[[str], None] | None,
    ) -> None:
        self._fetcher = fetcher
        self._memory = memory
        self._max_pages = max_pages
        self._report = report or (lambda _: None)
        self._robots = Robots()
        self._origin = fetcher.origin
        self._scope = "/"
        self._queue: deque[tuple[str, int]] = deque()
        self._seen: set[str] = set()
        self._pages: dict[str, Page] = {}  # by the hash of what they say
        self._skipped: dict[str, str] = {}
        self._kept = 0
        self._failures = 0

    def run(self, start: str) -> Crawl:
        """Read the first page, then what it and the sitemap lead to."""
        self._robots = self._read_robots()
        if not self._robots.allows(start):
            raise NotFetchedError(f"{origin_of(start)}/robots.txt asks programs not to read it")
        self._seen.add(start)
        first = self._read(start)
        for _ in range(3):  # pages that send their readers on at once
            if first.document.moved_to is None:
                break
            first = self._read(first.document.moved_to)
        self._origin = origin_of(first.url)
        self._scope = scope_of(first.url)
        self._seen.add(first.url)
        self._add(first, 0)
        for url in self._read_sitemaps():
            self._enqueue(url, 1)
        while self._queue and self._may_go_on():
            self._visit(*self._queue.popleft())
        full = len(self._pages) >= self._max_pages
        limit = f"{self._max_pages:,} pages" if full else f"{MAX_BYTES:,} bytes"
        more = len(self._queue)
        self._skipped |= {url: f"beyond the limit of {limit}" for url, _ in self._queue}
        skipped = tuple(SkippedPage(url, reason) for url, reason in self._skipped.items())
        return Crawl(first.url, tuple(self._pages.values()), skipped, self._kept, more, limit)

    def _may_go_on(self) -> bool:
        return len(self._pages) < self._max_pages and self._fetcher.received_bytes < MAX_BYTES

    def _visit(self, url: str, clicks: int) -> None:
        """Read one page of the queue, or note why not."""
        found = len(self._pages) + len(self._queue) + 1
        self._report(f"crawling: page {len(self._pages) + 1:,} of {min(found, self._max_pages):,}")
        try:
            page = self._read(url)
        except NotFetchedError as error:
            known = self._memory.get(url)
            if error.gone:
                self._memory.forget(url)
            if known is None or not error.later:
                self._skipped[url] = str(error)
                return
            page = known
            self._kept += 1
        if page.url != url:
            if not is_within(page.url, self._scope):
                self._skipped[url] = f"redirects out of {self._scope} (to {page.url})"
                return
            if page.url in self._seen:
                return
            self._seen.add(page.url)
        self._add(page, clicks)

    def _add(self, page: Page, clicks: int) -> None:
        document = page.document
        for link in (*document.links, *([document.moved_to] if document.moved_to else [])):
            self._enqueue(link, clicks + 1)
        if document.moved_to:
            self._skipped[page.url] = f"redirects (to {document.moved_to})"
        elif not document.text:
            self._skipped[page.url] = "no text in it; scripts are not run"
        elif page.sha256 in self._pages:
            self._skipped[page.url] = (
                f"the same text as another page ({self._pages[page.sha256].url})"
            )
        else:
            self._pages[page.sha256] = page

    def _enqueue(self, url: str, clicks: int) -> None:
        """Queue an address, unless it is elsewhere, known, or not worth a request."""
        if origin_of(url).leads_to(self._origin):  # a link to http on a site of https
            url = f"{self._origin}{urlsplit(url).path}"
        within = self._origin.leads_to(origin_of(url)) and is_within(url, self._scope)
        if not within or url in self._seen or len(self._seen) >= MAX_QUEUED:
            return
        self._seen.add(url)
        reason = _reason_to_skip(url, self._scope)
        if not reason and not self._robots.allows(url):
            reason = "robots.txt asks programs not to read it"
        if not reason and clicks > MAX_CLICKS:
            reason = f"more than {MAX_CLICKS} links away from the first page"
        if reason:
            self._skipped[url] = reason
        else:
            self._queue.append((url, clicks))

    def _read(self, url: str) -> Page:
        """Fetch a page, or take it from memory where it has not changed."""
        known = self._memory.get(url)
        answer = self._fetch(url, known.conditions if known else {})
        if known and not answer.changed:
            return known
        document = read_document(answer.body, answer.url, answer.charset)
        said = "\0".join([document.text, *map(str, document.anchors), document.moved_to or ""])
        sha256 = hashlib.sha256(said.encode("utf-8", errors="replace")).hexdigest()
        page = Page(answer.url, document, sha256, answer.conditions)
        self._memory.put(url, page)
        return page

    def _fetch(self, url: str, conditions: dict[str, str]) -> Fetched:
        """Fetch a page; once more where the server is busy or hung up."""
        for attempt in (1, 2):
            time.sleep(min(self._robots.delay_s, MAX_DELAY_S))
            try:
                answer = self._fetcher.fetch(url, conditions=conditions)
            except NotFetchedError as error:
                if attempt == 2 or not error.later:
                    self._failures = self._failures + 1 if error.later else 0
                    if self._failures >= MAX_FAILURES:
                        raise SourceError(
                            f"{self._fetcher.origin} has stopped answering ({error}); "
                            "run it again later, what was read is kept"
                        ) from error
                    raise
                time.sleep(min(error.retry_after_s or 0.0, MAX_RETRY_S))
            else:
                self._failures = 0
                return answer
        raise AssertionError("unreachable")

    def _read_robots(self) -> Robots:
        """Read robots.txt: all is allowed where there is none, nothing while it cannot be had."""
        try:
            answer = self._fetcher.fetch(f"{self._fetcher.origin}/robots.txt", types=())
        except NotFetchedError as error:
            if error.later:
                reason = f"its robots.txt cannot be had ({error})"
                raise NotFetchedError(reason, later=True) from error
            return Robots()
        return read_robots(answer.body.decode("utf-8", errors="replace"), ROBOT_NAME)

    def _read_sitemaps(self) -> Iterator[str]:
        """Yield the addresses of all sitemaps that robots.txt names or that lie where they do."""
        origin = self._origin
        usual = (f"{origin}{self._scope}sitemap.xml", f"{origin}/sitemap.xml")
        waiting = deque(
            url for each in (*self._robots.sitemaps, *usual) if (url := canonical_url(each))
        )
        read: set[str] = set()
        while waiting and len(read) < MAX_SITEMAPS:
            url = waiting.popleft()
            if url in read or self._fetcher.origin.host != origin_of(url).host:
                continue
            read.add(url)
            try:
                pages, more = read_sitemap(self._fetcher.fetch(url, types=()).body)
            except NotFetchedError as error:
                if not error.gone:
                    self._skipped[url] = str(error)
            except UnreadableSitemapError as error:
                self._skipped[url] = f"a sitemap that is {error}"
            else:
                yield from (page for each in pages if (page := canonical_url(each, url)))
                waiting.extend(found for each in more if (found := canonical_url(each, url)))


def _reason_to_skip(url: str, scope: str) -> str | None:
    """Judge a page by its address, before it is asked for."""
    *folders, name = unquote(urlsplit(url).path).removeprefix(scope).strip("/").split("/")
    stem, _, suffix = name.rpartition(".")
    made = next((folder for folder in folders if folder in _MADE_FOLDERS), None)
    if made:
        return f"no page of its own ({made}/)"
    if suffix.lower() in _FILES and stem:
        return f"not HTML (.{suffix.lower()})"
    if {name, stem or name} & _MADE_PAGES or name.startswith("genindex-"):
        return "a list that a program made"
    return None
