"""Vectors of texts that were embedded once, in an SQLite file beside the generations of an index.

An unchanged chunk is found here by the hash of its text, and never embedded twice.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from retrieval.embedder import Vectors

CHECKSUM_BYTES = 4  # CRC-32
LOOKED_UP_AT_ONCE = 500  # vectors; SQLite takes at least 999 variables
SPAN = 8_192  # vectors in memory at once: 13 MB for a dimension of 384


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

    def known(self, text_hashes: Iterable[bytes]) -> set[bytes]:
        """Tell which of the texts have vectors, by reading the cache once from end to end."""
        wanted = set(text_hashes)
        rows = self._connection.execute(
            "SELECT text_hash, vector FROM vectors "
            "WHERE fingerprint = ? AND typeof(text_hash) = 'blob'",
            (self._fingerprint,),
        )
        return {key for key, blob in rows if key in wanted and _is_whole(blob)}

    def get(self, text_hashes: Iterable[bytes]) -> dict[bytes, Vectors]:
        """Look up vectors, each of shape (dimension,); those not cached are left out."""
        keys = list(dict.fromkeys(text_hashes))
        found: dict[bytes, Vectors] = {}
        for start in range(0, len(keys), LOOKED_UP_AT_ONCE):
            span = keys[start : start + LOOKED_UP_AT_ONCE]
            rows = self._connection.execute(
                "SELECT text_hash, vector FROM vectors WHERE fingerprint = ? "
                f"AND text_hash IN ({', '.join('?' * len(span))})",
                (self._fingerprint, *span),
            )
            found.update((key, _unpack(blob)) for key, blob in rows if _is_whole(blob))
        return {key: found[key] for key in keys if key in found}

    def spans(self, text_hashes: Sequence[bytes]) -> Iterator[Vectors]:
        """Read the vectors of texts, some at a time; shapes (n, dimension), in the texts' order.

        :raises KeyError: one is not cached.
        """
        for start in range(0, len(text_hashes), SPAN):
            keys = text_hashes[start : start + SPAN]
            found = self.get(keys)
            yield np.stack([found[key] for key in keys])

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
    connection.text_factory = bytes  # what damage made text of is no text, and not found
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS vectors (fingerprint TEXT, text_hash BLOB, vector BLOB, "
            "PRIMARY KEY (fingerprint, text_hash)) WITHOUT ROWID"
        )
        if connection.execute("PRAGMA quick_check(1)").fetchone() != (b"ok",):
            raise sqlite3.DatabaseError(f"{file} is damaged")
    except BaseException:
        connection.close()
        raise
    return connection


def _pack(vector: Vectors) -> bytes:
    data = vector.astype(np.float16).tobytes()
    return data + zlib.crc32(data).to_bytes(CHECKSUM_BYTES)


def _is_whole(blob: object) -> bool:
    if not isinstance(blob, bytes):  # a column's type is in the file, too
        return False
    data, checksum = memoryview(blob)[:-CHECKSUM_BYTES], blob[-CHECKSUM_BYTES:]
    return zlib.crc32(data).to_bytes(CHECKSUM_BYTES) == checksum


def _unpack(blob: bytes) -> Vectors:
    return np.frombuffer(blob[:-CHECKSUM_BYTES], np.float16).astype(np.float32)
