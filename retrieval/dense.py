"""Nearest vectors, by FAISS: among all of them, and in a large index among the nearest clusters.

Up to `EXACT_UP_TO` vectors, every one is compared. Beyond, k-means clusters of 8-bit codes,
mapped from disk, choose candidates, and these are compared by their own vectors, which lie in
half precision in a file beside. Measured in `benchmarks/scale.py`.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from data_tools.errors import IndexDamagedError
from retrieval.embedder import Vectors
from retrieval.half_vectors import HalfVectors

EXACT_UP_TO = 20_000  # vectors; comparing more of them takes longer than all else in a search
CLUSTERS = 4.0  # times the square root of the number of vectors
TRAINED_ON = 40  # vectors a cluster: enough for k-means, and memory for no more
ITERATIONS = 8  # of k-means
PROBED = 64  # clusters looked into, whatever their number
CANDIDATES = 100  # compared by their own vectors, at least
FEW = 2_000  # allowed chunks; up to here each is compared by its own vector
MANY = 50_000  # allowed chunks; up to here they are looked for in every cluster: 60 ns each
SEED = 7
HALVES = ".f16"  # suffix of the file beside a clustered index


class DenseIndex:
    """Vectors of chunks, numbered as the chunks are; unit length, so inner product is cosine."""

    def __init__(self, index: faiss.Index, halves: HalfVectors | None = None) -> None:
        """Use `build`, `create` or `open` instead.

        :param halves: the vectors themselves, where `index` holds clusters of codes.
        """
        self._index = index
        self._halves = halves

    @classmethod
    def build(cls, vectors: Vectors) -> "DenseIndex":
        """Index `vectors`, shape (n_chunks, dimension), float32, of unit length, exactly."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return cls(index)

    @classmethod
    def create(
        cls, file: Path, spans: Iterable[Vectors], *, exact_up_to: int = EXACT_UP_TO
    ) -> "DenseIndex":
        """Index vectors and write them to `file`, and in a large index to one beside it.

        The same vectors in the same order give the same index.

        :param spans: arrays of shape (n, dimension), float32, of unit length; at least one.
        :param exact_up_to: above so many vectors, clusters of them are made.
        :raises OSError: the disk is full or the folder is not writable.
        """
        spans = iter(spans)
        first = next(spans)
        halves_file = file.with_suffix(HALVES)
        HalfVectors.write(halves_file, chain([first], spans))
        halves = HalfVectors(halves_file, first.shape[1])
        if len(halves) <= exact_up_to:
            index = cls.build(np.concatenate(list(halves.spans())))
            halves_file.unlink()
        else:
            index = cls(_cluster(halves, first.shape[1]), halves)
        index.write(file)
        return index

    @classmethod
    def open(cls, file: Path) -> "DenseIndex":
        """Read an index that `write` or `create` wrote; the caller has checked its hash.

        :raises IndexDamagedError: FAISS cannot read it, it is not what `create` makes, or the file
            beside does not fit.
        """
        try:
            index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
        except (RuntimeError, MemoryError) as error:
            raise IndexDamagedError(f"{file.name} is no FAISS index") from error
        if isinstance(index, faiss.IndexFlatIP) and index.d > 0:
            return cls(index)
        lists = _mapped_lists(index)
        if lists is None or not _fits(index, lists, file):
            raise IndexDamagedError(f"{file.name} does not hold what it says it does")
        # By default FAISS starts threads that read ahead, at every search.
        lists.prefetch_nthread = 0
        halves = HalfVectors(file.with_suffix(HALVES), index.d)
        if len(halves) != index.ntotal:
            raise IndexDamagedError(
                f"{file.name} has {index.ntotal:,} vectors, and {len(halves):,} lie beside it"
            )
        return cls(index, halves)

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
        self,
        query: Vectors,
        limit: int,
        *,
        allowed: Sequence[int] | npt.NDArray[np.int64] | None = None,
    ) -> list[tuple[int, float]]:
        """Find the vectors nearest to `query`, shape (dimension,).

        :param allowed: chunk numbers to choose from, each once; None is all.
        :return: (chunk number, cosine), best first, at most `limit`.
        """
        limit = min(limit, len(self))
        chosen = None if allowed is None else np.asarray(allowed, dtype=np.int64)
        if limit == 0 or (chosen is not None and not chosen.size):
            return []
        if chosen is None or chosen.size > FEW:
            chosen = self._nearest(query, min(max(limit, CANDIDATES), len(self)), chosen)
        cosines = self.cosines(query, chosen)
        best = np.lexsort((chosen, -cosines))[:limit]
        return list(zip(chosen[best].tolist(), cosines[best].tolist(), strict=True))

    def cosines(
        self, query: Vectors, numbers: Sequence[int] | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Compare `query`, shape (dimension,), with the given chunks; shape (n_numbers,)."""
        if not len(numbers):
            return np.zeros(0, np.float32)
        # Not `@`: its threads cost more here than they save.
        cosines: npt.NDArray[np.float32] = np.einsum("nd,d->n", self.vectors(numbers), query)
        return cosines

    def vectors(self, numbers: Sequence[int] | npt.NDArray[np.int64]) -> Vectors:
        """Return the vectors of the given chunks, at least one; shape (n_numbers, dimension).

        :raises IndexDamagedError: one is not there, or was altered.
        """
        wanted = np.asarray(numbers, dtype=np.int64)
        if self._halves:
            return self._halves.read(wanted)
        if not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexDamagedError("vectors are asked for that the index lacks")
        found: Vectors = self._index.reconstruct_batch(wanted)
        return found

    def _nearest(
        self, query: Vectors, limit: int, allowed: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.int64]:
        """Let FAISS choose: the numbers of what is nearest, in no order to rely on."""
        selector = None if allowed is None else _selector(allowed, len(self))
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        if isinstance(self._index, faiss.IndexIVF):
            probed = self._index.nprobe
            if allowed is not None:
                # Where few of each cluster are allowed, as many more clusters are looked into;
                # all, where that is quick: what is allowed may lie far from the question.
                every = self._index.nlist
                probed = min(math.ceil(probed * len(self) / allowed.size), every)
                probed = every if allowed.size <= MANY else probed
            parameters = faiss.SearchParametersIVF(  # type: ignore[call-arg]
                sel=selector, nprobe=probed
            )
        with _one_thread():
            numbers = self._index.search(query[None, :], limit, params=parameters)[1][0]
        found: npt.NDArray[np.int64] = numbers[numbers >= 0]
        return found


def _mapped_lists(index: faiss.Index) -> Any:  # noqa: ANN401 - FAISS declares no types of its parts
    """Return the clusters as they are mapped from disk; None if that is not what the index has."""
    if not isinstance(index, faiss.IndexIVFScalarQuantizer) or index.invlists is None:
        return None
    lists = faiss.downcast_InvertedLists(index.invlists)
    return lists if isinstance(lists, faiss.OnDiskInvertedLists) else None


def _fits(index: Any, lists: Any, file: Path) -> bool:  # noqa: ANN401
    """Tell whether the parts of a clustered index fit each other, and take up their file exactly.

    FAISS maps clusters wherever in the file their sizes say, or beyond its end.
    """
    centres, codes = index.quantizer, index.sq
    parts_fit = (
        0 < index.nprobe <= index.nlist == lists.nlist == centres.ntotal
        and 0 < index.d == centres.d == codes.d == codes.code_size == lists.code_size
        and codes.qtype == faiss.ScalarQuantizer.QT_8bit
        and codes.trained.size() == 2 * index.d
        and index.metric_type == centres.metric_type == faiss.METRIC_INNER_PRODUCT
    )
    if not parts_fit:
        return False
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    last_bytes = sizes[-1] * (lists.code_size + np.dtype(np.int64).itemsize)
    end = lists.lists.at(index.nlist - 1).offset + last_bytes
    return bool(sum(sizes) == index.ntotal and end == file.stat().st_size)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep FAISS from sharing out one question: on a busy machine its threads wait for another."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _selector(allowed: npt.NDArray[np.int64], count: int) -> faiss.IDSelector:
    """Make the set of allowed numbers, of all below `count`, as FAISS looks them up fastest."""
    passes = np.zeros(count, dtype=bool)
    passes[allowed] = True
    return faiss.IDSelectorBitmap(np.packbits(passes, bitorder="little"))  # type: ignore


def _cluster(vectors: HalfVectors, dimension: int) -> faiss.IndexIVF:
    """Make clusters of 8-bit codes.

    Source: Jégou, Douze & Schmid, "Product quantization for nearest neighbor search",
    IEEE TPAMI 33(1), 2011, doi:10.1109/TPAMI.2010.57, section 4, with scalar quantisation.
    """
    clusters = min(math.ceil(CLUSTERS * math.sqrt(len(vectors))), len(vectors))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        clusters,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
        False,  # codes of the vectors, not of what the cluster's centre leaves of them
    )
    index.cp.niter, index.cp.seed = ITERATIONS, SEED
    index.cp.min_points_per_centroid = 1  # else it warns of a small index on standard error
    index.cp.max_points_per_centroid = TRAINED_ON
    index.nprobe = min(PROBED, clusters)  # it is written with the index
    sample = np.random.default_rng(SEED).permutation(len(vectors))[: TRAINED_ON * clusters]
    index.train(vectors.read(np.sort(sample)))
    for span in vectors.spans():
        index.add(span)
    return index
