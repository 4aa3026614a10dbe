"""What an index costs as it grows: seconds, memory and disk for up to a million chunks.

    python -m benchmarks.scale --repo ../composer --repo ../sphinx
    python -m benchmarks.scale --repo . --sizes 1000,10000 --work FOLDER

Chunks beyond those of the repositories are made from them by `benchmarks.growth`; only the real
ones are embedded, and kept in FOLDER for the next run. Everything else is the product's own:
each size is written as an index folder by the parts that `codeqa index` uses, and searched by
`benchmarks.scale_search` in a process of its own. Prints Markdown and writes
`benchmarks/data/cost_curve.json` and the picture of it; sizes not measured stay as they were.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.cost_curve import draw_cost_curve
from benchmarks.growth import GrownText, GrownVectors, compare_statistics, count_tokens
from benchmarks.questions import COMPOSER_QUESTIONS
from benchmarks.scale_search import memory_mb
from retrieval import CodeIndex, build, generations
from retrieval.dense import DenseIndex
from retrieval.embed import open_embedder
from retrieval.embedder import Vectors
from retrieval.embedding_cache import EmbeddingCache
from retrieval.generations import EmbedderRecord, Manifest, RepositoryRecord
from retrieval.index import index_repositories
from retrieval.lexical import LexicalIndex
from retrieval.questions import read_questions
from retrieval.store import ChunkStore

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CURVE = Path(__file__).parent / "data" / "cost_curve.json"
PICTURE = Path(__file__).parent / "cost_curve.svg"
ADDED_AT_ONCE = 1_000  # chunks
STATISTICS_UP_TO = 100_000  # chunks: statistics of more take minutes and differ little


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and search an index of each size, and print and draw what it cost."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__)
    parser.add_argument("--repo", action="append", metavar="REPO", help="default: this one")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, metavar="N,N,…")
    parser.add_argument("--work", metavar="FOLDER", help="keep what was embedded and built here")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary)
        real = work / "real"
        index_repositories(options.repo or ["."], real)
        rows = (
            {row["chunks"]: row for row in json.loads(CURVE.read_text())} if CURVE.exists() else {}
        )
        for size in options.sizes:
            row = _measure(real, work / str(size), size)
            rows[size] = row
            print(json.dumps(row, indent=1), file=sys.stderr)
            if not options.work:
                shutil.rmtree(work / str(size))
    ordered = [rows[size] for size in sorted(rows)]
    CURVE.write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")
    draw_cost_curve(ordered, PICTURE)
    print_table(ordered)
    return 0


def _sizes(text: str) -> list[int]:
    return sorted(int(size) for size in text.split(","))


def grow(specs: Sequence[str], work: Path, size: int) -> Path:
    """Index repositories, grow the index to `size` chunks, and return its folder in `work`."""
    real, folder = work / "real", work / str(size)
    index_repositories(specs, real)
    _build(real, folder, size)
    return folder / "index"


def _measure(real: Path, folder: Path, size: int) -> dict[str, Any]:
    """Build an index of `size` chunks unless it is there, and search it; each in a process."""
    row = _build(real, folder, size)
    command = [sys.executable, "-m", "benchmarks.scale_search", str(folder / "index")]
    found = subprocess.run(
        [*command, str(COMPOSER_QUESTIONS)], stdout=subprocess.PIPE, text=True, check=True
    )
    return {**row, **json.loads(found.stdout)}


def _build(real: Path, folder: Path, size: int) -> dict[str, Any]:
    """Build an index in a process of its own, unless it is there; return what it cost."""
    built = folder / "built.json"
    if not built.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            costs = pool.submit(_build_apart, real, folder / "index", size).result()
        built.write_text(json.dumps(costs), "utf-8")
    row: dict[str, Any] = json.loads(built.read_text("utf-8"))
    return row


def _build_apart(real: Path, folder: Path, size: int) -> dict[str, Any]:
    return build_grown(real, folder, size, _embed_questions())


def build_grown(real: Path, folder: Path, size: int, questions: Vectors) -> dict[str, Any]:
    """Write an index of `size` chunks grown from the index in `real`; return what it cost.

    :param questions: shape (n, dimension), to compare how they lie to real and grown chunks.
    """
    with CodeIndex.open(real) as index:
        chunks, embedder = index.chunks(), index.manifest.embedder
        repositories = index.manifest.repositories
        generation = generations.current_generation(real)
        numbers = np.arange(len(chunks))
        vectors = DenseIndex.open(generation / build.VECTORS).vectors(numbers)
    text = GrownText(chunks)
    moved = GrownVectors(vectors)
    row: dict[str, Any] = {"chunks": size, "real_chunks": len(chunks)}
    row["statistics"] = _statistics(text, moved, vectors, questions, min(size, STATISTICS_UP_TO))
    stages = _Stages()
    folder.mkdir(parents=True)
    draft = generations.start_draft(folder)
    store = ChunkStore.create(draft / build.CHUNKS)
    grown = islice((chunk for copy in count() for chunk in text.copy(copy)), size)
    progress = tqdm(total=size, unit=" chunks", disable=None)
    while some := list(islice(grown, ADDED_AT_ONCE)):
        store.add(some)
        progress.update(len(some))
    store.finish()
    stages.done("making chunks and storing them")
    LexicalIndex.build(draft / build.LEXICAL, store.chunks())
    stages.done("words")
    hashes = store.text_hashes()
    cache = EmbeddingCache(folder / build.EMBEDDINGS, embedder.fingerprint)
    start = 0
    for span in _vector_spans(moved, size):
        cache.put(hashes[start : start + len(span)], span)
        start += len(span)
    stages.done("making vectors and caching them")
    assert len(cache.known(hashes)) == len(set(hashes))
    stages.done("looking up what is cached")
    DenseIndex.create(draft / build.VECTORS, cache.spans(hashes))
    stages.done("vectors")
    cache.close()
    records = _records(store, repositories, text)
    store.close()
    manifest = Manifest(
        format=generations.FORMAT,
        embedder=EmbedderRecord(name=embedder.name, fingerprint=embedder.fingerprint),
        repositories=records,
        chunks=size,
        vectors=size,
        created_at=time.time(),
    )
    generation = generations.publish_draft(draft, manifest)
    stages.done("hashing and publishing")
    row["build_s"], row["build_peak_mb"] = stages.seconds, stages.peak_mb
    row["bytes"] = _disk_bytes(generation, folder / build.EMBEDDINGS)
    return row


def _embed_questions() -> Vectors:
    embedder = open_embedder()
    return np.stack([embedder.embed_query(q.query) for q in read_questions(COMPOSER_QUESTIONS)])


class _Stages:
    """Seconds and peak memory by stage, beyond what the process held before the first."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, float] = {}
        self._held = memory_mb("VmRSS")
        self._restart()

    def done(self, stage: str) -> None:
        self.seconds[stage] = round(time.perf_counter() - self._start, 2)
        self.peak_mb[stage] = round(memory_mb("VmHWM") - self._held)
        self._restart()

    def _restart(self) -> None:
        self._start = time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew


