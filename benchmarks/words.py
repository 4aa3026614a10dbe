"""How soon words can be searched: megabytes of source text a second, on one core.

    python -m benchmarks.words REPO…

The clock runs from the opening of a repository to the first answer, with nothing cached in this
process; reading git's objects, syncing and the question are in it. The process and git, its child,
are bound to one core. Indexing is stopped there: the vectors are not made.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.development import SETS
from data_tools.errors import CodeQAError
from data_tools.progress import Progress
from data_tools.sources import SourceFile, open_source
from retrieval import CodeIndex, lexical
from retrieval.embed import Embedder, open_embedder
from retrieval.index import index_repositories

QUESTION = "Where is the configuration read?"
ROUNDS = 7
HEADER = "| words of | MB of text | seconds, median | least | most | MB/s, median |"


class _ReadyError(Exception):
    """Words can be searched: the rest of the build is not wanted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each repository, and print a Markdown table; 1 if one cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.words", description=__doc__)
    parser.add_argument("repos", nargs="*", default=[each.url for each in SETS], metavar="REPO")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    options = parser.parse_args(arguments)
    embedder = open_embedder()
    header = f"{HEADER}\n|---|---|---|---|---|---|\n"
    try:
        for repo in options.repos:
            with _one_core():
                seconds = [first_answer_s(repo, embedder) for _ in range(options.rounds)]
            megabytes = text_megabytes(repo)
            middle = statistics.median(seconds)
            name = repo.partition("@")[0].rstrip("/").rpartition("/")[2]
            print(
                f"{header}| {name} | {megabytes:.1f} | {middle:.3f} | {min(seconds):.3f} "
                f"| {max(seconds):.3f} | {megabytes / middle:.1f} |",
                flush=True,
            )
            header = ""
    except CodeQAError as error:
        print(f"words are not measured: {error}", file=sys.stderr)
        return 1
    return 0


def first_answer_s(repo: str, embedder: Embedder) -> float:
    """Index a repository until a question is answered by words; return the seconds it took."""
    lexical.forget_words()
    answered: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            with CodeIndex.open(folder, embedder=embedder) as index:
                index.search(QUESTION)
            answered.append(time.perf_counter())
            raise _ReadyError

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with contextlib.suppress(_ReadyError):
            index_repositories([repo], Path(folder), embedder=embedder, report=watch)
    return answered[0] - start


def text_megabytes(repo: str) -> float:
    """Measure the text of a repository, in UTF-8."""
    files = (file for file in open_source(repo).files() if isinstance(file, SourceFile))
    return sum(len(file.text.encode("utf-8", "replace")) for file in files) / 1e6


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Bind this process, and the children it starts, to the last core it may use."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    sys.exit(main())
