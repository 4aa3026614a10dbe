"""Questions whose answer is a name, and whether a text holds it. Pure functions."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

COMPOSER_QUESTIONS = Path(__file__).parent / "data" / "composer_docstrings.jsonl"
COMPOSER_COMMIT = "941bcc7a06f938df3c428fef4227cd0659f66256"
COMPOSER_SUFFIXES = (".py", ".md", ".rst", ".yaml", ".yml")  # 508 files
MAX_FILES = 5  # answers in more files than this can be hit by chance


@dataclass(frozen=True)
class Question:
    """A question and the name that answers it."""

    text: str
    answer: str


def read_questions(file: Path = COMPOSER_QUESTIONS) -> list[Question]:
    """Read `{"context": …, "continuation": …}` lines."""
    records = map(json.loads, file.read_text("utf-8").splitlines())
    return [Question(record["context"], record["continuation"]) for record in records]


def normalize(text: str) -> str:
    """Keep lower-case letters, digits and underscores, so that `apply()` is found in `apply(`."""
    return re.sub(r"[^a-z0-9_]", "", text.lower())


def telling_questions(questions: Sequence[Question], texts: Iterable[str]) -> list[Question]:
    """Keep the questions whose answer occurs in one to `MAX_FILES` of the repository's files.

    :param texts: one text a file.
    """
    files = [normalize(text) for text in texts]
    return [
        question
        for question in questions
        if 1 <= sum(normalize(question.answer) in file for file in files) <= MAX_FILES
    ]


def hit_rates(
    questions: Sequence[Question], found: Sequence[Sequence[str]], ks: Sequence[int]
) -> dict[int, float]:
    """Return the share of questions whose answer stands in one of the first k texts.

    :param found: for each question, texts, best first.
    :return: k → share, in [0, 1].
    :raises ValueError: there are no questions, or not as many results.
    """
    if not questions or len(questions) != len(found):
        raise ValueError(f"{len(questions)} questions, {len(found)} results")
    ranks = []
    for question, texts in zip(questions, found, strict=True):
        answer = normalize(question.answer)
        ranks.append(
            next((r for r, text in enumerate(texts, start=1) if answer in normalize(text)), None)
        )
    return {k: sum(r is not None and r <= k for r in ranks) / len(ranks) for k in ks}
