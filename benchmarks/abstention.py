"""How rightly codeqa says that there is no answer, without a language model.

    python -m benchmarks.abstention [--clone NAME=PATH…] [--words] [REPO…]

Of each repository, questions are mined as `codeqa eval make-questions` does, a third of them about
names that are nowhere in it, and asked of what that command says to index. Besides, what
developers asked of it (all of these can be answered), and the mined questions of the next
repository in the row, most of which cannot. The signs were chosen on the first two repositories;
the others tell how good they are. `codeqa eval answers` gives such figures for any question set.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from app import cli
from app.drafting import Scope, find_evidence
from benchmarks.development import SETS
from data_tools.errors import CodeQAError
from data_tools.progress import Progress
from data_tools.sources import repository_name, split_spec
from retrieval import CodeIndex
from retrieval.questions import Question, read_questions

CHOSEN_ON = ("composer", "pylint")
OWN = str(Path(__file__).parent.parent)  # codeqa itself
LIMIT = 300
UNANSWERABLE = 0.33
HEADER = (
    "| asked of | precision | recall | refused though answerable | … of developers' questions "
    "| another repository's, refused |\n|---|---|---|---|---|---|"
)


class _ReadyError(Exception):
    """Words can be searched: the rest of the build is not wanted."""


@dataclass(frozen=True)
class Mined:
    """A repository's questions, and the folder whose index they are to be asked of."""

    name: str
    questions: tuple[Question, ...]
    corpus: Path

    def queries(self, *, answerable: bool) -> list[str]:
        """Return the questions of one sort."""
        return [each.query for each in self.questions if each.answerable is answerable]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each repository, and print a Markdown table; 1 if one cannot be had."""
    parser = argparse.ArgumentParser(prog="benchmarks.abstention", description=__doc__)
    specs = list(dict.fromkeys(f"{each.url}@{each.commit}" for each in SETS))
    parser.add_argument("repos", nargs="*", default=[*specs, OWN], metavar="REPO")
    parser.add_argument("--clone", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help="mined questions")
    parser.add_argument("--words", action="store_true", help="by words alone, without vectors")
    options = parser.parse_args(arguments)
    clones = dict(each.split("=", 1) for each in options.clone)
    try:
        with tempfile.TemporaryDirectory() as work:
            mined = [
                mine(_locate(repo, clones), Path(work), options.limit) for repo in options.repos
            ]
            print(HEADER)
            for number, each in enumerate(mined):
                other = mined[(number + 1) % len(mined)]
                print(measure(each, other, words=options.words), flush=True)
    except CodeQAError as error:
        print(f"abstention is not measured: {error}", file=sys.stderr)
        return 1
    return 0


def _locate(repo: str, clones: dict[str, str]) -> str:
    """Put a clone that is there in the place of its URL."""
    location, reference = split_spec(repo)
    place = clones.get(repository_name(location), location)
    return f"{place}@{reference}" if reference else place


def mine(repo: str, work: Path, limit: int) -> Mined:
    """Mine questions of a repository, and write what they are to be asked of.

    :raises CodeQAError: it cannot be read, or holds nothing to ask about.
    """
    name = repository_name(split_spec(repo)[0])
    file, corpus = work / f"{name}.jsonl", work / name
    asked = ["eval", "make-questions", repo, "--out", str(file), "--corpus", str(corpus)]
    with redirect_stdout(sys.stderr):
        failed = cli.main([*asked, f"--limit={limit}", f"--unanswerable={UNANSWERABLE}"])
    if failed:
        raise CodeQAError(f"no questions about {repo} could be mined; see above")
    return Mined(name, tuple(read_questions(file)), corpus)


def _index(corpus: Path, *, words: bool) -> CodeIndex:
    """Index a corpus, with vectors or as far as words can be searched."""
    folder = corpus.with_name(f"{corpus.name}-index")
    with suppress(_ReadyError):
        CodeIndex.build([str(corpus)], folder, report=_stop_at_words if words else None).close()
    return CodeIndex.open(folder)


def _stop_at_words(progress: Progress) -> None:
    if progress.stage == "lexical-ready":
        raise _ReadyError


def measure(mined: Mined, other: Mined, *, words: bool) -> str:
    """Index a repository, ask, and write its row.

    :param other: another repository, whose questions are asked of this one too.
    :param words: by words alone.
    """
    with _index(mined.corpus, words=words) as index:
        refused = _refused(index, mined.queries(answerable=False))
        wrongly = _refused(index, mined.queries(answerable=True))
        developers = _refused(
            index,
            [
                question.query
                for each in SETS
                if each.repository.endswith(f"/{mined.name}")
                for question in read_questions(each.file)
            ],
        )
        foreign = _refused(index, other.queries(answerable=True)) if other != mined else []
    right, wrong = sum(refused), sum(wrongly)
    chosen = " (chosen here)" if mined.name in CHOSEN_ON else ""
    return (
        f"| {mined.name}{chosen} | {_share(right, right + wrong)} | {_share(right, len(refused))} "
        f"| {_share(wrong, len(wrongly))} | {_share(sum(developers), len(developers))} "
        f"| {_share(sum(foreign), len(foreign))} of {other.name}'s |"
    )


def _refused(index: CodeIndex, queries: Sequence[str]) -> list[bool]:
    return [find_evidence(index, query, Scope()).missing is not None for query in queries]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} of {whole}" if whole else "–"


if __name__ == "__main__":
    sys.exit(main())
