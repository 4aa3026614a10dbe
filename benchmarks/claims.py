"""How often a claim is doubted: true ones, which should be never, and false ones, always.

    python -m benchmarks.claims --index DIR QUESTIONS.jsonl

The true claims are quotations: the answers that codeqa gives without a language model, and
sentences that name a definition and cite its lines. The false ones are the same with a name
swapped for another of the repository, drawn by a fixed seed: what a model that mixes things up
would write.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.answer import Answer, answer
from app.claims import find_doubts, find_names, split_claims
from data_tools.chunk import Chunk
from data_tools.errors import CodeQAError
from retrieval import CodeIndex
from retrieval.citations import check_citations, format_citation, without_citations
from retrieval.questions import read_questions

SEED = 17
PASSAGES = 3  # of each answer's evidence that sentences are made about
CITED_LINES = 10
SWAPPED = ", a name swapped"
_DEFINED = re.compile(r"\b(?:def|class)\s+([A-Za-z]\w+)")
_SIMPLE = re.compile(r"[A-Za-z]\w*(?:\.\w+)*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a Markdown table; 1 if there is no such index or question set."""
    parser = argparse.ArgumentParser(prog="benchmarks.claims", description=__doc__)
    parser.add_argument("questions", metavar="QUESTIONS", help="a question set, or queries alone")
    parser.add_argument("--index", required=True, metavar="DIR")
    parser.add_argument("--limit", type=int, default=100, help="questions (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        questions = read_questions(Path(options.questions))[: options.limit]
        with CodeIndex.open(options.index) as index:
            table = measure(index, [question.query for question in questions])
    except CodeQAError as error:
        print(f"benchmarks.claims: {error}", file=sys.stderr)
        return 1
    print(table)
    return 0


def measure(index: CodeIndex, questions: Sequence[str]) -> str:
    """Ask the questions, and make a table of how many claims of each kind are doubted."""
    names = _list_names(index)
    draw = random.Random(SEED)
    counts = {
        (kind, swapped): [0, 0] for kind in ("quotations", "sentences") for swapped in ("", SWAPPED)
    }

    def judge(kind: tuple[str, str], claim: str, evidence: Sequence[Chunk], question: str) -> None:
        checked = check_citations(claim, evidence, {})
        counts[kind][0] += 1
        counts[kind][1] += bool(find_doubts(checked.text, checked.citations, evidence, question))

    for question in questions:
        *_, last = answer(index, question)
        assert isinstance(last, Answer)
        evidence = [hit.chunk for hit in last.evidence]
        for kind, claims in (
            ("quotations", split_claims(last.text)),
            ("sentences", _describe_definitions(evidence)),
        ):
            for claim in claims:
                judge((kind, ""), claim, evidence, question)
                if false := _swap_name(claim, names, draw):
                    judge((kind, SWAPPED), false, evidence, question)
    rows = [
        f"| {kind}{swapped} | {total} | {doubted} | {doubted / max(total, 1):.1%} |"
        for (kind, swapped), (total, doubted) in counts.items()
    ]
    return "\n".join(["| claims | number | doubted | share |", "|---|---|---|---|", *rows])


def _list_names(index: CodeIndex) -> list[str]:
    symbols = (each for chunk in index.chunks() for each in chunk.symbol.split(", "))
    last = (symbol.rpartition(".")[2] for symbol in symbols if _SIMPLE.fullmatch(symbol))
    return sorted({name for name in last if not name.startswith("_")})


def _describe_definitions(evidence: Sequence[Chunk]) -> Iterator[str]:
    for passage, chunk in enumerate(evidence[:PASSAGES], start=1):
        for line, text in enumerate(chunk.text.split("\n"), start=chunk.start_line):
            if defined := _DEFINED.search(text):
                place = format_citation(passage, line, min(line + CITED_LINES - 1, chunk.end_line))
                yield f"`{defined[1]}` is what was asked for {place}."


def _swap_name(claim: str, names: Sequence[str], draw: random.Random) -> str | None:
    """Swap one of the names that a claim writes as code; None where it writes none."""
    written = [each for each in find_names(without_citations(claim)) if _SIMPLE.fullmatch(each)]
    if not written:
        return None
    old = draw.choice(written)
    new = draw.choice(names)
    return None if new == old else re.sub(rf"(?<![\w.]){re.escape(old)}(?!\w)", new, claim)


if __name__ == "__main__":
    sys.exit(main())
