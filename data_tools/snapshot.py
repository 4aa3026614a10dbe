"""A commit of a git repository on this disk, read from git's objects.

The work tree is never read, so that what is indexed is exactly the commit, and filters,
submodules, LFS smudging and symbolic links have no chance to act.
"""

import contextlib
import re
import subprocess
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import git

from data_tools import filters
from data_tools.errors import SourceError
from data_tools.git_commands import disable_filters, open_git
from data_tools.permalink import web_address
from data_tools.sources import (
    Repository,
    SkippedFile,
    SourceFile,
    make_source_file,
    safe_relative_path,
)

MAX_FILES = 1_000_000  # of a commit; the largest public repositories hold half a million
OBJECTS_AHEAD = 256  # twice as many requests, of 41 or 65 bytes, must fit a pipe of 64 kB
_READ_BYTES = 1 << 16
_REF = re.compile(r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$")
_COMMIT_TIME = re.compile(rb"^committer .*> (\d+) [+-]\d{4}$", re.MULTILINE)


@dataclass(frozen=True)
class GitSnapshot:
    """A commit of a git repository on this disk, read from its objects.

    :param max_files: a commit that holds more is refused.
    """

    git_folder: Path
    repository: Repository
    notice: str | None = None
    max_files: int = MAX_FILES

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Read every file of the commit in the order of their paths.

        :raises SourceError: the repository is damaged, or holds too many files.
        """
        name = self.repository.name
        with open_git(self.git_folder) as command:
            entries = self._list_entries(command)
            ignored = self._ignore_rules(command, entries)
            reasons = [entry.reason_to_skip() or _ignored(entry.path, ignored) for entry in entries]
            wanted = [entry.sha for entry, why in zip(entries, reasons, strict=True) if not why]
            with contextlib.closing(read_objects(command, wanted, self.git_folder)) as objects:
                for entry, reason in zip(entries, reasons, strict=True):
                    if reason:
                        yield SkippedFile(name, entry.path, reason)
                    else:
                        yield make_source_file(self.repository, entry.path, next(objects))

    def _list_entries(self, command: git.Git) -> list["_Entry"]:
        """List the commit's files; a tree can be made to list without end."""
        process = command.ls_tree("-r", "-l", "-z", self.repository.commit, as_process=True)
        blocks, count = [], 0
        while block := process.stdout.read(_READ_BYTES):
            blocks.append(block)
            count += block.count(b"\0")
            if count > self.max_files:
                raise SourceError(f"{self.git_folder} holds more than {self.max_files:,} files")
        try:
            process.wait()
        except git.CommandError as error:
            raise _damaged(self.git_folder) from error
        return [_parse_entry(line) for line in b"".join(blocks).split(b"\0") if line]

    def _ignore_rules(self, command: git.Git, entries: list["_Entry"]) -> filters.IgnoreRules:
        shas = [e.sha for e in entries if e.path == filters.IGNORE_FILE and e.mode != "120000"]
        data = read_object(command, shas[0], self.git_folder) if shas else b""
        return filters.read_ignore_rules(data.decode("utf-8", errors="replace").splitlines())


def _ignored(path: str, rules: filters.IgnoreRules) -> str | None:
    return f"ignored by {filters.IGNORE_FILE}" if rules.match_file(path) else None


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
    # Submodules have no size, "-". Objects that are missing, "BAD", are found out when read.
    return _Entry(mode, sha, int(size) if size.isdecimal() else 1, name)


def open_local(folder: Path, ref: str | None, *, name: str) -> GitSnapshot:
    """Pin a commit of a repository on this disk; its work tree is not read.

    :raises SourceError: it is empty, damaged, owned by someone else, or lacks `ref`.
    """
    check_ref(ref)
    with open_git(folder) as command:
        commit = _find_commit(command, folder, ref)
        changed = 0 if ref else _count_uncommitted(command)
        noun = "file is" if changed == 1 else "files are"
        notice = (
            f"{changed:,} new or changed {noun} not committed in {folder}, so not indexed"
            if changed
            else None
        )
        web_url = _find_page(command, commit)
        committed_at = commit_time(command, commit, folder)
    return GitSnapshot(
        folder, Repository(name, str(folder), ref, commit, committed_at, web_url), notice
    )


def check_ref(ref: str | None) -> None:
    """Refuse what cannot be the name of a branch, tag or commit.

    :raises SourceError: it is not one.
    """
    if ref is not None and (not _REF.match(ref) or ".." in ref or "@{" in ref):
        raise SourceError(f"not a branch, tag or commit: {ref!r}")


def read_object(command: git.Git, sha: str, folder: Path) -> bytes:
    """Read the content of a git object.

    :raises SourceError: it is missing or damaged.
    """
    try:
        return command.get_object_data(sha)[3]
    except (ValueError, OSError, git.CommandError) as error:
        raise _damaged(folder) from error


def read_objects(
    command: git.Git, shas: Sequence[str], folder: Path
) -> Generator[bytes, None, None]:
    """Read the content of git objects, in order.

    Git is asked for some ahead of those that are waited for: for small files, waiting for each
    would take longer than all the rest.

    :raises SourceError: one is missing or damaged.
    """
    # GitPython ends the process when the last reference to this goes.
    process = command.cat_file("--batch", as_process=True, istream=subprocess.PIPE)
    try:
        for start in range(0, len(shas), OBJECTS_AHEAD):
            first = 0 if start == 0 else start + OBJECTS_AHEAD
            for sha in shas[first : start + 2 * OBJECTS_AHEAD]:
                process.stdin.write(f"{sha}\n".encode())
            process.stdin.flush()
            for _ in shas[start : start + OBJECTS_AHEAD]:
                header = process.stdout.readline().split()  # sha, type, size; or sha, "missing"
                data = process.stdout.read(int(header[2]) + 1)  # a newline follows
                if len(data) != int(header[2]) + 1:
                    raise _damaged(folder)
                yield data[:-1]
    except (IndexError, ValueError, OSError) as error:
        raise _damaged(folder) from error


def commit_time(command: git.Git, commit: str, folder: Path) -> int:
    """Return when a commit was made, in Unix seconds.

    Read from the object: `git show` may run the program that checks signatures.
    """
    found = _COMMIT_TIME.search(read_object(command, commit, folder))
    return int(found[1]) if found else 0


def _damaged(folder: Path) -> SourceError:
    return SourceError(
        f"{folder} is damaged or a partial clone: objects are missing; run "
        f"`git -C {folder} fsck`, or `git fetch --refetch --no-filter` in it"
    )


def _find_commit(command: git.Git, folder: Path, ref: str | None) -> str:
    try:
        commit = str(command.rev_parse("--verify", f"{ref or 'HEAD'}^{{commit}}"))
    except git.CommandError as error:
        text = str(error.stderr)
        if isinstance(error, git.GitCommandNotFound):
            raise SourceError(f"{folder} cannot be entered; check its permissions") from error
        if "dubious ownership" in text:
            fix = f"run: git config --global --add safe.directory {folder}"
            raise SourceError(f"{folder} belongs to another user; {fix}") from error
        if "not a git repository" in text or "bad config" in text or "format" in text:
            raise SourceError(f"{folder} is not a readable git repository") from error
        if ref:
            raise SourceError(
                f"{folder} has no branch, tag or commit {ref!r}; "
                f"see `git -C {folder} log --oneline --all`"
            ) from error
        raise SourceError(f"{folder} has no commits yet; commit something first") from error
    if len(commit) != 40:
        raise SourceError(f"{folder} names its objects by SHA-256, which is not supported")
    return commit


def _count_uncommitted(command: git.Git) -> int:
    """Count changed files, most of them by their times and sizes alone.

    Submodules are left out, because git would run `git status` in them.
    """
    if command.rev_parse("--is-bare-repository") == "true":
        return 0
    disable_filters(command)  # git compares the content of what changed this very second
    options = ("--name-only", "-z", "--ignore-submodules=all")
    try:
        listings = (
            command.diff_files(*options),
            command.diff_index(*options, "--cached", "HEAD"),
            command.ls_files("--others", "--exclude-standard", "-z"),
        )
    except git.CommandError:  # its index is damaged, or `core.worktree` is elsewhere
        return 0
    return len({name for name in chain(*(each.split("\0") for each in listings)) if name})


def _find_page(command: git.Git, commit: str) -> str | None:
    """Find the web page of a remote that has the commit, as far as is known here."""
    for remote in str(command.remote()).splitlines():
        try:
            page = web_address(str(command.remote("get-url", "--", remote)))
            # Git looks through all branches before it says that the first one has it.
            for refs in (f"refs/remotes/{remote}/HEAD", f"refs/remotes/{remote}/"):
                if page and command.for_each_ref("--count=1", "--contains", commit, refs):
                    return page
        except git.CommandError:  # a remote without an address, a branch without its commits
            continue
    return None
