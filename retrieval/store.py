"""Chunks, files and what was skipped, in one SQLite file.

The text of chunks stays on disk. Chunks are numbered from 0 in the order they were added,
and tantivy and FAISS use the same numbers. Each carries a checksum and is given out only if it
fits, since a large file is not hashed at every opening.
"""

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pathspec

from data_tools import filters
from data_tools.chunk import Chunk
from data_tools.errors import IndexDamagedError, QuestionError
from data_tools.secrets import FileSecrets
from data_tools.sources import SkippedFile
from retrieval.views import hash_views

FILTERS_KEPT = 8  # results of filters in memory: 8 MB each at 1,000,000 chunks

_TABLES = """
CREATE TABLE chunks (
    number INTEGER PRIMARY KEY,
    repo TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    path TEXT NOT NULL,
    start_line INTEGER NOT NULL,
    end_line INTEGER NOT NULL,
    language TEXT NOT NULL,
    symbol TEXT NOT NULL,
    text TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE redacted (
    repo TEXT NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, secrets INTEGER NOT NULL
);
CREATE TABLE skipped (repo TEXT NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE links (
    repo TEXT NOT NULL, path TEXT NOT NULL, line INTEGER NOT NULL, url TEXT NOT NULL
);
"""
# All filters are about files: at 1,000,000 chunks they are read from a tenth of the rows, and
# texts are not touched. A file's chunks are numbered one after another.
_FINISH = """
CREATE TABLE files AS
    SELECT repo, path, language, min(number) AS first, count(*) AS chunks
    FROM chunks GROUP BY repo, path, language ORDER BY first;
CREATE INDEX files_by_path ON files (path, repo);
CREATE INDEX links_by_path ON links (repo, path, line);
"""
Link = tuple[str, str, int, str]  # repository, path, line, URL
_COLUMNS = 'repo, "commit", path, start_line, end_line, language, symbol, text'
_COUNT = "SELECT coalesce(max(number) + 1, 0) FROM chunks"
_fields = attrgetter(*_COLUMNS.replace('"', "").split(", "))
# A file that was made to mislead may hold views, and functions that they call.
_CAREFUL = "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON"


