"""One answer as an evaluation keeps it: what was said and cited, and what it took.

The question goes through `app.answer`, as one asked in the chat does. What is measured of the
evidence is settled here, since its texts are not kept. A model that fails is part of the record.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.answer import answer
from app.events import Answer, Delta, EvidenceFound, Strategy
from data_tools.chunk import Chunk
from data_tools.errors import LanguageModelError
from retrieval.citations import Citation
from retrieval.index import CodeIndex
from retrieval.metrics import holds_answer, overlap
from retrieval.questions import Question

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(frozen=True)
class AnswerRecord:
    """What came of one question.

    :param text: the answer, its citations checked; what came of it, if the model failed.
    :param abstained: whether it says that there is no answer.
    :param found: whether the evidence holds the gold; None where the question has none to find.
    :param valid: distinct citations that were kept; `dropped`: those that were taken out.
    :param astray: kept ones that point beside the evidence: none, unless the check is at fault.
    :param doubted: kept ones whose lines lack a name that the claim quotes.
    :param cites_gold: whether a kept one points to lines that answer.
    :param first_token_s: from the question to the first piece of text; None if there was none.
    :param problem: why the model failed; None if it did not.
    """

    text: str
    abstained: bool = False
    found: bool | None = None
    valid: int = 0
    dropped: int = 0
    astray: int = 0
    doubted: int = 0
    cites_gold: bool = False
    search_s: float | None = None
    first_token_s: float | None = None
    total_s: float = 0.0
    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    problem: str | None = None


def record_answer(
    index: CodeIndex,
    question: Question,
    chat: "BaseChatModel | None",
    *,
    strategy: Strategy = "direct",
    k: int = 8,
    answers_are_names: bool = True,
) -> AnswerRecord:
    """Ask a question, and keep what came of it.

    :param chat: the language model; None answers with quotations.
    :param answers_are_names: whether the evidence may be looked through for `question.answer`.
    """
    started_s = time.monotonic()
    search_s = first_token_s = None
    evidence: list[Chunk] = []
    text, problem, whole = "", None, None
    try:
        for event in answer(index, question.query, chat=chat, strategy=strategy, k=k):
            match event:
                case EvidenceFound(hits):
                    search_s = time.monotonic() - started_s
                    evidence = [hit.chunk for hit in hits]
                case Delta():
                    if first_token_s is None:
                        first_token_s = time.monotonic() - started_s
                    text += event.text
                case Answer():
                    whole = event
    except LanguageModelError as error:
        problem = str(error)
    total_s = time.monotonic() - started_s
    found = holds_gold(question, evidence, answers_are_names=answers_are_names)
    if whole is None:
        return AnswerRecord(
            text,
            found=found,
            search_s=search_s,
            first_token_s=first_token_s,
            total_s=total_s,
            problem=problem or "the answer broke off",
        )
    shown = [hit.chunk for hit in whole.evidence]
    return AnswerRecord(
        text=whole.text,
        abstained=whole.abstained,
        found=found,
        valid=len(whole.citations),
        dropped=len(whole.dropped),
        astray=count_astray(whole.citations, shown),
        doubted=len({doubt.citation for doubt in whole.doubts}),
        cites_gold=any(overlap(one, gold) for one in whole.citations for gold in question.lines),
        search_s=search_s,
        first_token_s=first_token_s,
        total_s=total_s,
        calls=whole.usage.calls if whole.usage else 0,
        prompt_tokens=whole.usage.prompt_tokens if whole.usage else None,
        completion_tokens=whole.usage.completion_tokens if whole.usage else None,
    )


def holds_gold(
    question: Question, evidence: Sequence[Chunk], *, answers_are_names: bool = True
) -> bool | None:
    """Tell whether a passage holds what answers: its lines, else one of its files, else its name.

    :return: None where the question says nothing of that, or has no answer.
    """
    if question.lines:
        return any(overlap(chunk, gold) for chunk in evidence for gold in question.lines)
    if question.files:
        return any(chunk.path in question.files for chunk in evidence)
    if question.answer is not None and answers_are_names:
        return any(holds_answer(question.answer, chunk.text) for chunk in evidence)
    return None


def count_astray(citations: Iterable[Citation], evidence: Sequence[Chunk]) -> int:
    """Count citations that do not lie within the passage they name, by their lines alone."""
    return sum(not _lies_within(citation, evidence) for citation in citations)


def _lies_within(citation: Citation, evidence: Sequence[Chunk]) -> bool:
    if not 1 <= citation.passage <= len(evidence):
        return False
    chunk = evidence[citation.passage - 1]
    return (citation.repo, citation.path) == (
        chunk.repo,
        chunk.path,
    ) and chunk.start_line <= citation.start_line <= citation.end_line <= chunk.end_line
