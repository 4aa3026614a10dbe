"""What `codeqa eval answers` measured, as one record, and each answer as a line of JSON."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.answer_metrics import (
    describe_answers,
    describe_cost,
    describe_differences,
    tally_answers,
)
from app.recorded_answers import AnswerRecord
from retrieval.questions import Question


@dataclass(frozen=True)
class Answered:
    """One model's answers to all questions, in their order."""

    model: str
    records: tuple[AnswerRecord, ...]


def describe(
    options: argparse.Namespace, questions: Sequence[Question], answered: Sequence[Answered]
) -> dict[str, Any]:
    """Sum up what was measured as one record, as `--json` prints it."""
    from training.retriever_card import own_commit

    tallies = [tally_answers(questions, each.records, preset=options.preset) for each in answered]
    answerable = sum(question.answerable for question in questions)
    return {
        "questions": options.questions,
        "index": options.index,
        "commit": own_commit(),
        "preset": options.preset,
        "strategy": options.strategy,
        "k": options.k,
        "answerable": answerable,
        "unanswerable": len(questions) - answerable,
        "judge": options.judge_model or options.judge,
        "models": [
            {
                "name": each.model,
                "metrics": describe_answers(tally),
                "cost": describe_cost(each.records),
            }
            for each, tally in zip(answered, tallies, strict=True)
        ],
        "comparisons": [
            {
                "first": answered[0].model,
                "second": each.model,
                "metrics": describe_differences(tallies[0], tally),
            }
            for each, tally in zip(answered[1:], tallies[1:], strict=True)
        ],
    }


def list_answers(questions: Sequence[Question], answered: Sequence[Answered]) -> Iterator[bytes]:
    """Write each answer as a line of JSON, for looking into failures."""
    for each in answered:
        for question, record in zip(questions, each.records, strict=True):
            about: dict[str, Any] = {
                "model": each.model,
                "id": question.id,
                "kind": question.kind,
                "query": question.query,
                "answerable": question.answerable,
                "gold": question.answer,
            }
            yield json.dumps({**about, **asdict(record)}).encode() + b"\n"
