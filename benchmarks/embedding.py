"""How fast texts become vectors: codeqa's way beside the baseline's, on the same files.

    .venv/bin/python -m benchmarks.embedding ~/composer

Rounds alternate, and each prints its own ratio: what else the machine does then burdens both.
No question is answered here, so nothing is said of quality.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.baseline import build_baseline
from data_tools.chunk import chunk_file
from data_tools.errors import CodeQAError
from data_tools.sources import SourceFile, open_source
from retrieval.embed import DEFAULT_EMBEDDER, Embedder, open_embedder, packaged_folder
from retrieval.views import embed_chunks

QUESTIONS = (
    "Which callback stops training early?",
    "where are checkpoints saved?",
    "How is the learning rate warmed up before it decays?",
    "What happens when a GPU runs out of memory in the middle of a batch?",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where the repository or the model cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.embedding", description=__doc__)
    parser.add_argument("repository", help="a git URL, a local repository or a folder")
    parser.add_argument("--files", type=int, default=40, help="of it, drawn at random")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embedder", default=DEFAULT_EMBEDDER, metavar="MODEL")
    options = parser.parse_args(arguments)
    try:
        snapshot = open_source(options.repository)
        files = [file for file in snapshot.files() if isinstance(file, SourceFile)]
        embedder = open_embedder(options.embedder)
        embedder.embed(["warm up"])
    except CodeQAError as error:
        print(f"nothing is measured: {error}", file=sys.stderr)
        return 1
    _print_texts(random.Random(0).sample(files, min(options.files, len(files))), embedder, options)
    _print_questions(embedder)
    return 0


def _print_texts(
    files: Sequence[SourceFile], embedder: Embedder, options: argparse.Namespace
) -> None:
    chunks = [chunk for file in files for chunk in chunk_file(file)]
    print(f"{len(files)} files, {len(chunks):,} chunks, {embedder.name}\n")
    print("| round | baseline, s | codeqa, s | ratio | chunks a second |\n|---|---|---|---|---|")
    ratios = []
    for number in range(1, options.rounds + 1):
        baseline = build_baseline(files, str(packaged_folder())).seconds
        ours = _seconds(lambda: embed_chunks(chunks, embedder.embed))
        ratios.append(baseline / ours)
        rate = len(chunks) / ours
        print(f"| {number} | {baseline:.1f} | {ours:.1f} | {ratios[-1]:.1f} | {rate:.0f} |")
    print(f"\nMedian ratio: {statistics.median(ratios):.1f}.")


def _print_questions(embedder: Embedder) -> None:
    seconds = [_seconds(lambda q=q: embedder.embed_query(q)) for q in QUESTIONS * 25]  # type: ignore[misc]
    centiles = statistics.quantiles(seconds[len(QUESTIONS) :], n=100)
    print(f"A question takes {centiles[49] * 1e3:.1f} ms (median), {centiles[94] * 1e3:.1f} (p95).")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
