"""Safe reading of git repositories at a pinned commit, through GitPython.

Clones are bare and shallow, kept in the user's cache folder. Files are read from git objects,
never from a work tree, so hooks, filters, submodules, LFS smudging and symbolic links have no
chance to act. Credentials come from the user's own git set-up or from `GIT_TOKEN`, travel in
the environment, and are written nowhere.
"""

import base64
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import git
from filelock import FileLock
from git.util import RemoteProgress, finalize_process

from data_tools import filters
from data_tools.errors import SourceError
from data_tools.permalink import web_address
from data_tools.sources import (
    Report,
    Repository,
    SkippedFile,
    SourceFile,
    make_source_file,
    safe_relative_path,
)

STALL_S = 30  # a transfer below 1 kB/s for this long is given up
_REF = re.compile(r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$")
_SHA = re.compile(r"^[0-9a-f]{7,40}$")
_SAFE_CONFIG = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", str(STALL_S)),
    ("protocol.ext.allow", "never"),
)


def cache_folder() -> Path:
    """Return where clones are kept: `$CODEQA_CACHE`, else `codeqa` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CODEQA_CACHE") or Path(base) / "codeqa")


def is_repository(folder: Path) -> bool:
    """Tell whether `folder` itself is a git repository, bare or not."""
    return (folder / ".git").exists() or all(
        (folder / name).exists() for name in ("HEAD", "objects", "refs")
    )


def open_remote(
    url: str, ref: str | None, *, name: str, report: Report | None = None
) -> "GitSnapshot":
    """Fetch one commit of `url` into the cache and pin it.

    :raises SourceError: see `_explain`; also where the commit is not there.
    """
    _check_ref(ref)
    url, environment = _take_credentials(url)
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    folder = cache_folder() / "repositories" / f"{name}-{key}.git"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(folder.with_suffix(".lock")),
        closing(git.Repo.init(folder, bare=True)) as repo,
    ):
        repo.git.update_environment(**environment)
        commit = _fetch(repo, url, ref, report)
    return GitSnapshot(
        folder,
        Repository(name, url, ref, commit, _commit_time(folder, commit), web_address(url)),
    )


def open_local(folder: Path, ref: str | None, *, name: str) -> "GitSnapshot":
    """Pin a commit of a repository on this disk; its work tree is not read.

    :raises SourceError: it is empty, damaged, owned by someone else, or lacks `ref`.
    """
    _check_ref(ref)
    with closing(_open(folder)) as repo:
        try:
            commit = str(repo.git.rev_parse("--verify", f"{ref or 'HEAD'}^{{commit}}"))
        except git.GitCommandError as error:
            if "dubious ownership" in str(error.stderr):
                fix = f"run: git config --global --add safe.directory {folder}"
                raise SourceError(f"{folder} belongs to another user; {fix}") from error
            if ref:
                raise SourceError(
                    f"{folder} has no branch, tag or commit {ref!r}; "
                    f"see `git -C {folder} log --oneline --all`"
                ) from error
            raise SourceError(f"{folder} has no commits yet; commit something first") from error
        remote = next((remote.url for remote in repo.remotes), None)
        pushed = remote and repo.git.for_each_ref("--contains", commit, "refs/remotes", count=1)
        changed = 0 if ref or repo.bare else _count_uncommitted(repo)
        notice = (
            f"{changed} new or changed files in {folder} are not committed, so not indexed"
            if changed
            else None
        )
        web_url = web_address(remote) if remote and pushed else None
    repository = Repository(name, str(folder), ref, commit, _commit_time(folder, commit), web_url)
    return GitSnapshot(folder, repository, notice)


@dataclass(frozen=True)
class GitSnapshot:
    """A commit of a git repository on this disk, read from its objects."""

    git_folder: Path
    repository: Repository
    notice: str | None = None

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Read every file of the commit in the order of their paths."""
        with closing(_open(self.git_folder)) as repo:
            listing = repo.git.ls_tree(
                "-r", "-l", "-z", self.repository.commit, stdout_as_string=False
            )
            entries = [_parse_entry(line) for line in listing.split(b"\0") if line]
            ignored = self._ignore_rules(repo, entries)
            for entry in entries:
                reason = entry.reason_to_skip()
                if not reason and ignored.match_file(entry.path):
                    reason = f"ignored by {filters.IGNORE_FILE}"
                if reason:
                    yield SkippedFile(self.repository.name, entry.path, reason)
                else:
                    data = repo.git.get_object_data(entry.sha)[3]
                    yield make_source_file(self.repository, entry.path, data)

    def _ignore_rules(self, repo: git.Repo, entries: list["_Entry"]) -> filters.IgnoreRules:
        shas = [e.sha for e in entries if e.path == filters.IGNORE_FILE and e.mode != "120000"]
        data = repo.git.get_object_data(shas[0])[3] if shas else b""
        return filters.read_ignore_rules(data.decode("utf-8", errors="replace").splitlines())


