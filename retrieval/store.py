"""Chunks, files and what was skipped, in one SQLite file; the cache of embeddings in another.

The text of chunks stays on disk. Chunks are numbered from 0 in the order they were added,
and tantivy and FAISS use the same numbers.
"""

import hashlib
import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pathspec

from data_tools.chunk import Chunk
from data_tools.errors import IndexDamagedError, QuestionError
from data_tools.sources import SkippedFile
from retrieval.embed import Vectors

HASH_BYTES = 16  # of a text's SHA-256: collisions are out of reach at any size that fits a disk
CHECKSUM_BYTES = 4  # CRC-32

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
    text_hash BLOB NOT NULL
);
CREATE TABLE skipped (repo TEXT NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL);
"""
_INDEXES = "CREATE INDEX chunks_by_file ON chunks (repo, path, start_line);"
_COLUMNS = 'repo, "commit", path, start_line, end_line, language, symbol, text'


def embedded_text(chunk: Chunk) -> str:
    """Return what is embedded for a chunk: a header that says where it stands, and its text."""
    header = f"{chunk.path} › {chunk.symbol}" if chunk.symbol else chunk.path
    return f"{header}\n{chunk.text}"


def hash_text(text: str) -> bytes:
    """Hash a text to the key under which its vector is cached."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()[:HASH_BYTES]


