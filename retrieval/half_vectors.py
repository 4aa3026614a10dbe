"""Vectors in half precision, one after another in a file, read by their numbers.

They are read by position rather than mapped: of a mapped file each row that is touched would
keep the 64 kB around it in memory.
"""

import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_tools.errors import IndexDamagedError
from retrieval.embedder import Vectors

BYTES = 2  # of a half-precision number
SPAN = 16_384  # vectors read at once when all are: 25 MB for a dimension of 384


class HalfVectors:
    """A file of vectors, open for reading. Safe from several threads."""

    def __init__(self, file: Path, dimension: int) -> None:
        """Open `file`, which `write` wrote with vectors of length `dimension`.

        :raises IndexDamagedError: it is not there, or holds part of a vector.
        """
        self._file = file
        self._dimension = dimension
        try:
            self._descriptor = os.open(file, os.O_RDONLY)
        except OSError as error:
            raise IndexDamagedError(f"{file} cannot be read ({error.strerror})") from error
        weakref.finalize(self, os.close, self._descriptor)
        self._count, rest = divmod(os.fstat(self._descriptor).st_size, dimension * BYTES)
        if rest:
            raise IndexDamagedError(f"{file} ends within a vector")

    @staticmethod
    def write(file: Path, spans: Iterable[Vectors]) -> int:
        """Write vectors, given as arrays of shape (n, dimension), and return how many.

        :raises OSError: the disk is full or the folder is not writable.
        """
        count = 0
        with file.open("wb") as opened:
            for span in spans:
                opened.write(span.astype(np.float16).tobytes())
                count += len(span)
        return count

    def __len__(self) -> int:
        return self._count

    def read(self, numbers: npt.NDArray[np.int64]) -> Vectors:
        """Read vectors by number, in the order asked for; shape (n_numbers, dimension).

        :raises IndexDamagedError: there is none of such a number.
        """
        size = self._dimension * BYTES
        rows = [os.pread(self._descriptor, size, number * size) for number in numbers.tolist()]
        return self._decode(b"".join(rows), len(rows))

    def spans(self) -> Iterator[Vectors]:
        """Read all vectors in order, some at a time; shapes (n, dimension)."""
        size = self._dimension * BYTES
        for start in range(0, self._count, SPAN):
            count = min(SPAN, self._count - start)
            yield self._decode(os.pread(self._descriptor, count * size, start * size), count)

    def _decode(self, data: bytes, count: int) -> Vectors:
        if len(data) != count * self._dimension * BYTES:
            raise IndexDamagedError(f"{self._file} was cut short while it was being read")
        vectors = np.frombuffer(data, np.float16).reshape(count, self._dimension)
        return vectors.astype(np.float32)
