"""Speed and quality on mosaicml/composer beside the baseline, in one process.

    make bench PARTS=speed

Prints Markdown tables; `benchmarks/RESULTS.md` keeps those of the last release.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from app.extractive import answer_extractively
from benchmarks.baseline import Baseline, build_baseline
from benchmarks.questions import (
    COMPOSER_COMMIT,
    COMPOSER_SUFFIXES,
    MAX_FILES,
    composer_questions,
    hit_rates,
)
from data_tools.errors import CodeQAError
from data_tools.sources import SourceFile, open_source
from retrieval import CodeIndex, Progress
from retrieval.embed import Embedder, open_embedder, packaged_folder
from retrieval.index import index_repositories
from retrieval.questions import Question, telling_questions

DEFAULT_COMPOSER = "https://github.com/mosaicml/composer"
KS = (1, 3, 5, 10)


@dataclass(frozen=True)
class IndexTimes:
    """Seconds from the start of indexing, model loading aside."""

    first_lexical_answer: float
    whole: float
    repeated: float
    embedded_when_repeated: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and print it; 1 where composer cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--composer", default=DEFAULT_COMPOSER, metavar="REPO")
    parser.add_argument(
        "--no-baseline", action="store_true", help="leave out the baseline, which takes minutes"
    )
    options = parser.parse_args(arguments)
    spec = f"{options.composer}@{COMPOSER_COMMIT}"
    try:
        snapshot = open_source(spec)
    except CodeQAError as error:
        print(f"composer is not measured: {error}; see CLONES in `make help`", file=sys.stderr)
        return 1
    every = [file for file in snapshot.files() if isinstance(file, SourceFile)]
    megabytes = sum(len(file.text.encode("utf-8", "replace")) for file in every) / 1e6
    files = [file for file in every if file.path.endswith(COMPOSER_SUFFIXES)]
    print(f"Python {platform.python_version()}, {platform.machine()}, composer {COMPOSER_COMMIT}")
    embedder = open_embedder()
    embedder.embed(["warm up"])
    with tempfile.TemporaryDirectory() as folder:
        times = _time_indexing(spec, Path(folder), embedder)
        baseline = None
        if not options.no_baseline:
            baseline = build_baseline(files, str(packaged_folder()))
        _print_speed(times, megabytes, baseline)
        texts = [file.text for file in files]
        telling = telling_questions(composer_questions(), texts, max_files=MAX_FILES)
        with CodeIndex.open(folder, embedder=embedder) as index:
            _print_quality(index, baseline, telling)
            _print_answers(index, telling)
    return 0


def _time_indexing(spec: str, folder: Path, embedder: Embedder) -> IndexTimes:
    """Index twice, and search as soon as words can be."""
    start = time.perf_counter()
    first = []

    def watch(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            with CodeIndex.open(folder) as index:
                index.search("What is ALiBi?")
            first.append(time.perf_counter() - start)

    index_repositories([spec], folder, embedder=embedder, report=watch)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    again = index_repositories([spec], folder, embedder=embedder)
    return IndexTimes(first[0], whole, time.perf_counter() - start, again.embedded)


def _print_speed(times: IndexTimes, megabytes: float, baseline: Baseline | None) -> None:
    print("\n| indexing composer | seconds |\n|---|---|")
    ratio = ""
    if baseline:
        print(f"| baseline, {len(baseline.texts):,} windows | {baseline.seconds:.1f} |")
        ratio = f" ({baseline.seconds / times.whole:.1f} times faster)"
    print(f"| codeqa, everything{ratio} | {times.whole:.1f} |")
    rate = megabytes / times.first_lexical_answer
    print(
        f"| codeqa, first answer by words ({megabytes:.1f} MB of text, {rate:.1f} MB/s) "
        f"| {times.first_lexical_answer:.1f} |"
    )
    print(
        f"| codeqa again, nothing changed ({times.embedded_when_repeated} embedded) "
        f"| {times.repeated:.2f} |"
    )


def _print_quality(
    index: CodeIndex, baseline: Baseline | None, telling: Sequence[Question]
) -> None:
    """Print hit rates on all questions and on the telling ones."""
    every = composer_questions()
    sets = {
        "all": every,
        f"answer in at most {MAX_FILES} files": telling,
    }
    seconds: list[float] = []

    def search(question: Question) -> list[str]:
        start = time.perf_counter()
        hits = index.search(question.query, max(KS))
        seconds.append(time.perf_counter() - start)
        return [hit.chunk.text for hit in hits]

    systems = {"codeqa": dict(zip(every, _progress(every, search), strict=True))}
    if baseline:
        texts = baseline.search([question.query for question in every], max(KS))
        systems = {"baseline": dict(zip(every, texts, strict=True)), **systems}
    print("\n| composer docstrings, answer in the top k | n |" + "".join(f" @{k} |" for k in KS))
    print("|---|---|" + "---|" * len(KS))
    for label, questions in sets.items():
        for name, found in systems.items():
            rates = hit_rates(questions, [found[q] for q in questions], KS)
            row = "".join(f" {rates[k]:.3f} |" for k in KS)
            print(f"| {label}, {name} | {len(questions)} |{row}")
    centiles = statistics.quantiles(seconds, n=100)
    print(
        f"\nA query takes {centiles[49] * 1e3:.0f} ms (median), {centiles[98] * 1e3:.0f} ms (p99)."
    )


def _print_answers(index: CodeIndex, questions: Sequence[Question]) -> None:
    """Print how often the extractive answer itself holds the name."""

    def answer(question: Question) -> list[str]:
        hits = index.search(question.query)
        extract = answer_extractively(
            question.query, hits, rarity=index.rarity, embedder=index.embedder
        )
        return [extract.quoted]

    rate = hit_rates(questions, _progress(questions, answer), (1,))[1]
    print(
        f"\nThe extractive answer holds the name for {rate:.3f} of the {len(questions)} questions."
    )


def _progress(
    questions: Sequence[Question], work: Callable[[Question], list[str]]
) -> list[list[str]]:
    return [work(question) for question in tqdm(questions, unit=" questions", disable=None)]


if __name__ == "__main__":
    sys.exit(main())
