"""Question → evidence → cited answer, as a stream of events. No user interface here.

The evidence comes first, then the text as it is written, then the whole answer with its citations
checked. Where the evidence is too weak there is no answer, but what was looked for and where.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.drafting import Meter, Scope, draft, find_evidence, stand_alone
from app.events import (
    Answer,
    Delta,
    Doubt,
    Event,
    EvidenceFound,
    Failed,
    Mode,
    Rewritten,
    Step,
    Strategy,
    SubQuestions,
    Usage,
)
from app.related import suggest_related
from app.sub_questions import answer_in_parts, split_question
from retrieval.index import CodeIndex
from retrieval.prompt import Turn
from retrieval.search import check_question

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = [
    "Answer",
    "Delta",
    "Doubt",
    "Event",
    "EvidenceFound",
    "Failed",
    "Mode",
    "Rewritten",
    "Step",
    "Strategy",
    "SubQuestions",
    "Usage",
    "answer",
]


def answer(
    index: CodeIndex,
    question: str,
    *,
    chat: "BaseChatModel | None" = None,
    history: Sequence[Turn] = (),
    k: int = 8,
    repos: Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
    path_glob: str | None = None,
    strategy: Strategy = "direct",
) -> Generator[Event]:
    """Answer a question from the index: evidence first, then text, then the checked answer.

    :param chat: the language model; None answers with quotations.
    :param history: earlier turns, oldest first; with any, the question is made to stand alone.
    :param k: how many passages to give as evidence, to each part of a question.
    :param strategy: `sub-questions` answers the parts of a question one by one, then the whole,
        and is direct where there are no parts; `related` adds questions to go on with.
    :raises QuestionError: the question is empty, too long, or not valid Unicode.
    :raises LanguageModelError: the model does not answer; the evidence was sent by then.
    """
    meter = Meter()
    scope = Scope(k, repos, languages, path_glob)
    typed = check_question(question)
    question = stand_alone(typed, history, chat, meter)
    if question != typed:
        yield Rewritten(question)
    if strategy == "sub-questions" and (parts := split_question(question, chat, meter)):
        yield SubQuestions(parts)
        yield (yield from answer_in_parts(index, question, parts, scope, chat, meter, history))
        return
    found = find_evidence(index, question, scope)
    meter.note_evidence()
    yield EvidenceFound(found.hits, found.words_only)
    whole = yield from draft(index, found, chat, meter, history=history)
    if strategy == "related" and not whole.abstained:
        related = suggest_related(index, found, whole.text, chat, meter, history)
        whole = replace(whole, related=related, usage=meter.usage())
    yield whole
