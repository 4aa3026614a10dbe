"""The benchmark's question set, and how many of its answers stand in what was found."""

from collections.abc import Sequence
from pathlib import Path

from retrieval.metrics import holds_answer
from retrieval.questions import Question, read_questions

COMPOSER_QUESTIONS = Path(__file__).parent / "data" / "composer_docstrings.jsonl"
COMPOSER_COMMIT = "941bcc7a06f938df3c428fef4227cd0659f66256"
COMPOSER_SUFFIXES = (".py", ".md", ".rst", ".yaml", ".yml")  # 508 files
MAX_FILES = 5  # answers in more files than this can be hit by chance


def composer_questions() -> list[Question]:
    """Read the questions about composer, but for two whose answer the set leaves empty."""
    return [question for question in read_questions(COMPOSER_QUESTIONS) if question.answer]


def hit_rates(
    questions: Sequence[Question], found: Sequence[Sequence[str]], ks: Sequence[int]
) -> dict[int, float]:
    """Return the share of questions whose answer stands in one of the first k texts.

    :param questions: all with an answer.
    :param found: for each question, texts, best first.
    :return: k → share, in [0, 1].
    :raises ValueError: there are no questions, or not as many results.
    """
    if not questions or len(questions) != len(found):
        raise ValueError(f"{len(questions)} questions, {len(found)} results")
    flags = [
        [holds_answer(question.answer or "", text) for text in texts]
        for question, texts in zip(questions, found, strict=True)
    ]
    return {k: sum(any(row[:k]) for row in flags) / len(flags) for k in ks}
