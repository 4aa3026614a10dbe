"""A plain folder, read from disk: what is there now, for what is no git repository.

`.gitignore` and `.codeqaignore` are honoured. Links and special files are listed, not opened. Every
folder and file is opened from the open folder that it was found in, so that none can be exchanged
for a link in between.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from data_tools import filters
from data_tools.limits import MAX_DEPTH, MAX_IGNORE_BYTES, RepositoryLimits
from data_tools.sources import Repository, SkippedFile, SourceFile, make_source_file

# A link is never gone through, also where it takes the place of what was looked at before. The
# first folder has no other name: links to it were resolved when it was opened.
_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AS_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_Rules = tuple[str, filters.IgnoreRules]


@dataclass(frozen=True)
class Folder:
    """A plain folder, read from disk: `.gitignore` and `.codeqaignore` are honoured."""

    repository: Repository
    notice: str | None = None
    limits: RepositoryLimits = field(default_factory=RepositoryLimits.from_environment)

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Read every file below the folder; links and special files are listed, not opened.

        :raises SourceError: they are more, or more text, than the limits allow.
        """
        location = self.repository.location
        yield from self.limits.hold(self._walk(location, None, "", [], 0), location)

    def _walk(
        self, name: str, parent: int | None, prefix: str, rules: list[_Rules], depth: int
    ) -> Iterator[SourceFile | SkippedFile]:
        """Read a folder, and those below it.

        :param parent: the open folder in which it is called `name`; None for the first one.
        """
        try:
            folder = os.open(name, _AS_FOLDER, dir_fd=parent)
        except OSError as error:
            yield self._skip(prefix, f"cannot be read ({error.strerror})")
            return
        try:
            yield from self._read_folder(
                folder, prefix, rules + _ignore_rules(folder, prefix), depth
            )
        finally:
            os.close(folder)

    def _read_folder(
        self, folder: int, prefix: str, rules: list[_Rules], depth: int
    ) -> Iterator[SourceFile | SkippedFile]:
        with os.scandir(folder) as entries:
            # As git orders them: a folder's name ends with a slash.
            names = sorted((e.name + "/" * _is_real_folder(e), e) for e in entries)
        for name, entry in names:
            path = prefix + name
            if not path.isprintable():
                yield self._skip(ascii(path)[1:-1], "its name is not printable text")
            elif entry.is_symlink():
                yield self._skip(path, "symbolic link")
            elif name.endswith("/") and entry.name in filters.VENDORED_FOLDERS:
                yield self._skip(path, f"vendored ({name})")
            elif _is_ignored(path, rules):
                yield self._skip(path, "ignored by .gitignore or .codeqaignore")
            elif not name.endswith("/"):
                yield self._read(entry.name, folder, path)
            elif depth >= MAX_DEPTH:
                yield self._skip(path, f"nested more than {MAX_DEPTH} folders deep")
            else:
                yield from self._walk(entry.name, folder, path, rules, depth + 1)

    def _read(self, name: str, folder: int, path: str) -> SourceFile | SkippedFile:
        try:
            file = _open_regular(name, folder)
            if file is None:
                return self._skip(path, "not a regular file")
            with file:
                size = os.fstat(file.fileno()).st_size
                reason = filters.reason_to_skip_path(path, size)
                if reason:
                    return self._skip(path, reason)
                return make_source_file(self.repository, path, file.read(size))
        except OSError as error:
            return self._skip(path, f"cannot be read ({error.strerror})")

    def _skip(self, path: str, reason: str) -> SkippedFile:
        return SkippedFile(self.repository.name, path, reason)


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _open_regular(name: str, folder: int) -> BinaryIO | None:
    """Open a file of an open folder; None if it is a pipe, a device or the like.

    It is looked at before, as merely to open a device can act, and after, as it may be another by
    then; what has become a link is not opened at all.
    """
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return None
    file = os.fdopen(os.open(name, _AS_FILE, dir_fd=folder), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    return None


def _ignore_rules(folder: int, prefix: str) -> list[_Rules]:
    names = [".gitignore"] if prefix else [".gitignore", filters.IGNORE_FILE]
    rules = []
    for name in names:
        with contextlib.suppress(OSError):  # closed to us: the walk lists it as such
            if file := _open_regular(name, folder):
                with file:
                    data = file.read(MAX_IGNORE_BYTES + 1)
                if len(data) <= MAX_IGNORE_BYTES:
                    lines = data.decode("utf-8", errors="replace").splitlines()
                    rules.append((prefix, filters.read_ignore_rules(lines)))
    return rules


def _is_ignored(path: str, rules: list[_Rules]) -> bool:
    """Apply nested ignore files as git does: the deepest one that says anything decides."""
    for prefix, spec in reversed(rules):
        verdict = spec.check_file(path.removeprefix(prefix)).include
        if verdict is not None:
            return verdict
    return False