class ChunkStore:
    """The chunks of one generation of an index. Reading is safe from several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._numbers: dict[object, npt.NDArray[np.int64]] = {}
        self._matched: dict[str, list[str]] = {}

    @classmethod
    def create(cls, file: Path) -> "ChunkStore":
        """Create an empty store at `file`, which must not exist."""
        connection = sqlite3.connect(file, check_same_thread=False)
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)
        return cls(connection)

    @classmethod
    def open(cls, file: Path) -> "ChunkStore":
        """Open a store for reading.

        :raises IndexDamagedError: it is not there or SQLite cannot read it.
        """
        uri = file.resolve().as_uri() + "?mode=ro&immutable=1"
        try:
            store = cls(sqlite3.connect(uri, uri=True, check_same_thread=False))
            store._connection.executescript(_CAREFUL)
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(f"{file.name} cannot be read ({error})") from error
        len(store)  # raises if this is no chunk store
        return store

    def __del__(self) -> None:
        # A reader that went on to a newer generation may still be searched in another thread:
        # the last one to drop this store closes it.
        self._connection.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def add(
        self,
        chunks: Iterable[Chunk],
        skipped: Iterable[SkippedFile] = (),
        *,
        links: Iterable[Link] = (),
        secrets: Iterable[FileSecrets] = (),
        hashed: bool = True,
    ) -> None:
        """Append chunks, numbered on from the last, and files that were skipped.

        :param secrets: how many were taken out of files; never what they are.
        :param links: where lines of pages of sites can be seen, from each line on.
        :param hashed: False for chunks that will not be embedded.
        """
        with self._lock, self._connection:
            first = self._connection.execute(_COUNT).fetchone()[0]
            self._connection.executemany(
                f"INSERT INTO chunks (number, {_COLUMNS}, text_hash, checksum) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        *(row := (number, *_fields(chunk))),
                        hash_views(chunk) if hashed else b"",
                        _checksum(row),
                    )
                    for number, chunk in enumerate(chunks, start=first)
                ),
            )
            self._connection.executemany(
                "INSERT INTO skipped VALUES (?, ?, ?)",
                ((file.repo, file.path, file.reason) for file in skipped),
            )
            self._connection.executemany("INSERT INTO links VALUES (?, ?, ?, ?)", links)
            self._connection.executemany(
                "INSERT INTO redacted VALUES (?, ?, ?, ?)",
                ((found.repo, found.path, found.kind, found.count) for found in secrets),
            )

    def finish(self) -> None:
        """Build what makes reading fast; nothing is added afterwards."""
        with self._lock:
            self._connection.executescript(_FINISH)

    def __len__(self) -> int:
        return int(self._rows(_COUNT)[0][0])

    def chunks(self, repo: str | None = None) -> Iterator[Chunk]:
        """Read all chunks (of one repository) in the order of their numbers.

        :raises IndexDamagedError: one is not there, or was altered.
        """
        last, end = -1, len(self)
        if repo is not None:  # a repository's chunks, too, are numbered one after another
            numbers = self._numbers_where("repo = ?", (repo,))
            if not numbers.size:
                return
            last, end = int(numbers[0]) - 1, int(numbers[-1]) + 1
        while rows := self._rows(
            f"SELECT number, {_COLUMNS}, checksum FROM chunks WHERE number > ? AND number < ? "
            "ORDER BY number LIMIT 1000",
            (last, end),
        ):
            for row in rows:
                last += 1
                yield _read_chunk(last, row)
        if last + 1 != end:
            raise IndexDamagedError("the chunk store ends before its last chunk")

    def get(self, numbers: Sequence[int]) -> list[Chunk]:
        """Read chunks by number, in the order asked for.

        :raises IndexDamagedError: one is not there, or was altered.
        """
        rows = self._rows(
            f"SELECT number, {_COLUMNS}, checksum FROM chunks "
            "WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        )
        found = {row[0]: row for row in rows}
        return [_read_chunk(number, found.get(number)) for number in numbers]

    def text_hashes(self) -> list[bytes]:
        """Read the hash of every chunk's embedded text, in the order of their numbers."""
        return [row[0] for row in self._rows("SELECT text_hash FROM chunks ORDER BY number")]

    def skipped(self, repo: str | None = None) -> list[SkippedFile]:
        """Read what was not indexed, and why."""
        where, values = ("WHERE repo = ?", (repo,)) if repo else ("", ())
        return [SkippedFile(*row) for row in self._rows(f"SELECT * FROM skipped {where}", values)]

    def redacted(self, repo: str | None = None) -> list[FileSecrets]:
        """Read out of which files how many secrets of which kinds were taken."""
        where, values = ("WHERE repo = ?", (repo,)) if repo else ("", ())
        return [FileSecrets(*row) for row in self._rows(f"SELECT * FROM redacted {where}", values)]

    def links(self, repo: str) -> list[Link]:
        """Read where the lines of a site's pages can be seen.

        :raises IndexDamagedError: the store was made before there were sites.
        """
        return self._rows("SELECT * FROM links WHERE repo = ?", (repo,))

    def link(self, repo: str, path: str, line: int) -> str | None:
        """Find the address that shows a line of a site's page, its heading's if it has one."""
        rows = self._rows(
            "SELECT url FROM links WHERE repo = ? AND path = ? AND line <= ? "
            "ORDER BY line DESC LIMIT 1",
            (repo, path, line),
        )
        return str(rows[0][0]) if rows else None

    def languages(self, repo: str | None = None) -> list[tuple[str, int]]:
        """Count files by language, most first."""
        where, values = ("WHERE repo = ?", (repo,)) if repo else ("", ())
        return self._rows(
            f"SELECT language, count(*) AS files FROM files {where} "
            "GROUP BY language ORDER BY files DESC, language",
            values,
        )

    def file_chunks(self, repo: str, path: str) -> list[Chunk]:
        """Read a file's chunks in order; together they are the whole file.

        :raises IndexDamagedError: they are not.
        """
        numbers = self._numbers_where("path = ? AND repo = ?", (path, repo))
        if not numbers.size:
            return []
        chunks = self.get(numbers.tolist())
        after = int(numbers[-1]) + 1
        rest = self.get([after]) if after < len(self) else []
        lines = [0, *(chunk.end_line for chunk in chunks)]
        if (
            any((chunk.repo, chunk.path) != (repo, path) for chunk in chunks)
            or any((chunk.repo, chunk.path) == (repo, path) for chunk in rest)
            or any(c.start_line != end + 1 for c, end in zip(chunks, lines, strict=False))
        ):
            raise IndexDamagedError(f"the chunk store does not hold all of {path!r}")
        return chunks

    def match_paths(self, path_glob: str) -> list[str]:
        """List the paths that match a pattern of `.gitignore` form, in any repository.

        :raises QuestionError: it is not such a pattern.
        """
        try:
            pathspec.GitIgnoreSpec.from_lines([path_glob])  # says what is wrong with one
        except ValueError as error:
            raise QuestionError(
                f"{path_glob!r} is not a pattern for paths; write it as in .gitignore: src/**/*.py"
            ) from error
        if path_glob not in self._matched:
            if len(self._matched) >= FILTERS_KEPT:
                self._matched.clear()
            rows = self._rows("SELECT DISTINCT path FROM files ORDER BY path")
            rules = filters.read_ignore_rules([path_glob])  # in time, whatever the pattern
            self._matched[path_glob] = [
                str(path) for (path,) in rows if rules.match_file(str(path))
            ]
        return self._matched[path_glob]

    def numbers(
        self,
        *,
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
    ) -> npt.NDArray[np.int64]:
        """List the numbers of the chunks that pass all filters; None lets everything pass.

        :return: shape (n_chunks,), ascending.
        """
        wanted = {"repo": repos, "language": languages, "path": paths}
        key = tuple(None if kept is None else tuple(kept) for kept in wanted.values())
        numbers = self._numbers.get(key)
        if numbers is None:
            if len(self._numbers) >= FILTERS_KEPT:
                self._numbers.clear()
            numbers = self._numbers[key] = self._read_numbers(wanted)
        return numbers

    def _read_numbers(self, wanted: Mapping[str, Sequence[str] | None]) -> npt.NDArray[np.int64]:
        clauses, values = ["1"], []
        for column, kept in wanted.items():
            if kept is not None:
                clauses.append(f"{column} IN (SELECT value FROM json_each(?))")
                values.append(json.dumps(list(kept)))
        return self._numbers_where(" AND ".join(clauses), values)

    def _numbers_where(self, clause: str, values: Sequence[object]) -> npt.NDArray[np.int64]:
        """List the numbers of the chunks of the files that a clause of SQL picks; ascending."""
        rows = self._rows(f"SELECT first, chunks FROM files WHERE {clause}", values)
        try:
            first, counts = np.asarray(rows, dtype=np.int64).reshape(-1, 2).T
        except (TypeError, ValueError, OverflowError) as error:
            raise IndexDamagedError("the chunk store holds no numbers of chunks") from error
        total = len(self)
        fits = (first >= 0) & (first < total) & (counts > 0) & (counts <= total - first)
        if not fits.all() or counts.sum() > total:
            raise IndexDamagedError("the chunk store tells of chunks that there are not")
        starts = np.cumsum(counts) - counts  # of each file's numbers in the result
        numbers = np.repeat(first - starts, counts) + np.arange(counts.sum())
        numbers.sort()
        numbers.flags.writeable = False  # it is kept, and given to the next who asks
        return numbers

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            with self._lock:
                return self._connection.execute(query, tuple(values)).fetchall()
        except sqlite3.DatabaseError as error:  # one kind of it quotes the text that is none
            reason = str(error).partition(" with text ")[0]
            raise IndexDamagedError(f"the chunk store cannot be read ({reason})") from error


def _checksum(row: Sequence[object]) -> int:
    """Compute the CRC-32 of a chunk and its number."""
    return zlib.crc32("\0".join(map(str, row)).encode("utf-8", errors="surrogatepass"))


def _read_chunk(number: int, row: Sequence[Any] | None) -> Chunk:
    """Make a chunk of its number, its fields and its checksum.

    :raises IndexDamagedError: there is none, or it is not what was written.
    """
    if row is None or row[0] != number or _checksum(row[:-1]) != row[-1]:
        raise IndexDamagedError(f"chunk {number:,} is missing or was altered")
    return Chunk(*row[1:-1])
