"""What every way of answering is made of: evidence, one draft of an answer from it, its cost.

`app.answer` puts these together for one model, `app.compare` for several, and
`app.sub_questions` for the parts of a question.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app import extractive, followup
from app.abstention import missing_words
from app.claims import find_doubts
from app.events import Answer, Delta, Mode, Usage
from app.llm import Call, chat_model_name, stream_text
from app.redacted_stream import redact_stream
from data_tools.errors import LanguageModelError
from retrieval import citations
from retrieval.citations import Citation
from retrieval.index import CodeIndex
from retrieval.prompt import (
    REFUSAL,
    Message,
    Turn,
    answer_messages,
    fit_evidence,
    rewrite_messages,
)
from retrieval.search import Hit

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MAX_REWRITE_CHARS = 500


@dataclass(frozen=True)
class Scope:
    """What is searched, and for how many passages; None is everything."""

    k: int = 8
    repos: Sequence[str] | None = None
    languages: Sequence[str] | None = None
    path_glob: str | None = None


@dataclass(frozen=True)
class Found:
    """The evidence for a question, as much as a prompt takes.

    :param missing: words that are telling and not in it, if it is too weak to answer from.
    """

    question: str
    scope: Scope
    hits: tuple[Hit, ...]
    words_only: bool
    missing: tuple[str, ...] | None


class Meter:
    """Counts what one answer takes, from the moment that this is made."""

    def __init__(self) -> None:
        self._started_s = time.perf_counter()
        self._search_s = 0.0
        self._first_token_s: float | None = None
        self._calls: list[Call] = []

    def begin_call(self) -> Call:
        """Count a call of the model."""
        self._calls.append(Call())
        return self._calls[-1]

    def note_evidence(self) -> None:
        """The evidence has been found."""
        self._search_s = self._elapsed_s()

    def note_text(self) -> None:
        """Some text has come, perhaps the first."""
        if self._first_token_s is None:
            self._first_token_s = self._elapsed_s()

    def fork(self) -> "Meter":
        """A meter that goes on from here by itself: for one of several drafts."""
        own = copy(self)
        own._calls = list(self._calls)
        return own

    def usage(self) -> Usage:
        """All that was counted so far."""
        prompt, completion = (
            [call.prompt_tokens for call in self._calls],
            [call.completion_tokens for call in self._calls],
        )
        return Usage(
            self._search_s,
            self._first_token_s,
            self._elapsed_s(),
            len(self._calls),
            _sum_if_counted(prompt),
            _sum_if_counted(completion),
        )

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self._started_s


def _sum_if_counted(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def ask(chat: "BaseChatModel", messages: Sequence[Message], call: Call) -> Generator[str]:
    """Stream a model's answer to messages, without secrets; closing this stops the model.

    :raises LanguageModelError: it does not answer, or breaks off.
    """
    from langchain_core.messages import convert_to_messages

    spoken = convert_to_messages([dict(message) for message in messages])
    with closing(redact_stream(stream_text(chat, spoken, call))) as pieces:
        yield from pieces


def ask_aside(chat: "BaseChatModel", messages: Sequence[Message], meter: Meter) -> str:
    """Ask a model for something that an answer can do without; "" if it does not say."""
    try:
        return "".join(ask(chat, messages, meter.begin_call())).strip()
    except LanguageModelError:  # if the model is down, asking it for the answer will say so
        return ""


def stand_alone(
    question: str, history: Sequence[Turn], chat: "BaseChatModel | None", meter: Meter
) -> str:
    """Make a follow-up stand alone: by the model where there is one, else by rule."""
    if not history:
        return question
    if chat is not None:
        rewrite = ask_aside(chat, rewrite_messages(question, history), meter)
        if rewrite and len(rewrite) <= MAX_REWRITE_CHARS and "\n" not in rewrite:
            return rewrite
    return followup.stand_alone(question, history)


def find_evidence(index: CodeIndex, question: str, scope: Scope) -> Found:
    """Search for what answers a question, and judge it.

    :raises QuestionError: the question, or what it is restricted to, cannot be searched for.
    """
    hits = tuple(
        index.search(
            question,
            scope.k,
            repos=scope.repos,
            languages=scope.languages,
            path_glob=scope.path_glob,
        )
    )
    hits = hits[: len(fit_evidence([hit.chunk for hit in hits]))]
    missing = missing_words(index, question, hits)
    return Found(
        question, scope, hits, not index.vectors_ready, None if missing is None else tuple(missing)
    )


def draft(
    index: CodeIndex,
    found: Found,
    chat: "BaseChatModel | None",
    meter: Meter,
    *,
    history: Sequence[Turn] = (),
    parts: Sequence[Turn] = (),
    number: int = 0,
) -> Generator[Delta, None, Answer]:
    """Write one answer from evidence, piece by piece; return it whole and checked.

    :param parts: see `answer_messages`.
    :param number: of the draft, from 0.
    :raises LanguageModelError: the model does not answer, or breaks off after the pieces yielded.
    """
    text, abstained = "", False
    if found.missing is not None:
        pieces, abstained = iter([say_what_is_missing(index, found)]), True
    elif chat is None:
        pieces = iter([quote(index, found).text])
    else:
        messages = answer_messages(
            found.question, [hit.chunk for hit in found.hits], history, parts
        )
        pieces = with_note(ask(chat, messages, call := meter.begin_call()), call)
    for piece in pieces:
        meter.note_text()
        text += piece
        yield Delta(piece, number)
    refused = chat is not None and REFUSAL.rstrip(".").lower() in text.lower()
    return check(index, found, text, chat, meter, abstained=abstained or refused, number=number)


def with_note(pieces: Generator[str], call: Call) -> Generator[str]:
    """Pass pieces of text on, and say at their end why they are not all, if they are not."""
    text = ""
    with closing(pieces):
        for piece in pieces:
            text += piece
            yield piece
    if call.cut is not None:
        fence = "\n```" if text.count("```") % 2 else ""
        yield f"{fence}\n\n*The answer was cut here: {call.cut}.*"


def quote(index: CodeIndex, found: Found) -> extractive.Extract:
    """Answer with quotations from evidence that is not empty."""
    embedder = None if found.words_only else index.embedder
    return extractive.answer_extractively(
        found.question, found.hits, rarity=index.rarity, embedder=embedder
    )


def check(
    index: CodeIndex,
    found: Found,
    text: str,
    chat: "BaseChatModel | None",
    meter: Meter,
    *,
    abstained: bool,
    number: int = 0,
) -> Answer:
    """Check the citations and claims of a text that is complete."""
    chunks = [hit.chunk for hit in found.hits]
    checked = citations.check_citations(text, chunks, {})
    linked = tuple(_with_link(index, found, citation) for citation in checked.citations)
    mode: Mode = "extractive" if chat is None else "model"
    return Answer(
        question=found.question,
        text=checked.text,
        citations=linked,
        dropped=checked.dropped,
        evidence=found.hits,
        mode=mode,
        model=None if chat is None else chat_model_name(chat),
        abstained=abstained,
        words_only=found.words_only,
        draft=number,
        doubts=find_doubts(checked.text, linked, chunks, found.question),
        usage=meter.usage(),
    )


def _with_link(index: CodeIndex, found: Found, citation: Citation) -> Citation:
    chunk = found.hits[citation.passage - 1].chunk
    lines = replace(chunk, start_line=citation.start_line, end_line=citation.end_line)
    try:
        return replace(citation, url=index.link(lines))
    except KeyError:  # the repository was taken out of the index in the meantime
        return citation


def say_what_is_missing(index: CodeIndex, found: Found) -> str:
    """Say that there is no answer, what was looked for, and where the nearest thing is."""
    names = found.scope.repos or [record.name for record in index.manifest.repositories]
    where = ", ".join(f"`{name}`" for name in names)
    text = f"I did not find an answer to this in {where} ({len(index):,} passages searched)."
    if found.missing:
        words = ", ".join(f"`{word}`" for word in found.missing[:5])
        text += f" Nothing that fits says anything of {words}."
    if found.hits:
        nearest = found.hits[0].chunk
        place = citations.format_citation(1, nearest.start_line, nearest.end_line)
        text += f" The nearest that I found is `{nearest.path}` {place}."
    return text