def _vector_spans(moved: GrownVectors, size: int) -> Iterator[Vectors]:
    done = 0
    for copy in count():
        span = moved.copy(copy)[: size - done]
        done += len(span)
        yield span
        if done == size:
            return


def _statistics(
    text: GrownText, moved: GrownVectors, vectors: Vectors, questions: Vectors, size: int
) -> dict[str, Any]:
    """Compare real chunks, halves of them, and grown ones."""
    order = np.random.default_rng(0).permutation(len(vectors))
    sets = {
        "half of the real chunks": vectors[order[: len(order) // 2]],
        "real chunks": vectors,
        f"{size:,} grown chunks": np.concatenate(list(_vector_spans(moved, size))),
    }
    pairs = [list(text.copy(0)), [*text.copy(0), *text.copy(1)]]
    tokens = [count_tokens(chunks) for chunks in pairs]
    return {
        "cosines": {name: vars(compare_statistics(some, questions)) for name, some in sets.items()},
        "tokens_of_two_copies": round(tokens[1] / tokens[0], 3),
        "tokens_predicted": round(text.vocabulary(2), 3),
    }


def _records(
    store: ChunkStore, repositories: Sequence[RepositoryRecord], text: GrownText
) -> tuple[RepositoryRecord, ...]:
    """Describe every copy of every repository that is in the store."""
    records: list[RepositoryRecord] = []
    for copy in count():
        for record in repositories:
            name = f"{record.name}-{copy}" if copy else record.name
            chunks = len(store.numbers(repos=[name]))
            if not chunks:
                return tuple(records)
            files = sum(number for _, number in store.languages(name))
            counts = {"chunks": chunks, "files": files, "skipped": 0}
            records.append(record.model_copy(update={"name": name, **counts}))
    raise AssertionError("unreachable")


def _disk_bytes(generation: Path, cache: Path) -> dict[str, int]:
    """Measure the files of an index."""
    parts = {path.name: path for path in generation.iterdir()} | {cache.name: cache}
    return {
        name: sum(f.stat().st_size for f in ([path] if path.is_file() else path.rglob("*")))
        for name, path in sorted(parts.items())
    }


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print one row a size."""
    kinds = ("encoding", "dense", "lexical", "whole")
    print("| chunks | build, s | disk, MB | memory, MB | open, s |", end="")
    print("".join(f" {kind}, ms |" for kind in kinds), "recall@10 |")
    print("|---" * (6 + len(kinds)) + "|")
    for row in rows:
        built, disk = sum(row["build_s"].values()), sum(row["bytes"].values()) / 1e6
        print(f"| {row['chunks']:,} | {built:,.0f} | {disk:,.0f} |", end="")
        print(f" {row['searched_mb']:,.0f} | {row['open_s']:.2f} |", end="")
        times = (row["milliseconds"][kind] for kind in kinds)
        print("".join(f" {some['p50']:.1f} / {some['p99']:.1f} |" for some in times), end="")
        print(f" {row['recall']['all']:.3f} |")


if __name__ == "__main__":
    sys.exit(main())
