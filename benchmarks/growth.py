"""More code than there is: real chunks copied with changed words and moved vectors.

The time that a search takes depends on how words and vectors are spread, not on what the code
does. Words: in every copy some of the rarer ones are renamed, each wherever it stands, so that
the vocabulary grows as that of the real chunks does (Heaps' law) and common words stay common.
Words that are not renamed occur once more a copy, so lists of rare words grow longer than
those of as much real code: searches for words come out slower here, not faster.
Vectors: a real one is moved as its nearest neighbour differs from it, in length and in
direction. `compare_statistics` says how close that comes. Nothing is embedded here.

Source: Heaps, "Information Retrieval: Computational and Theoretical Aspects", 1978, section 7.5.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from data_tools.chunk import Chunk
from retrieval.embedder import Vectors
from retrieval.lexical import tokenize

COMMON_SHARE = 0.01  # of the chunks: words that stand in more of them are not renamed
SPAN = 4_096  # vectors compared at once
PROBES = 500  # vectors whose neighbours are looked for to compare statistics
_WORD = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}")
_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]


class GrownText:
    """Copies of chunks in which words are renamed."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        """Count the words of real `chunks`."""
        self._chunks = chunks
        frequency = Counter(word for chunk in chunks for word in _words(chunk.text))
        self._common = {w for w, n in frequency.items() if n > COMMON_SHARE * len(chunks)}
        order = np.random.default_rng(0).permutation(len(chunks)).tolist()
        half = count_tokens(chunks[number] for number in order[: len(chunks) // 2])
        self.exponent = math.log2(count_tokens(chunks) / max(half, 1))

    def vocabulary(self, copies: int) -> float:
        """Predict how many times the distinct tokens of the real chunks copies should hold."""
        return float(copies**self.exponent)

    def copy(self, number: int) -> Iterator[Chunk]:
        """Yield the chunks once more; copy 0 is the chunks themselves."""
        if number == 0:
            yield from self._chunks
            return
        names = _Names(self._common, number, self.vocabulary(number + 1) - self.vocabulary(number))

        def rename(text: str) -> str:
            return _WORD.sub(lambda match: names[match[0]], text)

        for chunk in self._chunks:
            path = PurePosixPath(chunk.path)
            yield replace(
                chunk,
                repo=f"{chunk.repo}-{number}",
                path=f"part{number}/{rename(str(path.with_suffix('')))}{path.suffix}",
                symbol=rename(chunk.symbol),
                text=rename(chunk.text),
            )


def count_tokens(chunks: Iterable[Chunk]) -> int:
    """Count the distinct tokens of chunks, as they are searched for."""
    return len({token for chunk in chunks for token in tokenize(chunk.text)})


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


class _Names(dict[str, str]):
    """What words are called in one copy: looked up, or decided when first asked for."""

    def __init__(self, common: set[str], copy: int, share: float) -> None:
        super().__init__()
        self._common, self._copy, self._share = common, copy, share

    def __missing__(self, word: str) -> str:
        low = word.lower()
        new = low
        if low not in self._common:
            drawn = zlib.crc32(f"{self._copy} {low}".encode())
            if drawn / 2**32 < self._share:
                new = _pronounceable(zlib.crc32(f"{low} {self._copy}".encode()), len(low))
        new = new.upper() if word.isupper() else new
        self[word] = new.capitalize() if word[0].isupper() and not word.isupper() else new
        return self[word]


def _pronounceable(number: int, length: int) -> str:
    syllables = []
    for _ in range(max(3, (length + 1) // 2)):
        number, rest = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[rest])
    return "".join(syllables)


class GrownVectors:
    """Copies of vectors, moved as nearest neighbours differ from each other."""

    def __init__(self, vectors: Vectors) -> None:
        """Measure real `vectors`, shape (n, dimension), of unit length."""
        self._vectors = vectors
        neighbours, cosines = nearest_neighbours(vectors, vectors)
        self._lengths = np.sqrt(np.maximum(1 - cosines, 0))  # two moves make one difference
        differences = vectors[neighbours] - vectors
        covariance = np.cov(differences.T)
        covariance += 1e-6 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        root = np.linalg.cholesky(covariance / np.trace(covariance))
        self._root = root.astype(np.float32)

    def copy(self, number: int) -> Vectors:
        """Return the vectors once more, shape (n, dimension); copy 0 is the vectors themselves."""
        if number == 0:
            return self._vectors
        drawn = np.random.default_rng(number).standard_normal(self._vectors.shape, np.float32)
        moved = self._vectors + self._lengths[:, None] * (drawn @ self._root.T)
        unit: Vectors = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        return unit.astype(np.float32)


def nearest_neighbours(
    queries: Vectors, vectors: Vectors
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the nearest vector to each query, itself and its equals left out; shapes (n_queries,).

    :return: numbers, and cosines.
    """
    numbers, cosines = [], []
    for start in range(0, len(queries), SPAN):
        products = queries[start : start + SPAN] @ vectors.T
        products[products > 1 - 1e-4] = -1
        numbers.append(products.argmax(axis=1))
        cosines.append(products.max(axis=1))
    return np.concatenate(numbers), np.concatenate(cosines)


@dataclass(frozen=True)
class Statistics:
    """How vectors are spread; medians of cosines.

    :param neighbour: of a chunk and its nearest neighbour.
    :param spread: of that, from the 10th to the 90th percentile.
    :param first: of a question and the nearest chunk.
    :param tenth: of a question and the tenth nearest chunk.
    :param any: of a question and any chunk.
    """

    neighbour: float
    spread: float
    first: float
    tenth: float
    any: float


def compare_statistics(vectors: Vectors, questions: Vectors) -> Statistics:
    """Measure vectors, shape (n, dimension), and how questions lie to them."""
    probes = np.random.default_rng(0).permutation(len(vectors))[:PROBES]
    _, neighbour = nearest_neighbours(vectors[probes], vectors)
    cosines = questions @ vectors.T
    tenth = min(9, len(vectors) - 1)
    best = -np.partition(-cosines, (0, tenth), axis=1)
    low, middle, high = np.quantile(neighbour, (0.1, 0.5, 0.9))
    return Statistics(
        float(middle),
        float(high - low),
        float(np.median(best[:, 0])),
        float(np.median(best[:, tenth])),
        float(np.median(cosines)),
    )
