"""Search one index and print, as JSON, how long it took and what it held in memory.

    python -m benchmarks.scale_search INDEX QUESTIONS

A process of its own for `benchmarks.scale`: memory is counted beyond that of the same process
with the embedding model loaded and used.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval import CodeIndex, build, generations
from retrieval.dense import DenseIndex
from retrieval.embed import open_embedder
from retrieval.embedder import Embedder, Vectors
from retrieval.lexical import LexicalIndex, query_tokens
from retrieval.questions import read_questions
from retrieval.search import CANDIDATES
from retrieval.store import ChunkStore

QUESTIONS = 200
K = 10  # of recall
SPAN = 50_000  # vectors compared at once to know the exact answer


def main(folder: Path, questions_file: Path) -> None:
    """Open, search, and print one JSON object."""
    questions = [question.query for question in read_questions(questions_file)][:QUESTIONS]
    embedder = open_embedder()
    embedder.embed_query(questions[0])
    vectors: list[Vectors] = []
    encoding = timed(lambda question: vectors.append(embedder.embed_query(question)), questions)
    queries = np.stack(vectors)
    held = memory_mb("VmRSS")
    start = time.perf_counter()
    index = CodeIndex.open(folder, embedder=embedder)
    row: dict[str, Any] = {"open_s": round(time.perf_counter() - start, 3)}
    row["opened_mb"] = round(memory_mb("VmRSS") - held)
    whole = timed(index.search, questions)
    row["searched_mb"] = round(memory_mb("VmRSS") - held)
    row["anonymous_mb"] = round(memory_mb("RssAnon"))
    generation = generations.current_generation(folder)
    dense = DenseIndex.open(generation / build.VECTORS)
    lexical = LexicalIndex.open(generation / build.LEXICAL)
    store = ChunkStore.open(generation / build.CHUNKS)
    tokens = [query_tokens(question) for question in questions]
    name = index.manifest.repositories[-1].name
    known = _KnownQuestions(embedder, questions, queries)
    index = CodeIndex.open(folder, embedder=known)
    row["milliseconds"] = {
        "encoding": encoding,
        "dense": timed(lambda query: dense.search(query, CANDIDATES), queries),
        "lexical": timed(lambda words: lexical.search(words, CANDIDATES), tokens),
        "whole": whole,
        "one repository": timed(lambda q: index.search(q, repos=[name]), questions),
        "one language": timed(lambda q: index.search(q, languages=["python"]), questions),
        "repeated, encoded before": timed(index.search, questions),
        "a path": timed(lambda q: index.search(q, path_glob="*/tests/**"), questions[:20]),
    }
    exact = exact_nearest(dense, queries)
    python = store.numbers(languages=["python"])
    within = exact_nearest(dense, queries, python)
    found = [dense.search(query, K) for query in queries]
    allowed = [dense.search(query, K, allowed=python) for query in queries]
    row["recall"] = {"all": recall(found, exact), "one language": recall(allowed, within)}
    print(json.dumps(row))


class _KnownQuestions:
    """An embedder of questions that were embedded before."""

    def __init__(self, model: Embedder, questions: Sequence[str], vectors: Vectors) -> None:
        self.name, self.fingerprint, self.dimension = model.name, model.fingerprint, model.dimension
        self._vectors = dict(zip(questions, vectors, strict=True))

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._vectors[text] for text in texts])

    def embed_query(self, text: str) -> Vectors:
        found: Vectors = self._vectors[text]
        return found


def memory_mb(kind: str) -> float:
    """Read what this process holds, in MB: `VmRSS`, `VmHWM` (the peak) or `RssAnon`."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) / 1e3 for line in status.splitlines() if kind in line)


def timed(call: Callable[[Any], object], arguments: Sequence[Any] | Vectors) -> dict[str, float]:
    """Call with each argument; return the first, median and 99th percentile, in milliseconds."""
    seconds = []
    for argument in arguments:
        start = time.perf_counter()
        call(argument)
        seconds.append(time.perf_counter() - start)
    p50, p99 = np.quantile(seconds[1:], (0.5, 0.99)) * 1e3
    return {"first": round(seconds[0] * 1e3, 2), "p50": round(p50, 2), "p99": round(p99, 2)}


def exact_nearest(
    dense: DenseIndex, queries: Vectors, allowed: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Compare queries with every vector; shape (n_queries, K)."""
    numbers = np.arange(len(dense)) if allowed is None else allowed
    best = np.zeros((len(queries), 0), np.float32)
    chosen = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(numbers), SPAN):
        span = numbers[start : start + SPAN]
        cosines = queries @ dense.vectors(span).T
        top = np.argpartition(-cosines, min(K, len(span)) - 1, axis=1)[:, :K]
        best = np.concatenate([best, np.take_along_axis(cosines, top, axis=1)], axis=1)
        chosen = np.concatenate([chosen, span[top]], axis=1)
        order = np.lexsort((chosen, -best), axis=1)[:, :K]
        best = np.take_along_axis(best, order, axis=1)
        chosen = np.take_along_axis(chosen, order, axis=1)
    return chosen


def recall(found: Sequence[Sequence[tuple[int, float]]], exact: npt.NDArray[np.int64]) -> float:
    """Return the share of the exactly nearest that were found."""
    hits = [
        len({number for number, _ in some} & set(wanted))
        for some, wanted in zip(found, exact.tolist(), strict=True)
    ]
    return round(sum(hits) / exact.size, 4)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
