"""Where code comes from: a git URL, a local repository, or a plain folder.

`open_source` reads what the user typed and gives a `Snapshot`: one repository, pinned, whose
files can be read. Links are never followed, and nothing of the repository is executed.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from data_tools import filters
from data_tools.errors import SourceError
from data_tools.languages import Kind, detect_language
from data_tools.notebook import render_notebook
from data_tools.text import decode_text

WORKTREE = "worktree"  # the "commit" of a plain folder
MAX_DEPTH = 100  # nested folders; deeper trees are made to do harm

Report = Callable[[str], None]


@dataclass(frozen=True)
class Repository:
    """A repository at a commit: enough to open it again and to link into it.

    :param name: short, unique within an index, safe as a folder name.
    :param location: git URL without credentials, or absolute path.
    :param ref: branch, tag or commit the user asked for; None is the default branch.
    :param commit: full SHA, or `worktree` for a plain folder.
    :param committed_at: commit time, Unix seconds; None for a plain folder.
    :param web_url: page of the repository on its git host, if links into it would work.
    """

    name: str
    location: str
    ref: str | None
    commit: str
    committed_at: int | None = None
    web_url: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """One text file of a repository. Lines of `text` end with a single newline."""

    repo: str
    commit: str
    path: str
    language: str
    text: str
    sha256: str


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
_SCP_FORM = re.compile(r"^[\w.-]+@[\w.-]+:(?!/?/)")
_BROWSER_PATH = re.compile(
    r"^(?P<repo>/[^/]+/.+?)(?:/-)?/(?:tree|src/branch|src/commit)/(?P<ref>.+)$"
)
_URL_SCHEMES = ("https", "http", "ssh", "file")


def split_spec(spec: str) -> tuple[str, str | None]:
    """Split `REPO[@REF]` into the repository and the branch, tag or commit.

    `https://host/owner/name/tree/REF`, as copied from a browser, is understood too.

    :raises SourceError: the text is no URL or path, or its scheme is not one of https, http,
        ssh and file.
    """
    spec = spec.strip()
    if not spec or any(ord(char) < 32 for char in spec) or spec.startswith("-"):
        raise SourceError(f"not a repository: {spec!r}; give a git URL or a path")
    scheme = _SCHEME.match(spec)
    if scheme and "://" in spec:
        return _split_url(spec)
    if _SCP_FORM.match(spec):
        host, path = spec.split(":", 1)
        path, _, ref = path.partition("@")
        return f"{host}:{path}", ref or None
    if scheme and "::" in spec:
        raise SourceError(f"not a repository: {spec!r}; use an https, ssh or file URL, or a path")
    if not Path(spec).expanduser().exists() and "@" in spec:
        path, _, ref = spec.rpartition("@")
        return path, ref or None
    return spec, None


def _split_url(spec: str) -> tuple[str, str | None]:
    scheme, _, rest = spec.partition("://")
    if scheme.lower() not in _URL_SCHEMES:
        raise SourceError(f"cannot clone over {scheme!r}; use an https, ssh or file URL, or a path")
    host, slash, path = rest.partition("/")
    path, _, ref = (slash + path).partition("@")
    browser = _BROWSER_PATH.match(path)
    if not ref and browser and scheme in ("http", "https"):
        path, ref = browser["repo"], browser["ref"]
    return f"{scheme}://{host}{path.rstrip('/')}", ref or None


def is_remote(location: str) -> bool:
    """Tell whether `location` (without its ref) is cloned rather than read in place."""
    return "://" in location or bool(_SCP_FORM.match(location))


def repository_name(location: str) -> str:
    """Derive a short name, safe as a folder name, from a URL or path."""
    tail = location.rstrip("/").removesuffix(".git").rstrip("/")
    name = re.split(r"[/:\\]", tail)[-1] if is_remote(location) else Path(tail).resolve().name
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "repository"


def open_source(spec: str, *, name: str | None = None, report: Report | None = None) -> Snapshot:
    """Open what the user typed: clone a URL, or read a local repository or folder.

    :param spec: `REPO[@REF]`; see `split_spec`.
    :param name: the name to give it; by default the last part of its location.
    :param report: receives lines of progress while cloning.
    :raises SourceError: it does not exist, needs credentials, is empty, or lacks the ref.
    """
    from data_tools import clone

    location, ref = split_spec(spec)
    name = name or repository_name(location)
    if is_remote(location):
        return clone.open_remote(location, ref, name=name, report=report)
    folder = Path(location).expanduser().resolve()
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise SourceError(f"{folder} {problem}; give a folder, a repository or a git URL")
    if clone.is_repository(folder):
        return clone.open_local(folder, ref, name=name)
    if ref:
        raise SourceError(f"{folder} is not a git repository, so it has no {ref!r}")
    return Folder(Repository(name, str(folder), None, WORKTREE))


@dataclass(frozen=True)
class Folder:
    """A plain folder, read from disk: `.gitignore` and `.codeqaignore` are honoured."""

    repository: Repository
    notice: str | None = None

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Read every file below the folder; links and special files are listed, not opened."""
        yield from self._walk(Path(self.repository.location), "", [], 0)

    def _walk(
        self, folder: Path, prefix: str, rules: list[tuple[str, filters.IgnoreRules]], depth: int
    ) -> Iterator[SourceFile | SkippedFile]:
        rules = rules + _ignore_rules(folder, prefix)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield self._skip(prefix, f"cannot be read ({error.strerror})")
            return
        for entry in entries:
            path = prefix + entry.name
            if not path.isprintable():
                yield self._skip(ascii(path), "its name is not printable text")
            elif entry.is_symlink():
                yield self._skip(path, "symbolic link")
            elif _is_ignored(path + "/" * entry.is_dir(), rules):
                if entry.name not in filters.VENDORED_FOLDERS:
                    yield self._skip(path, "ignored by .gitignore or .codeqaignore")
            elif not entry.is_dir():
                yield self._read(Path(entry.path), path)
            elif entry.name in filters.VENDORED_FOLDERS:
                yield self._skip(path + "/", f"vendored ({entry.name}/)")
            elif depth >= MAX_DEPTH:
                yield self._skip(path + "/", f"nested more than {MAX_DEPTH} folders deep")
            else:
                yield from self._walk(Path(entry.path), path + "/", rules, depth + 1)

    def _read(self, file: Path, path: str) -> SourceFile | SkippedFile:
        try:
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode):
                return self._skip(path, "not a regular file")
            reason = filters.reason_to_skip_path(path, status.st_size)
            if reason:
                return self._skip(path, reason)
            return make_source_file(self.repository, path, file.read_bytes())
        except OSError as error:
            return self._skip(path, f"cannot be read ({error.strerror})")

    def _skip(self, path: str, reason: str) -> SkippedFile:
        return SkippedFile(self.repository.name, path, reason)


def _ignore_rules(folder: Path, prefix: str) -> list[tuple[str, filters.IgnoreRules]]:
    names = [".gitignore"] if prefix else [".gitignore", filters.IGNORE_FILE]
    files = [folder / name for name in names]
    return [
        (prefix, filters.read_ignore_rules(file.read_text("utf-8", errors="replace").splitlines()))
        for file in files
        if file.is_file() and not file.is_symlink()
    ]


def _is_ignored(path: str, rules: list[tuple[str, filters.IgnoreRules]]) -> bool:
    """Apply nested ignore files as git does: the deepest one that says anything decides."""
    for prefix, spec in reversed(rules):
        verdict = spec.check_file(path.removeprefix(prefix)).include
        if verdict is not None:
            return verdict
    return False


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
    return SourceFile(repository.name, repository.commit, path, language.name, text, sha256)


def safe_relative_path(path: str) -> bool:
    """Tell whether `path` from a git tree stays inside the repository when written to disk."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and path.isprintable()
