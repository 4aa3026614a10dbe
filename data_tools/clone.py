"""Safe cloning of git repositories at a pinned commit, through GitPython.

Clones are bare and shallow, kept in the user's cache folder. How their servers are reached, and
with which credentials, is settled in `data_tools.git_access`.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import git
from filelock import FileLock
from git.util import RemoteProgress, finalize_process

from data_tools.errors import CodeQAError, SourceError, StorageError
from data_tools.git_access import Access, follow, reach
from data_tools.git_commands import make_bare_repository, open_git
from data_tools.git_folder import check_git_folder
from data_tools.permalink import web_address
from data_tools.snapshot import GitSnapshot, check_ref, commit_time
from data_tools.sources import Report, Repository, is_remote, is_site
from data_tools.storage import disk_full, storage_errors

MAX_REDIRECTS = 3  # from one server to another
Result = TypeVar("Result")
_SHA = re.compile(r"^[0-9a-f]{7,40}$")
# Left behind where a fetch was killed; no other process can hold them, as ours holds a lock.
_STALE_LOCKS = ("shallow.lock", "config.lock", "packed-refs.lock", "HEAD.lock")


def cache_folder() -> Path:
    """Return where clones are kept: `$CODEQA_CACHE`, else `codeqa` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CODEQA_CACHE") or Path(base) / "codeqa")


def open_remote(
    url: str, ref: str | None, *, name: str, report: Report | None = None
) -> GitSnapshot:
    """Fetch one commit of `url` into the cache and pin it.

    :raises SourceError: see `_explain`; also where the commit is not there, or its host must not
        be spoken to.
    :raises StorageError: the cache folder is full or not writable.
    """
    check_ref(ref)
    access = reach(url)
    url = access.url
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    folder = cache_folder() / "repositories" / f"{name}-{key}.git"
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        lock.acquire()

    def fetch(access: Access) -> tuple[str, int]:
        with open_git(folder, environment=access.environment) as command:
            commit = _fetch(command, folder, access.url, ref, report)
            return commit, commit_time(command, commit, folder)

    try:
        is_new = not folder.exists()
        with storage_errors(folder):
            for stale in _STALE_LOCKS:
                (folder / stale).unlink(missing_ok=True)
            make_bare_repository(folder)
        commit, committed_at = _wherever_it_moved(access, fetch)
    except BaseException:
        if is_new:  # nothing is left of what never was
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        lock.release()
    repository = Repository(name, url, ref, commit, committed_at, web_address(url))
    return GitSnapshot(folder, repository)


def _wherever_it_moved(access: Access, use: Callable[[Access], Result]) -> Result:
    """Fetch from where a repository is now, which its server may say more than once."""
    for _ in range(MAX_REDIRECTS):
        try:
            return use(access)
        except _MovedError:
            access = follow(access)
    return use(access)


def count_commits_behind(repository: Repository) -> int | None:
    """Count the commits that the repository's branch has gained since it was indexed.

    Only commits are fetched, and only those since the indexed one's date.

    :return: the count; 0 for a pinned commit; None for a plain folder or a documentation site.
    :raises SourceError: the repository cannot be reached.
    """
    if repository.committed_at is None or is_site(repository.location):
        return None
    newest = repository.ref or "HEAD"
    for name in (newest, repository.commit):  # an index may have been altered
        check_ref(name)
    if _SHA.match(newest) and repository.commit.startswith(newest):
        return 0
    if not is_remote(repository.location):
        folder = Path(repository.location)
        if not folder.is_dir():
            raise SourceError(f"{folder} is gone; index the repository from where it is now")
        check_git_folder(folder)
        with open_git(folder) as command:
            return _count(command, f"{repository.commit}..{newest}", repository)

    def count(access: Access) -> int:
        with storage_errors(Path(tempfile.gettempdir())):
            holder = tempfile.TemporaryDirectory(prefix="codeqa-")
        with holder, open_git(Path(holder.name), environment=access.environment) as command:
            with storage_errors(Path(holder.name)):
                make_bare_repository(Path(holder.name))
            return _count_fetched(command, access.url, newest, repository)

    return _wherever_it_moved(reach(repository.location), count)


def _count_fetched(command: git.Git, url: str, newest: str, repository: Repository) -> int:
    _run_fetch(command, url, newest, None, "--depth=1", "--filter=tree:0")
    if _fetched_commit(command, url, newest) == repository.commit:
        return 0
    since = f"--shallow-since={repository.committed_at}"
    try:
        _run_fetch(command, url, newest, None, since, "--filter=tree:0")
    except _NothingNewError as error:
        raise _rewritten(repository) from error
    return _count(command, f"FETCH_HEAD ^{repository.commit}", repository)


def _count(command: git.Git, span: str, repository: Repository) -> int:
    try:
        return int(command.rev_list("--count", *span.split()))
    except git.CommandError as error:
        raise _rewritten(repository) from error


def _rewritten(repository: Repository) -> SourceError:
    return SourceError(
        f"{repository.name}: commit {repository.commit[:9]} is no longer in its history; "
        "run `codeqa index` on it again"
    )


