"""A documentation site as a repository: its pages are files of Markdown, each with its address.

`docs+https://docs.example.org/guide/` is read by a polite crawl and pinned by a hash of all that it
says; `#pages=5000` behind it sets the limit. What makes up the crawl stands in
`data_tools.docs_crawl`; whether a URL is a site or a git repository is asked here.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from data_tools.clone import cache_folder
from data_tools.docs_crawl import MAX_PAGES, Crawl, Page, crawl
from data_tools.docs_memory import SiteMemory, when_read
from data_tools.errors import SourceError
from data_tools.sources import (
    Repository,
    SkippedFile,
    SourceFile,
    safe_relative_path,
    site_address,
    without_secrets,
)
from data_tools.storage import storage_errors
from data_tools.web_address import canonical_url, readable_path, scope_of
from data_tools.web_fetch import Fetcher, NotFetchedError

PROBE_S = 10.0  # for each of the two questions that tell git from HTML
_DUMB_REFS = re.compile(rb"[0-9a-f]{40}\t")  # `info/refs` of a repository served as static files


@dataclass(frozen=True)
class DocsSite:
    """A documentation site, as it was just read."""

    repository: Repository
    notice: str | None
    listed: tuple[SourceFile | SkippedFile, ...]

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Yield every page in the order of their paths; the skipped ones come with a reason."""
        yield from self.listed


def open_site(location: str, *, name: str, report: Callable[[str], None] | None = None) -> DocsSite:
    """Read a documentation site; what has not changed since the last time is not sent again.

    :param location: `docs+URL`, as `split_spec` returns it.
    :raises SourceError: its first page cannot be read, or it stops answering.
    :raises StorageError: the cache folder is full or not writable.
    """
    start, max_pages = site_address(location)
    file = _memory_file(start)
    with storage_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")), SiteMemory(file) as memory:
            found = crawl(start, memory, max_pages=max_pages or MAX_PAGES, report=report)
            files = _name_files(found.pages, name, scope_of(found.start))
            digest = hashlib.sha256("\n".join(f"{f.path}\0{f.sha256}" for f in files).encode())
            commit = digest.hexdigest()[:40]  # as long as git's
            changed_at = memory.note_read(commit)
    pinned = [replace(file, commit=commit) for file in files]
    skipped = [SkippedFile(name, page.url, page.reason) for page in found.skipped]
    repository = Repository(name, location, None, commit, changed_at, found.start)
    return DocsSite(repository, _notice(name, found), (*pinned, *skipped))


def last_read(repository: Repository) -> float | None:
    """Return when a site was last read, in Unix seconds.

    :param repository: whose location is `docs+URL`.
    """
    read_at = when_read(_memory_file(site_address(repository.location)[0]))
    return read_at or repository.committed_at


def is_documentation(url: str) -> bool:
    """Ask a server whether a URL is a documentation site, or may be a git repository.

    Git comes first, as git hosts show pages too; what cannot be told is left to git, which knows
    the user's credentials and proxies.

    :param url: http or https, as `canonical_url` returns it.
    :raises SourceError: it is neither.
    """
    try:
        with Fetcher(url, max_seconds=PROBE_S) as fetcher:
            if _may_be_git(fetcher, url):
                return False
            fetcher.fetch(url)
    except NotFetchedError as error:
        if error.later or error.status == 401:
            return False
        raise SourceError(
            f"{url} is neither a git repository nor a documentation site ({error}); "
            f"check its spelling, or insist: git+{url} or docs+{url}"
        ) from error
    return True


def _may_be_git(fetcher: Fetcher, url: str) -> bool:
    refs = canonical_url(url.rstrip("/") + "/info/refs")
    try:
        answer = fetcher.fetch(refs or url, types=(), query="service=git-upload-pack")
    except NotFetchedError as error:
        return error.later or error.status == 401
    is_smart = answer.content_type.startswith("application/x-git-")
    return is_smart or _DUMB_REFS.match(answer.body) is not None


def _memory_file(start: str) -> Path:
    host = re.sub(r"[^\w.-]+", "-", start.split("/")[2])
    key = hashlib.sha256(start.encode()).hexdigest()[:12]
    return cache_folder() / "sites" / f"{host}-{key}.sqlite"


def _name_files(pages: Sequence[Page], name: str, scope: str) -> list[SourceFile]:
    """Give each page a path of its own, whatever order they were found in."""
    files: dict[str, SourceFile] = {}
    for page in sorted(pages, key=lambda page: page.url):
        wanted = readable_path(page.url, scope)
        if not safe_relative_path(wanted):
            wanted = f"{page.sha256[:12]}.md"
        path, number = wanted, 2
        while path in files:
            path, number = f"{wanted.removesuffix('.md')}-{number}.md", number + 1
        links = [(1, page.url)]
        links += [
            (line, f"{page.url}#{quote(anchor)}")
            for line, anchor in page.document.anchors
            if line > 1
        ]
        text = page.document.text
        file = SourceFile(name, "", path, "markdown", text, page.sha256, tuple(links))
        files[path] = without_secrets(file)
    return [files[path] for path in sorted(files)]


def _notice(name: str, found: Crawl) -> str | None:
    """Say what the user would want to know of a crawl, if anything."""
    notes = []
    if found.more:
        notes.append(
            f"stopped at the limit of {found.limit}, with {found.more:,} more found; "
            f"`docs+{found.start}#pages={len(found.pages) + found.more}` sets another limit"
        )
    if found.kept:
        notes.append(f"{found.kept:,} pages could not be had and are as they were the last time")
    if len(found.pages) == 1 and not found.more:
        notes.append(
            f"only {found.start} was read; for more, give the address of a folder above it"
        )
    return f"{name}: {'; '.join(notes)}" if notes else None