@dataclass(frozen=True)
class _Entry:
    """One line of `git ls-tree -r -l`."""

    mode: str
    sha: str
    size_bytes: int
    path: str

    def reason_to_skip(self) -> str | None:
        if self.mode == "120000":
            return "symbolic link"
        if self.mode == "160000":
            return "submodule"
        if not safe_relative_path(self.path):
            return "its path is unsafe or not printable text"
        return filters.reason_to_skip_path(self.path, self.size_bytes)


def _parse_entry(line: bytes) -> _Entry:
    head, _, path = line.partition(b"\t")
    mode, _, sha, size = head.decode().split()
    name = path.decode("utf-8", errors="backslashreplace")
    return _Entry(mode, sha, 0 if size == "-" else int(size), name)


def count_commits_behind(repository: Repository) -> int | None:
    """Count the commits that the repository's branch has gained since it was indexed.

    Only commits are fetched, and only those since the indexed one's date.

    :return: the count; 0 for a pinned commit; None for a plain folder.
    :raises SourceError: the repository cannot be reached.
    """
    if repository.committed_at is None:
        return None
    if repository.ref == repository.commit:
        return 0
    if "://" not in repository.location and Path(repository.location).is_dir():
        with closing(_open(Path(repository.location))) as repo:
            newest = repository.ref or "HEAD"
            return _count(repo, f"{repository.commit}..{newest}", repository)
    url, environment = _take_credentials(repository.location)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(git.Repo.init(folder, bare=True)) as repo,
    ):
        repo.git.update_environment(**environment)
        _run_fetch(repo, url, repository.ref or "HEAD", None, "--depth=1", "--filter=tree:0")
        if str(repo.git.rev_parse("FETCH_HEAD^{commit}")) == repository.commit:
            return 0
        _run_fetch(
            repo,
            url,
            repository.ref or "HEAD",
            None,
            f"--shallow-since={repository.committed_at}",
            "--filter=tree:0",
        )
        return _count(repo, f"FETCH_HEAD ^{repository.commit}", repository)


def _count(repo: git.Repo, span: str, repository: Repository) -> int:
    try:
        return int(repo.git.rev_list("--count", *span.split()))
    except git.GitCommandError as error:
        raise SourceError(
            f"{repository.name}: commit {repository.commit[:9]} is no longer in its history; "
            "run `codeqa index` on it again"
        ) from error


def _count_uncommitted(repo: git.Repo) -> int:
    """Count changed files by their times and sizes: `git status` could run a filter command."""
    names = "--name-only"
    changed = repo.git.diff_files(names), repo.git.diff_index(names, "--cached", "HEAD")
    new = repo.git.ls_files("--others", "--exclude-standard")
    return len({line for listing in (*changed, new) for line in listing.splitlines()})


def _check_ref(ref: str | None) -> None:
    if ref is not None and (not _REF.match(ref) or ".." in ref):
        raise SourceError(f"not a branch, tag or commit: {ref!r}")


def _open(folder: Path) -> git.Repo:
    try:
        repo = git.Repo(folder)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
        raise SourceError(f"{folder} is not a readable git repository") from error
    repo.git.update_environment(**_safe_environment())
    return repo


