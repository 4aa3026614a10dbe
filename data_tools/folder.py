"""A plain folder, read from disk: what is there now, for what is no git repository.

`.gitignore` and `.codeqaignore` are honoured. Links and special files are listed, not opened.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_tools import filters
from data_tools.sources import Repository, SkippedFile, SourceFile, make_source_file

MAX_DEPTH = 100  # nested folders; deeper trees are made to do harm


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
            # As git orders them: a folder's name ends with a slash.
            names = sorted((e.name + "/" * _is_real_folder(e), e) for e in os.scandir(folder))
        except OSError as error:
            yield self._skip(prefix, f"cannot be read ({error.strerror})")
            return
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
                yield self._read(Path(entry.path), path)
            elif depth >= MAX_DEPTH:
                yield self._skip(path, f"nested more than {MAX_DEPTH} folders deep")
            else:
                yield from self._walk(Path(entry.path), path, rules, depth + 1)

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


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _ignore_rules(folder: Path, prefix: str) -> list[tuple[str, filters.IgnoreRules]]:
    names = [".gitignore"] if prefix else [".gitignore", filters.IGNORE_FILE]
    rules = []
    for file in (folder / name for name in names):
        with contextlib.suppress(OSError):  # closed to us: the walk lists it as such
            if stat.S_ISREG(file.lstat().st_mode):
                text = file.read_text("utf-8", errors="replace")
                rules.append((prefix, filters.read_ignore_rules(text.splitlines())))
    return rules


def _is_ignored(path: str, rules: list[tuple[str, filters.IgnoreRules]]) -> bool:
    """Apply nested ignore files as git does: the deepest one that says anything decides."""
    for prefix, spec in reversed(rules):
        verdict = spec.check_file(path.removeprefix(prefix)).include
        if verdict is not None:
            return verdict
    return False
