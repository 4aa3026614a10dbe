"""Nearest vectors, by FAISS. Exact: every vector is compared."""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from data_tools.errors import IndexDamagedError
from retrieval.embed import Vectors


class DenseIndex:
    """Vectors of chunks, numbered as the chunks are; unit length, so inner product is cosine."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors) -> "DenseIndex":
        """Index `vectors`, shape (n_chunks, dimension), float32, of unit length."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return cls(index)

    @classmethod
    def open(cls, file: Path) -> "DenseIndex":
        """Read an index that `write` wrote; the caller has checked its hash.

        :raises IndexDamagedError: FAISS cannot read it.
        """
        try:
            return cls(faiss.read_index(str(file)))
        except RuntimeError as error:
            raise IndexDamagedError(f"{file} is no FAISS index") from error

    def write(self, file: Path) -> None:
        """Write the index to `file`.

        :raises OSError: the disk is full or the folder is not writable.
        """
        try:
            faiss.write_index(self._index, str(file))
        except RuntimeError as error:
            raise OSError(f"cannot write {file}: {error}") from error

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._index.d)

    def search(
        self, query: Vectors, limit: int, *, allowed: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """Find the vectors nearest to `query`, shape (dimension,).

        :param allowed: chunk numbers to choose from; None is all.
        :return: (chunk number, cosine), best first, at most `limit`.
        """
        limit = min(limit, len(self))
        if limit == 0 or (allowed is not None and not len(allowed)):
            return []
        parameters = None
        if allowed is not None:
            numbers = np.asarray(allowed, dtype=np.int64)
            selector = faiss.IDSelectorBatch(numbers)
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        cosines, numbers = self._index.search(query[None, :], limit, params=parameters)
        return [
            (int(number), float(cosine))
            for number, cosine in zip(numbers[0], cosines[0], strict=True)
            if number >= 0
        ]

    def cosines(self, query: Vectors, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
        """Compare `query`, shape (dimension,), with the given chunks; shape (n_numbers,)."""
        if not numbers:
            return np.zeros(0, np.float32)
        vectors = self._index.reconstruct_batch(np.asarray(numbers, dtype=np.int64))
        cosines: npt.NDArray[np.float32] = vectors @ query
        return cosines
