"""A commit of a git repository on this disk, read from git's objects.

The work tree is never read, so that what is indexed is exactly the commit, and filters,
submodules, LFS smudging and symbolic links have no chance to act.
"""

import contextlib
import re
import signal
import subprocess
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import git

from data_tools import filters
from data_tools.errors import SourceError
from data_tools.git_commands import disable_filters, ended, open_git
from data_tools.git_folder import check_git_folder
from data_tools.limits import LISTING_TIMEOUT_S, MAX_IGNORE_BYTES, RepositoryLimits, too_large
from data_tools.permalink import web_address
from data_tools.sources import (
    Repository,
    SkippedFile,
    SourceFile,
    make_source_file,
    safe_relative_path,
)

COUNTING_TIMEOUT_S = 20.0  # to see what is not committed, which is only told, not indexed
OBJECTS_AHEAD = 256  # twice as many requests, of 41 or 65 bytes, must fit a pipe of 64 kB
_READ_BYTES = 1 << 16
_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT)  # of older git, where folders are nested deeply
_ENTRY_BYTES = 300  # of a listing, a file, on average: twice what paths by hand take
_REF = re.compile(r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$")
_COMMIT_TIME = re.compile(rb"^committer .*> (\d+) [+-]\d{4}$", re.MULTILINE)


@dataclass(frozen=True)
class GitSnapshot:
    """A commit of a git repository on this disk, read from its objects."""

    git_folder: Path
    repository: Repository
    notice: str | None = None
    limits: RepositoryLimits = field(default_factory=RepositoryLimits.from_environment)

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Read every file of the commit in the order of their paths.

        :raises SourceError: the repository is damaged, or holds more than the limits allow.
        """
        yield from self.limits.hold(self._read(), self.git_folder)

    def _read(self) -> Iterator[SourceFile | SkippedFile]:
        name = self.repository.name
        with open_git(self.git_folder) as command:
            listing = self._list_entries(command)
            rules = self._ignore_rules(command, listing)
            # Judged twice rather than kept: a million entries as objects take a gigabyte.
            wanted = (entry.sha for entry in _entries(listing) if not entry.reason_to_skip(rules))
            with contextlib.closing(read_objects(command, wanted, self.git_folder)) as objects:
                for entry in _entries(listing):
                    reason = entry.reason_to_skip(rules)
                    if reason:
                        yield SkippedFile(name, entry.path, reason)
                    else:
                        yield make_source_file(self.repository, entry.path, next(objects))

    def _list_entries(self, command: git.Git) -> bytes:
        """List the commit's files as git does; a tree can be made to list without end."""
        # The whole tree, also where the configuration says that the work tree begins further up.
        options = ("--full-tree", "-r", "-l", "-z")
        process = command.ls_tree(*options, self.repository.commit, as_process=True)
        listing, count = bytearray(), 0
        try:
            with ended(process), _ended_after(LISTING_TIMEOUT_S, process) as out_of_time:
                while block := process.stdout.read(_READ_BYTES):
                    listing += block
                    count += block.count(b"\0")
                    if max(count, len(listing) // _ENTRY_BYTES) > self.limits.files:
                        number = f"{self.limits.files:,} files"
                        raise too_large(self.git_folder, number, "CODEQA_MAX_FILES")
                process.wait()
        except git.CommandError as error:
            if out_of_time.is_set():
                raise SourceError(
                    f"git has listed the files of {self.git_folder} for {LISTING_TIMEOUT_S:g} "
                    "seconds and is not done; its folders are nested without end"
                ) from error
            if error.status in _CRASHES or "tree depth" in str(error.stderr):
                raise SourceError(
                    f"git cannot list the files of {self.git_folder}; its folders are nested too "
                    "deeply"
                ) from error
            raise _damaged(self.git_folder) from error
        return bytes(listing)

    def _ignore_rules(self, command: git.Git, listing: bytes) -> filters.IgnoreRules:
        shas = [
            entry.sha
            for entry in _entries(listing)
            if entry.path == filters.IGNORE_FILE
            and entry.mode != "120000"
            and entry.size_bytes <= MAX_IGNORE_BYTES
        ]
        data = read_object(command, shas[0], self.git_folder) if shas else b""
        return filters.read_ignore_rules(data.decode("utf-8", errors="replace").splitlines())


@contextlib.contextmanager
def _ended_after(seconds: float, process: git.Git.AutoInterrupt) -> Iterator[threading.Event]:
    """End a process that takes longer; the event says that it was.

    Trees of trees that hold no file can keep git busy for years without a word.
    """
    out_of_time = threading.Event()

    def end() -> None:
        out_of_time.set()
        process.terminate()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield out_of_time
    finally:
        timer.cancel()


@dataclass(frozen=True)
class _Entry:
    """One line of `git ls-tree -r -l`."""

    mode: str
    sha: str
    size_bytes: int
    path: str
    in_order: bool = True

    def reason_to_skip(self, rules: filters.IgnoreRules) -> str | None:
        if not self.in_order:
            return "listed twice or out of order"
        if self.mode == "120000":
            return "symbolic link"
        if self.mode == "160000":
            return "submodule"
        if not safe_relative_path(self.path):
            return "its path is unsafe or not printable text"
        reason = filters.reason_to_skip_path(self.path, self.size_bytes)
        if reason is None and rules.match_file(self.path):
            return f"ignored by {filters.IGNORE_FILE}"
        return reason


def _entries(listing: bytes) -> Iterator[_Entry]:
    """Read a listing; git keeps trees in order, so that what is not was made by other means."""
    start, last = 0, b""
    while (end := listing.find(b"\0", start)) >= 0:
        head, _, path = listing[start:end].partition(b"\t")
        yield _parse_entry(head, path, in_order=path > last)
        start, last = end + 1, max(path, last)


def _parse_entry(head: bytes, path: bytes, *, in_order: bool) -> _Entry:
    mode, _, sha, size = head.decode().split()
    name = path.decode("utf-8", errors="backslashreplace")
    # Submodules have no size, "-". Objects that are missing, "BAD", are found out when read.
    return _Entry(mode, sha, int(size) if size.isdecimal() else 1, name, in_order)


def open_local(folder: Path, ref: str | None, *, name: str) -> GitSnapshot:
    """Pin a commit of a repository on this disk; its work tree is not read.

    :raises SourceError: it is empty, damaged, owned by someone else, leads outside, or lacks `ref`.
    """
    check_ref(ref)
    check_git_folder(folder)
    with open_git(folder) as command:
        commit = _find_commit(command, folder, ref)
        changed = 0 if ref else _count_uncommitted(command, folder)
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
    strange = ref is not None and (".." in ref or "@{" in ref or not ref.isprintable())
    if strange or (ref is not None and not _REF.match(ref)):
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
    command: git.Git, shas: Iterable[str], folder: Path
) -> Generator[bytes, None, None]:
    """Read the content of git objects, in order.

    Git is asked for some ahead of those that are waited for: for small files, waiting for each
    would take longer than all the rest.

    :raises SourceError: one is missing or damaged.
    """
    process = command.cat_file("--batch", as_process=True, istream=subprocess.PIPE)
    try:
        with ended(process):
            waiting = iter(shas)
            asked = _ask_for(process, islice(waiting, OBJECTS_AHEAD))
            while asked:
                ahead = _ask_for(process, islice(waiting, OBJECTS_AHEAD))
                for _ in range(asked):
                    header = process.stdout.readline().split()  # sha, type, size; or "missing"
                    data = process.stdout.read(int(header[2]) + 1)  # a newline follows
                    if len(data) != int(header[2]) + 1:
                        raise _damaged(folder)
                    yield data[:-1]
                asked = ahead
    except (IndexError, ValueError, OSError) as error:
        raise _damaged(folder) from error


def _ask_for(process: git.Git.AutoInterrupt, shas: Iterable[str]) -> int:
    """Ask for objects, without waiting for them; return for how many."""
    lines = [f"{sha}\n".encode() for sha in shas]
    process.stdin.write(b"".join(lines))
    process.stdin.flush()
    return len(lines)


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


def _count_uncommitted(command: git.Git, folder: Path) -> int:
    """Count changed files, most of them by their times and sizes alone.

    Submodules are left out, because git would run `git status` in them. A work tree can hold what
    git waits for, such as a pipe called `.gitignore`: after some time nothing is counted.
    """
    if command.rev_parse("--is-bare-repository") == "true":
        return 0
    disable_filters(command)  # git compares the content of what changed this very second
    command.update_environment(GIT_WORK_TREE=str(folder))  # whatever its configuration says
    options = ("--name-only", "-z", "--ignore-submodules=all")
    limit = {"kill_after_timeout": COUNTING_TIMEOUT_S}
    try:
        listings = (
            command.diff_files(*options, **limit),
            command.diff_index(*options, "--cached", "HEAD", **limit),
            command.ls_files("--others", "--exclude-standard", "-z", **limit),
        )
    except git.CommandError:  # its index is damaged, or counting takes too long
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