def _safe_environment(extra_config: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    config = _SAFE_CONFIG + extra_config
    environment = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",  # `_explain` reads git's messages
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    if "GIT_SSH_COMMAND" not in os.environ and not sys.stdin.isatty():
        environment["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
    for index, (key, value) in enumerate(config):
        environment[f"GIT_CONFIG_KEY_{index}"] = key
        environment[f"GIT_CONFIG_VALUE_{index}"] = value
    return environment


def _take_credentials(url: str) -> tuple[str, dict[str, str]]:
    """Take credentials out of `url` and `GIT_TOKEN` and put them into git's environment."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.scheme not in ("http", "https"):
        return url, _safe_environment()
    host = parts.netloc.rpartition("@")[2]
    clean = urlunsplit((parts.scheme, host, parts.path, "", ""))
    token = os.environ.get("GIT_TOKEN", "").strip()
    if parts.username and parts.password is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password)}"
    elif parts.username or token:
        login = f"x-access-token:{unquote(parts.username or token)}"
    else:
        return clean, _safe_environment()
    header = "Authorization: Basic " + base64.b64encode(login.encode()).decode()
    scope = f"http.{parts.scheme}://{host}/.extraHeader"
    return clean, _safe_environment(((scope, header),))


def _fetch(repo: git.Repo, url: str, ref: str | None, report: Report | None) -> str:
    """Fetch `ref`, as shallow as the server allows, and return its full SHA."""
    if ref and len(ref) == 40 and _SHA.match(ref) and _has_commit(repo, ref):
        return ref
    try:
        _run_fetch(repo, url, ref or "HEAD", report, "--depth=1")
        return str(repo.git.rev_parse("FETCH_HEAD^{commit}"))
    except _RefMissingError as error:
        if ref is None:
            raise SourceError(f"{url} is empty; push a commit to it first") from error
        if not _SHA.match(ref):
            raise SourceError(f"{url} has no branch, tag or commit {ref!r}") from error
    # A short SHA, or a server that serves only the tips of branches: fetch the whole history.
    if report:
        report(f"{ref} is not a branch or tag: fetching the whole history")
    refspecs = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    deepen = ("--unshallow",) if (Path(repo.git_dir) / "shallow").exists() else ()
    _run_fetch(repo, url, refspecs, report, *deepen)
    try:
        return str(repo.git.rev_parse("--verify", f"{ref}^{{commit}}"))
    except git.GitCommandError as error:
        raise SourceError(f"{url} has no branch, tag or commit {ref!r}") from error


class _RefMissingError(SourceError):
    """The remote has no such ref."""


def _run_fetch(
    repo: git.Repo, url: str, refspecs: str | tuple[str, ...], report: Report | None, *options: str
) -> None:
    refspecs = (refspecs,) if isinstance(refspecs, str) else refspecs
    parser = _Progress(report)
    try:
        process = repo.git.fetch(
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
    except git.GitCommandError as error:
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


def _explain(url: str, stderr: str) -> SourceError:
    """Turn what git printed into one line that names the fix."""
    text = stderr.lower()
    if "couldn't find remote ref" in text or "not our ref" in text or "unadvertised" in text:
        return _RefMissingError(f"{url} has no such branch, tag or commit")
    if re.search(r"could not resolve host|network is unreachable|name or service not known", text):
        return SourceError(f"cannot reach {url}; check its spelling and the network")
    if re.search(r"connection (refused|timed out|reset)|failed to connect|too slow", text):
        return SourceError(f"{url} does not answer; check the address, or try again later")
    if re.search(
        r"authentication failed|could not read (username|password)|permission denied|"
        r"returned error: 40[13]|invalid credentials|host key verification",
        text,
    ):
        return SourceError(
            f"{url} does not exist or needs credentials; check it, log in with git or set GIT_TOKEN"
        )
    if re.search(r"not found|does not appear to be a git repo|does not exist", text):
        return SourceError(f"{url} does not exist or is not a git repository; check its spelling")
    if "no space left" in text:
        return SourceError(f"the disk is full: free some space in {cache_folder()}")
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    fatal = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
    return SourceError(f"cannot fetch {url}: {fatal or ' '.join(lines[-1:]) or 'git failed'}")


def _has_commit(repo: git.Repo, sha: str) -> bool:
    try:
        repo.git.cat_file("-e", f"{sha}^{{commit}}")
    except git.GitCommandError:
        return False
    return True


def _commit_time(folder: Path, commit: str) -> int:
    with closing(_open(folder)) as repo:
        return int(repo.git.show("-s", "--format=%ct", commit))
