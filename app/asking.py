"""`codeqa ask`: one question on the command line, answered with citations.

The answer goes to stdout, what is said about it to stderr: what it will cost where that is more
than one search, its parts, and what of it is doubtful.
"""

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app.commands import print_json
from app.records import hit_record
from data_tools.hidden_text import show_hidden, show_on_one_line

if TYPE_CHECKING:
    from app.events import Answer, Step


def run_ask(options: argparse.Namespace) -> None:
    """Answer one question; the text streams if someone is watching."""
    from app.answer import Answer, Delta, Step, SubQuestions, answer
    from app.llm import open_chat_model
    from app.strategies import describe_cost
    from retrieval.index import CodeIndex
    from retrieval.search import check_question

    check_question(options.question)
    with CodeIndex.open(options.index) as index:
        chat = open_chat_model(options.llm, model=options.model, timeout_s=options.timeout)
        if options.strategy != "direct":
            cost = describe_cost(options.strategy, has_model=chat is not None, follow_up=False)
            _say(f"({cost.text})")
        streams = sys.stdout.isatty() and not options.json
        steps: list[Step] = []
        for event in answer(
            index,
            options.question,
            chat=chat,
            k=options.k,
            repos=options.repo,
            languages=options.language,
            path_glob=options.path,
            strategy=options.strategy,
        ):
            if isinstance(event, SubQuestions):
                for number, part in enumerate(event.questions, start=1):
                    _say(f"{number}. {part}")
            elif isinstance(event, Step):
                steps.append(event)
            elif isinstance(event, Delta) and streams:
                print(show_hidden(event.text), end="", flush=True)
            elif isinstance(event, Answer) and options.json:
                print_json(_answer_record(event, steps))
            elif isinstance(event, Answer):
                _print_answer(event, streamed=streams)


def _print_answer(answer: "Answer", *, streamed: bool) -> None:
    print("" if streamed else show_hidden(answer.text))
    if answer.citations:
        print("\nSources:")
        for citation in answer.citations:
            lines = f"L{citation.start_line}-L{citation.end_line}"
            where = citation.url or citation.label
            print(show_on_one_line(f"  [{citation.passage}:{lines}] {where}"))
    if answer.related:
        print("\nRelated questions:")
        for question in answer.related:
            print(show_on_one_line(f"  - {question}"))
    if answer.dropped:
        _say(f"removed, not in the evidence: {' '.join(answer.dropped)}")
    for doubt in answer.doubts:
        _say(f"doubtful: {doubt.citation.label} does not hold {', '.join(doubt.names)}")
    _say(f"(by {answer.model})" if answer.model else "(quoted from the code; see --llm)")


def _say(line: str) -> None:
    print(show_on_one_line(line), file=sys.stderr)


def _answer_record(answer: "Answer", steps: "list[Step]") -> dict[str, Any]:
    return {
        "question": answer.question,
        "text": answer.text,
        "citations": [vars(citation) for citation in answer.citations],
        "dropped": list(answer.dropped),
        "doubts": [asdict(doubt) for doubt in answer.doubts],
        "evidence": [hit_record(rank, hit) for rank, hit in enumerate(answer.evidence, start=1)],
        "steps": [
            {"question": step.question, "text": step.text, "abstained": step.abstained}
            for step in steps
        ],
        "related": list(answer.related),
        "mode": answer.mode,
        "model": answer.model,
        "abstained": answer.abstained,
        "words_only": answer.words_only,
        "usage": asdict(answer.usage) if answer.usage else None,
    }