def _fetch(command: git.Git, folder: Path, url: str, ref: str | None, report: Report | None) -> str:
    """Fetch `ref`, as shallow as the server allows, and return its full SHA."""
    if ref and _SHA.match(ref) and (commit := _find_commit(command, ref)):
        return commit
    try:
        _run_fetch(command, url, ref or "HEAD", report, "--depth=1")
        return _fetched_commit(command, url, ref)
    except _NotShallowError:
        _run_fetch(command, url, ref or "HEAD", report)
        return _fetched_commit(command, url, ref)
    except _RefMissingError as error:
        if ref is None:
            raise SourceError(
                f"{url} has no commits on its default branch; push one, or name a branch: "
                f"{url}@BRANCH"
            ) from error
        if not _SHA.match(ref):
            raise SourceError(f"{url} has no branch, tag or commit {ref!r}") from error
    # A short SHA, or a server that serves only the tips of branches: fetch the whole history.
    if report:
        report(f"{ref} is not a branch or tag: fetching the whole history")
    refspecs = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    deepen = ("--unshallow",) if (folder / "shallow").exists() else ()
    _run_fetch(command, url, refspecs, report, *deepen)
    commit = _find_commit(command, ref)
    if commit is None:
        raise SourceError(f"{url} has no branch, tag or commit {ref!r}")
    return commit


def _fetched_commit(command: git.Git, url: str, ref: str | None) -> str:
    try:
        return str(command.rev_parse("--verify", "FETCH_HEAD^{commit}"))
    except git.CommandError as error:
        raise SourceError(f"{ref!r} of {url} is a tag, but not of a commit") from error


def _find_commit(command: git.Git, sha: str) -> str | None:
    """Find the commit whose name begins with `sha` in the clone."""
    try:
        commit = str(command.rev_parse("--verify", "--quiet", f"{sha}^{{commit}}"))
    except git.CommandError:
        return None
    return commit if commit.startswith(sha) else None


class _RefMissingError(SourceError):
    """The remote has no such ref."""


class _MovedError(SourceError):
    """The server sends us elsewhere."""


class _NotShallowError(SourceError):
    """The remote is static files, of which all must be fetched."""


class _NothingNewError(SourceError):
    """The remote's branch ends before the date that was asked for."""


def _run_fetch(
    command: git.Git,
    url: str,
    refspecs: str | tuple[str, ...],
    report: Report | None,
    *options: str,
) -> None:
    refspecs = (refspecs,) if isinstance(refspecs, str) else refspecs
    parser = _Progress(report)
    try:
        process = command.fetch(
            "--progress",
            "--no-tags",
            *options,
            "--",
            url,
            *refspecs,
            as_process=True,
            universal_newlines=True,  # progress lines end in carriage returns
        )
        git.cmd.handle_process_output(
            process, None, parser.new_message_handler(), finalize_process, decode_streams=False
        )
    except git.CommandError as error:
        stderr = "\n".join([*parser.error_lines, *parser.other_lines, str(error.stderr or "")])
        raise _explain(url, stderr) from error


class _Progress(RemoteProgress):
    """Hands git's own progress to the caller's `report`, one line a step."""

    def __init__(self, report: Report | None) -> None:
        super().__init__()
        self._report = report

    def update(
        self,
        op_code: int,
        cur_count: str | float,
        max_count: str | float | None = None,
        message: str = "",
    ) -> None:
        """Pass on one step; called by GitPython."""
        if self._report and op_code & self.RECEIVING and max_count:
            share = float(cur_count) / float(max_count)
            self._report(f"cloning: {share:.0%} of {int(float(max_count)):,} objects")


def _explain(url: str, stderr: str) -> CodeQAError:
    """Turn what git printed into one line that names the fix."""
    text = stderr.lower()
    if "no space left" in text or "disk quota exceeded" in text:
        return disk_full(cache_folder())
    for pattern, kind, message in _EXPLANATIONS:
        if re.search(pattern, text):
            return kind(message.format(url=url, cache=cache_folder()))
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    fatal = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
    reason = fatal or " ".join(lines[-1:]) or "git failed"
    printable = "".join(char if char.isprintable() else "?" for char in reason)
    return SourceError(f"cannot fetch {url}: {printable}")


# pattern in git's messages, in lower case → error, its message; the first that matches
_EXPLANATIONS: tuple[tuple[str, type[CodeQAError], str], ...] = (
    (
        r"insufficient permission for adding|unable to create .*\.(lock|git)|read-only file system",
        StorageError,
        "cannot write to {cache}; check its permissions, or set CODEQA_CACHE to another folder",
    ),
    (r"returned error: 30[1-8]", _MovedError, "{url} has moved; give the address where it is now"),
    (
        r"couldn't find remote ref|not our ref|unadvertised|no such ref",
        _RefMissingError,
        "{url} has no such branch, tag or commit",
    ),
    (r"dumb http transport does not support shallow", _NotShallowError, "{url} is not shallow"),
    (
        r"no commits selected for shallow|error processing shallow info",
        _NothingNewError,
        "{url} has nothing newer",
    ),
    (
        r"could not resolve host|network is unreachable|name or service not known",
        SourceError,
        "cannot reach {url}; check its spelling and the network",
    ),
    (
        r"connection (refused|timed out|reset)|failed to connect|couldn't connect|too slow",
        SourceError,
        "{url} does not answer; check the address, or try again later",
    ),
    (
        r"authentication failed|could not read (username|password)|permission denied|"
        r"returned error: 40[13]|invalid credentials|host key verification",
        SourceError,
        "{url} does not exist or needs credentials; check it, log in with git or set GIT_TOKEN",
    ),
    (
        r"not found|does not appear to be a git repo|is this a git repo|does not exist",
        SourceError,
        "{url} does not exist or is not a git repository; check its spelling",
    ),
)
