"""Where code comes from: a git URL, a local repository, a plain folder, a documentation site.

`open_source` reads what the user typed and gives a `Snapshot`: one repository, pinned, whose
files can be read. Links are never followed, and nothing of the repository is executed.
"""

import contextlib
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from data_tools import filters
from data_tools.errors import SourceError
from data_tools.git_address import is_ssh_address, shown, split_ref, split_ssh_address, split_url
from data_tools.hosts import DEFAULT_PORTS, UnknownHostError, check_scheme, find_addresses
from data_tools.languages import Kind, detect_language
from data_tools.notebook import render_notebook
from data_tools.secrets import redact
from data_tools.text import decode_text
from data_tools.web_address import canonical_url

WORKTREE = "worktree"  # the "commit" of a plain folder
SITE = "docs+"  # before the URL of a documentation site; `git+` insists on a repository
MAX_NAME_CHARS = 80  # of a repository: with what is appended, file systems still take it

Report = Callable[[str], None]


@dataclass(frozen=True)
class Repository:
    """A repository at a commit: enough to open it again and to link into it.

    :param name: short, unique within an index, safe as a folder name.
    :param location: git URL without credentials, absolute path, or `docs+URL` of a site.
    :param ref: branch, tag or commit the user asked for; None is the default branch.
    :param commit: full SHA, or `worktree` for a plain folder; of a site a hash of what it says.
    :param committed_at: commit time, Unix seconds; None for a plain folder; of a site when it
        was first seen to say that.
    :param web_url: page of the repository on its git host, if links into it would work; of a
        site its first page.
    """

    name: str
    location: str
    ref: str | None
    commit: str
    committed_at: int | None = None
    web_url: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """One text file of a repository. Lines of `text` end with a single newline.

    :param sha256: of the file as it is; of `text` where secrets were taken out, since who has the
        rest of a file and a hash of the whole can guess a short one.
    :param links: (line, URL): from that line on, 1-based, this address shows the text. Only pages
        of sites have addresses of their own; other links are made of path and lines.
    :param secrets: kinds of the secrets that were taken out of `text`, one each.
    """

    repo: str
    commit: str
    path: str
    language: str
    text: str
    sha256: str
    links: tuple[tuple[int, str], ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class SkippedFile:
    """One file that is not indexed, and why."""

    repo: str
    path: str
    reason: str


class Snapshot(Protocol):
    """A repository pinned at a commit."""

    @property
    def repository(self) -> Repository:
        """What it is."""

    @property
    def notice(self) -> str | None:
        """What the user should know about it, such as changes that are not committed."""

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Read every file in the order of their paths; the skipped ones come with a reason."""


_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*::?(//)?")
_HALF_A_URL = re.compile(r"^(?:https?|ssh):", re.IGNORECASE)
_GIT_HOSTS = ("github.com", "gitlab.com", "bitbucket.org", "codeberg.org")
_HOST_ALONE = re.compile(rf"^(?:www\.)?(?:{'|'.join(map(re.escape, _GIT_HOSTS))})/.")
_GIT_PREFIX = re.compile(r"^git\+(?=(?:https?|ssh|file)://)", re.IGNORECASE)
_PAGES = re.compile(r"^pages=([1-9]\d{0,5})$")


def split_spec(spec: str) -> tuple[str, str | None]:
    """Split `REPO[@REF]` into the repository and the branch, tag or commit.

    `https://host/owner/name/tree/REF`, as copied from a browser, is understood too. A site
    (`docs+URL`) has no refs.

    :raises SourceError: the text is no URL or path, or its scheme is not one of https, http,
        ssh and file.
    """
    spec = _GIT_PREFIX.sub("", spec.strip())
    if not spec or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", spec) or spec.startswith("-"):
        raise SourceError(f"not a repository: {shown(spec)}; give a git URL or a path")
    if is_site(spec):
        start, max_pages = site_address(spec)
        return f"{SITE}{start}" + (f"#pages={max_pages}" if max_pages else ""), None
    if "://" in spec and _SCHEME.match(spec):
        return split_url(spec)
    if is_ssh_address(spec):
        return split_ssh_address(spec)
    if ("::" in spec and _SCHEME.match(spec)) or _HALF_A_URL.match(spec):
        raise SourceError(
            f"not a repository: {shown(spec)}; use an https, ssh or file URL, or a path"
        )
    if _exists(_local_path(spec)):
        return spec, None
    if _HOST_ALONE.match(spec):
        return split_url(f"https://{spec}")
    for sign in re.finditer("@", spec):
        if sign.start() and _exists(_local_path(spec[: sign.start()])):
            return spec[: sign.start()], spec[sign.end() :] or None
    return split_ref(spec)


def is_site(spec: str) -> bool:
    """Tell whether a spec or location names a documentation site: `docs+URL`."""
    return spec.strip().lower().startswith((f"{SITE}http://", f"{SITE}https://"))


def site_address(spec: str) -> tuple[str, int | None]:
    """Split `docs+URL[#pages=N]` into the address of the first page and the limit on pages.

    :raises SourceError: it is no web address, or holds credentials, which no site is sent.
    """
    address, _, fragment = spec.strip()[len(SITE) :].partition("#")
    start = canonical_url(address)
    if start is None or "@" in address.split("/")[2]:
        raise SourceError(
            f"not a documentation site: {plain_location(address)}; give the address of a page "
            "that needs no login"
        )
    pages = _PAGES.match(fragment)
    return start, int(pages[1]) if pages else None


def resolve_spec(spec: str) -> str:
    """Settle whether an http(s) URL is a git repository or a documentation site.

    Known git hosts, refs, credentials and names that end in `.git` need no asking; other servers
    are asked. What is no such URL, or is settled, stays as it is.

    :return: `git+URL` or `docs+URL`.
    :raises SourceError: it is neither, or the spec is none (see `split_spec`).
    """
    location, ref = split_spec(spec)
    url = canonical_url(location)
    spec = spec.strip()
    if url is None or is_site(spec) or _GIT_PREFIX.match(spec):
        return spec
    host = urlsplit(url).hostname or ""
    if (
        ref
        or host.removeprefix("www.") in _GIT_HOSTS
        or url.endswith(".git")
        or "@" in location.split("/")[2]
    ):
        return f"git+{spec}" if "://" in spec else spec
    check_server(location)
    _require_git()
    from data_tools import docs_site

    page, _, fragment = spec.partition("#")
    if not docs_site.is_documentation(canonical_url(page) or url):
        return f"git+{spec}"
    return f"{SITE}{page}" + (f"#{fragment}" if _PAGES.match(fragment) else "")


def is_remote(location: str) -> bool:
    """Tell whether `location` (without its ref) is cloned or fetched rather than read in place."""
    is_url = "://" in location and _SCHEME.match(location) is not None  # no path that holds one
    return is_url or is_ssh_address(location)


def check_server(location: str) -> None:
    """Refuse a location on a server that may not be spoken to, as far as can be told at once.

    What its name stands for is looked up again when it is opened; one that is not known passes.

    :param location: as `split_spec` returns it; what is read in place passes.
    :raises SourceError: see `data_tools.hosts`.
    """
    if not is_remote(location) or location.startswith("file:"):
        return
    if is_ssh_address(location):
        location = "ssh://" + location.partition(":")[0]
    parts = urlsplit(location.removeprefix(SITE))
    host = parts.hostname or ""
    with contextlib.suppress(UnknownHostError):
        find_addresses(host, parts.port or DEFAULT_PORTS[parts.scheme])
    check_scheme(parts.scheme, host)


def plain_location(location: str) -> str:
    """Return what identifies a repository: its URL without credentials, or its absolute path.

    :param location: as `split_spec` returns it.
    """
    if is_site(location):
        return location.partition("#")[0]
    if "://" not in location:
        return location if is_remote(location) else str(_local_path(location))
    scheme, _, rest = location.partition("://")
    if scheme == "file":
        return location
    address, slash, path = rest.partition("/")
    login, _, host = address.rpartition("@")
    user = login.partition(":")[0] + "@" if scheme == "ssh" and login else ""
    return f"{scheme}://{user}{host}{slash}{path}"


def repository_name(location: str) -> str:
    """Derive a short name, safe as a folder name, from a URL or path."""
    return _safe_name(_path_parts(location)[-1])


def unique_name(location: str, taken: Container[str]) -> str:
    """Name a repository by its last part, by its last two if that is taken, then by number.

    A site is named by its host, and by its folder and host if that is taken.
    """
    parts = _path_parts(location)
    name = _safe_name(parts[-1])
    if name not in taken:
        return name
    candidates = (f"{_safe_name(part)}-{name}" for part in parts[-2:-1] if part)
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain(candidates, numbered) if name not in taken)


def _path_parts(location: str) -> list[str]:
    tail = plain_location(location).rstrip("/").removesuffix(".git").rstrip("/")
    if is_site(location):
        parts = urlsplit(tail)
        return [parts.path.rpartition("/")[2], parts.hostname or ""]
    return re.split(r"[/:\\]" if is_remote(location) else "/", tail)


def _safe_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)[:MAX_NAME_CHARS].strip(".-") or "repository"


def is_repository(folder: Path) -> bool:
    """Tell whether `folder` itself is a git repository, bare or not."""
    return (folder / ".git").exists() or all(
        (folder / name).exists() for name in ("HEAD", "objects", "refs")
    )


def _local_path(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError):  # an unknown `~user`, a loop of links
        return Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that is closed to us
        return False


def open_source(spec: str, *, name: str | None = None, report: Report | None = None) -> Snapshot:
    """Open what the user typed: clone a URL, read a site, or a local repository or folder.

    :param spec: `REPO[@REF]`; see `split_spec` and `resolve_spec`.
    :param name: the name to give it; by default the last part of its location.
    :param report: receives lines of progress while cloning or crawling.
    :raises SourceError: it does not exist, needs credentials, is empty, or lacks the ref.
    :raises StorageError: what is fetched cannot be written to the cache folder.
    """
    location, ref = split_spec(resolve_spec(spec))
    name = name or repository_name(location)
    if is_remote(location):
        _require_git()
        from data_tools import clone, docs_site

        if is_site(location):
            return docs_site.open_site(location, name=name, report=report)
        return clone.open_remote(location, ref, name=name, report=report)
    folder = _local_path(location)
    if not _is_folder(folder):
        problem = "is a file" if _exists(folder) else "does not exist"
        raise SourceError(f"{folder} {problem}; give a folder, a repository or a git URL")
    if is_repository(folder):
        _require_git()
        from data_tools import snapshot

        return snapshot.open_local(folder, ref, name=name)
    if ref:
        raise SourceError(f"{folder} is not a git repository, so it has no {ref!r}")
    from data_tools.folder import Folder

    return Folder(Repository(name, str(folder), None, WORKTREE))


def _is_folder(path: Path) -> bool:
    try:
        if not path.is_dir():
            return False
        with os.scandir(path):
            return True
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); check it") from error


def _require_git() -> None:
    if shutil.which("git") is None:
        raise SourceError("git is not installed; install it, or give a plain folder")


def make_source_file(repository: Repository, path: str, data: bytes) -> SourceFile | SkippedFile:
    """Turn a file's bytes into text, or say why it is not indexed.

    :param path: POSIX, relative; its language must be known (`filters.reason_to_skip_path`).
    """
    language = detect_language(path)
    if language is None:
        raise ValueError(f"{path}: no known language")
    text = decode_text(data)
    reason = "binary" if text is None else None
    if text is not None and language.kind is Kind.NOTEBOOK:
        try:
            text = render_notebook(text)
        except ValueError:
            text, reason = None, "not a readable notebook"
    if text is not None:
        reason = filters.reason_to_skip_text(path, text)
    if text is None or reason:
        return SkippedFile(repository.name, path, reason or "binary")
    sha256 = hashlib.sha256(data).hexdigest()
    file = SourceFile(repository.name, repository.commit, path, language.name, text, sha256)
    return without_secrets(file)


def without_secrets(file: SourceFile) -> SourceFile:
    """Take the secrets out of a file's text; `sha256` is then that of what is left."""
    found = redact(file.text, file.path)
    if not found.kinds:
        return file
    sha256 = hashlib.sha256(found.text.encode("utf-8", errors="replace")).hexdigest()
    return replace(file, text=found.text, sha256=sha256, secrets=found.kinds)


def safe_relative_path(path: str) -> bool:
    """Tell whether `path` from a git tree stays inside the repository when written to disk."""
    return path.isprintable() and not {"", ".", ".."}.intersection(path.split("/"))