class ChunkStore:
    """The chunks of one generation of an index. Reading is safe from several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

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
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(f"{file} cannot be read ({error})") from error
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

    def add(self, chunks: Iterable[Chunk], skipped: Iterable[SkippedFile] = ()) -> None:
        """Append chunks, numbered on from the last, and files that were skipped."""
        with self._lock, self._connection:
            self._connection.executemany(
                f"INSERT INTO chunks ({_COLUMNS}, text_hash, number) "
                "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(max(number) + 1, 0) FROM chunks",
                (
                    (
                        chunk.repo,
                        chunk.commit,
                        chunk.path,
                        chunk.start_line,
                        chunk.end_line,
                        chunk.language,
                        chunk.symbol,
                        chunk.text,
                        hash_text(embedded_text(chunk)),
                    )
                    for chunk in chunks
                ),
            )
            self._connection.executemany(
                "INSERT INTO skipped VALUES (?, ?, ?)",
                ((file.repo, file.path, file.reason) for file in skipped),
            )

    def finish(self) -> None:
        """Build what makes reading fast; nothing is added afterwards."""
        with self._lock:
            self._connection.executescript(_INDEXES)

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM chunks")[0][0])

    def chunks(self, repo: str | None = None) -> Iterator[Chunk]:
        """Read all chunks (of one repository) in the order of their numbers."""
        where, values = ("WHERE repo = ?", (repo,)) if repo else ("", ())
        last = -1
        while rows := self._rows(
            f"SELECT number, {_COLUMNS} FROM chunks {where or 'WHERE 1'} AND number > ? "
            "ORDER BY number LIMIT 1000",
            (*values, last),
        ):
            yield from (Chunk(*row[1:]) for row in rows)
            last = rows[-1][0]

    def get(self, numbers: Sequence[int]) -> list[Chunk]:
        """Read chunks by number, in the order asked for."""
        rows = self._rows(
            f"SELECT number, {_COLUMNS} FROM chunks "
            "WHERE number IN (SELECT value FROM json_each(?))",
            (json.dumps(list(numbers)),),
        )
        found = {row[0]: Chunk(*row[1:]) for row in rows}
        return [found[number] for number in numbers]

    def text_hashes(self) -> list[bytes]:
        """Read the hash of every chunk's embedded text, in the order of their numbers."""
        return [row[0] for row in self._rows("SELECT text_hash FROM chunks ORDER BY number")]

    def skipped(self, repo: str | None = None) -> list[SkippedFile]:
        """Read what was not indexed, and why."""
        where, values = ("WHERE repo = ?", (repo,)) if repo else ("", ())
        return [SkippedFile(*row) for row in self._rows(f"SELECT * FROM skipped {where}", values)]

    def languages(self, repo: str | None = None) -> list[tuple[str, int]]:
        """Count files by language, most first."""
        where, values = ("WHERE repo = ?", (repo,)) if repo else ("", ())
        return self._rows(
            f"SELECT language, count(DISTINCT repo || '/' || path) AS files FROM chunks {where} "
            "GROUP BY language ORDER BY files DESC, language",
            values,
        )

    def file_chunks(self, repo: str, path: str) -> list[Chunk]:
        """Read a file's chunks in order; together they are the whole file."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM chunks WHERE repo = ? AND path = ? ORDER BY start_line",
            (repo, path),
        )
        return [Chunk(*row) for row in rows]

    def match_paths(self, path_glob: str) -> list[str]:
        """List the paths that match a pattern of `.gitignore` form, in any repository.

        :raises QuestionError: it is not such a pattern.
        """
        try:
            pattern = pathspec.GitIgnoreSpec.from_lines([path_glob])
        except ValueError as error:
            raise QuestionError(
                f"{path_glob!r} is not a pattern for paths; write it as in .gitignore: src/**/*.py"
            ) from error
        paths = [row[0] for row in self._rows("SELECT DISTINCT path FROM chunks ORDER BY path")]
        return [path for path in paths if pattern.match_file(path)]

    def numbers(
        self,
        *,
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
    ) -> list[int]:
        """List the numbers of the chunks that pass all filters; None lets everything pass."""
        clauses, values = ["1"], []
        for column, kept in (("repo", repos), ("language", languages), ("path", paths)):
            if kept is not None:
                clauses.append(f"{column} IN (SELECT value FROM json_each(?))")
                values.append(json.dumps(list(kept)))
        where = " AND ".join(clauses)
        query = f"SELECT number FROM chunks WHERE {where} ORDER BY number"
        return [row[0] for row in self._rows(query, values)]

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            with self._lock:
                return self._connection.execute(query, tuple(values)).fetchall()
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(f"the chunk store cannot be read ({error})") from error


class EmbeddingCache:
    """Vectors by (model fingerprint, text hash), kept beside the generations of an index.

    Vectors are stored in half precision; they are used in that precision everywhere, so a
    cached vector and a fresh one are the same. Each carries a checksum: what was altered is not
    found, and computed again.
    """

    def __init__(self, file: Path, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        try:
            self._connection = _open_cache(file)
        except sqlite3.OperationalError:  # the disk is full, or the file may not be read
            raise
        except sqlite3.DatabaseError:  # damaged: it holds nothing that cannot be computed again
            file.unlink()
            file.with_name(f"{file.name}-journal").unlink(missing_ok=True)
            self._connection = _open_cache(file)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, text_hashes: Iterable[bytes]) -> dict[bytes, Vectors]:
        """Look up vectors, each of shape (dimension,); those not cached are left out."""
        found = {}
        for text_hash in text_hashes:
            row = self._connection.execute(
                "SELECT vector FROM vectors WHERE fingerprint = ? AND text_hash = ?",
                (self._fingerprint, text_hash),
            ).fetchone()
            vector = _unpack(row[0]) if row else None
            if vector is not None:
                found[text_hash] = vector
        return found

    def put(self, text_hashes: Sequence[bytes], vectors: Vectors) -> None:
        """Store vectors, shape (n, dimension), and make them durable."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                (
                    (self._fingerprint, text_hash, _pack(vector))
                    for text_hash, vector in zip(text_hashes, vectors, strict=True)
                ),
            )

    def prune(self, text_hashes: Iterable[bytes]) -> None:
        """Forget every vector but the given ones."""
        with self._connection:
            self._connection.execute("CREATE TEMP TABLE kept (text_hash BLOB PRIMARY KEY)")
            self._connection.executemany(
                "INSERT OR IGNORE INTO kept VALUES (?)", ((h,) for h in text_hashes)
            )
            self._connection.execute(
                "DELETE FROM vectors WHERE fingerprint != ? "
                "OR text_hash NOT IN (SELECT text_hash FROM kept)",
                (self._fingerprint,),
            )
            self._connection.execute("DROP TABLE kept")


def _open_cache(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file)
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS vectors (fingerprint TEXT, text_hash BLOB, vector BLOB, "
            "PRIMARY KEY (fingerprint, text_hash)) WITHOUT ROWID"
        )
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError(f"{file} is damaged")
    except BaseException:
        connection.close()
        raise
    return connection


def _pack(vector: Vectors) -> bytes:
    data = vector.astype(np.float16).tobytes()
    return data + zlib.crc32(data).to_bytes(CHECKSUM_BYTES)


def _unpack(blob: bytes) -> Vectors | None:
    data, checksum = blob[:-CHECKSUM_BYTES], blob[-CHECKSUM_BYTES:]
    if zlib.crc32(data).to_bytes(CHECKSUM_BYTES) != checksum:
        return None
    return np.frombuffer(data, np.float16).astype(np.float32)
