"""Vectors in half precision, one after another in a file, read by their numbers.

They are read by position rather than mapped: of a mapped file each row that is touched would
keep the 64 kB around it in memory. Each is followed by a checksum and read only if it fits, since
a file of this size is not hashed at every opening.
"""

import os
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_tools.errors import IndexDamagedError
from retrieval.embedder import Vectors

BYTES = 2  # of a half-precision number
CHECKSUM_BYTES = 4  # CRC-32 of a vector
SPAN = 16_384  # vectors read at once when all are: 25 MB for a dimension of 384


class HalfVectors:
    """A file of vectors, open for reading. Safe from several threads."""

    def __init__(self, file: Path, dimension: int) -> None:
        """Open `file`, which `write` wrote with vectors of length `dimension`.

        :raises IndexDamagedError: it is not there, or holds part of a vector.
        """
        self._file = file
        self._dimension = dimension
        self._row_bytes = dimension * BYTES + CHECKSUM_BYTES
        try:
            self._descriptor = os.open(file, os.O_RDONLY)
        except OSError as error:
            raise IndexDamagedError(f"{file.name} cannot be read ({error.strerror})") from error
        weakref.finalize(self, os.close, self._descriptor)
        self._count, rest = divmod(os.fstat(self._descriptor).st_size, self._row_bytes)
        if rest:
            raise IndexDamagedError(f"{file.name} ends within a vector")

    @staticmethod
    def write(file: Path, spans: Iterable[Vectors]) -> int:
        """Write vectors, given as arrays of shape (n, dimension), and return how many.

        :raises OSError: the disk is full or the folder is not writable.
        """
        count = 0
        with file.open("wb") as opened:
            for span in spans:
                for row in map(np.ndarray.tobytes, span.astype(np.float16)):
                    opened.write(row + zlib.crc32(row).to_bytes(CHECKSUM_BYTES))
                count += len(span)
        return count

    def __len__(self) -> int:
        return self._count

    def read(self, numbers: npt.NDArray[np.int64]) -> Vectors:
        """Read vectors by number, in the order asked for; shape (n_numbers, dimension).

        :raises IndexDamagedError: there is none of such a number, or it was altered.
        """
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexDamagedError(f"{self._file.name} lacks vectors that are asked for")
        size = self._row_bytes
        rows = [os.pread(self._descriptor, size, number * size) for number in numbers.tolist()]
        return self._decode(rows)

    def spans(self) -> Iterator[Vectors]:
        """Read all vectors in order, some at a time; shapes (n, dimension)."""
        for start in range(0, self._count, SPAN):
            yield self.read(np.arange(start, min(start + SPAN, self._count)))

    def _decode(self, rows: Sequence[bytes]) -> Vectors:
        """Turn rows as they stand in the file into vectors; shape (n_rows, dimension)."""
        end = self._dimension * BYTES
        if any(zlib.crc32(row[:end]).to_bytes(CHECKSUM_BYTES) != row[end:] for row in rows):
            raise IndexDamagedError(f"{self._file.name} was altered or cut short")
        vectors = np.frombuffer(b"".join(row[:end] for row in rows), np.float16)
        return vectors.reshape(len(rows), self._dimension).astype(np.float32)
