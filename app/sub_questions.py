"""A question broken up into parts, each answered from its own evidence, then the whole.

A model breaks the question up, answers the parts side by side, and combines them with all the
evidence before it. Without a model, the question is broken up where its grammar shows the parts,
and each part is answered with a quotation under a heading. Passages are numbered through over all
parts.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from itertools import zip_longest
from typing import TYPE_CHECKING

from app.drafting import (
    Found,
    Meter,
    Scope,
    ask,
    ask_aside,
    check,
    draft,
    find_evidence,
    quote,
    say_what_is_missing,
    with_note,
)
from app.events import Answer, Delta, Event, EvidenceFound, Step
from app.interleave import interleave
from data_tools.chunk import Chunk
from retrieval.citations import check_citations, renumber_citations, without_citations
from retrieval.index import CodeIndex
from retrieval.prompt import (
    REFUSAL,
    Turn,
    answer_messages,
    fit_evidence,
    parse_questions,
    split_messages,
)
from retrieval.search import Hit

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MOST_PARTS = 4
MIN_PART_WORDS = 3

_QUESTION_WORD = r"(?:what|where|when|which|who|why|how|is|are|does|do|did|can|could|should|will)\b"
_BETWEEN_QUESTIONS = re.compile(r"(?<=\?)\s+(?=\w)")
_AND_ANOTHER = re.compile(
    rf"(?:[,;]|(?<!\s))\s+(?:and|but|or)(?: also| then)?,?\s+(?={_QUESTION_WORD})", re.I
)
_DIFFERENCE = re.compile(
    r"(?:what(?:'s| is| are)? )?(?:the )?(?:main |key )?(?:differences?|relation(?:ship)?) between "
    r"(?P<one>.+?) and (?P<other>.+?)\??",
    re.I,
)
_COMPARE = re.compile(
    r"(?:please )?(?:compare|contrast) (?P<one>.+?) (?:and|with|to|against|vs\.?) "
    r"(?P<other>.+?)[.?]?",
    re.I,
)
_DIFFERS = re.compile(
    r"how (?:does|do|is|are) (?P<one>.+?) (?:differ(?:ent)? from|compare(?:d)? (?:to|with)) "
    r"(?P<other>.+?)\??",
    re.I,
)


def split_question(question: str, chat: "BaseChatModel | None", meter: Meter) -> tuple[str, ...]:
    """Break a question up into two to four parts.

    :return: none, if it asks for one thing only.
    """
    if chat is None:
        return split_by_rule(question)
    reply = ask_aside(chat, split_messages(question), meter)
    if not reply:
        return split_by_rule(question)
    parts = parse_questions(reply, most=MOST_PARTS)
    return tuple(parts) if len(parts) > 1 else ()


def split_by_rule(question: str) -> tuple[str, ...]:
    """Break a question up at its question marks, its "and how", or what it compares."""
    whole = " ".join(question.split())
    for pattern in (_DIFFERENCE, _COMPARE, _DIFFERS):
        if found := pattern.fullmatch(whole):
            return tuple(f"What is {found[name].strip()}?" for name in ("one", "other"))
    parts = [
        part
        for sentence in _BETWEEN_QUESTIONS.split(whole)
        for part in _AND_ANOTHER.split(sentence)
    ]
    if len(parts) < 2 or any(len(part.split()) < MIN_PART_WORDS for part in parts):
        return ()
    asked = [f"{part[0].upper()}{part[1:].rstrip('?.,; ')}?" for part in parts]
    return tuple(dict.fromkeys(asked))[:MOST_PARTS]


def answer_in_parts(
    index: CodeIndex,
    question: str,
    parts: Sequence[str],
    scope: Scope,
    chat: "BaseChatModel | None",
    meter: Meter,
    history: Sequence[Turn],
) -> Generator[Event, None, Answer]:
    """Answer the parts of a question, then the question; all the evidence comes first.

    :param parts: at least one.
    :raises LanguageModelError: the model does not answer.
    """
    founds = [find_evidence(index, part, scope) for part in parts]
    whole = _unite(question, founds)
    meter.note_evidence()
    yield EvidenceFound(whole.hits, whole.words_only)
    if whole.missing is not None:
        for number, found in enumerate(founds, start=1):
            yield _step(number, found, say_what_is_missing(index, found), abstained=True)
        return (yield from draft(index, whole, chat, meter))
    if chat is None:
        return (yield from _quote_parts(index, whole, founds, meter))
    notes = []
    for step in _ask_parts(index, founds, chat, meter):
        notes.append(Turn(step.question, REFUSAL if step.abstained else step.text))
        yield step
    return (yield from draft(index, whole, chat, meter, history=history, parts=notes))


def _unite(question: str, founds: Sequence[Found]) -> Found:
    """The best passages of all parts in turn, each once, as far as they fit a prompt."""
    hits: list[Hit] = []
    good = [found for found in founds if found.missing is None] or founds
    for rank in zip_longest(*(found.hits for found in good)):
        hits += [hit for hit in rank if hit and not any(_holds(kept, hit) for kept in hits)]
    hits = hits[: len(fit_evidence([hit.chunk for hit in hits]))]
    missing = None
    if all(found.missing is not None for found in founds):
        missing = tuple(dict.fromkeys(word for found in founds for word in found.missing or ()))
    words_only = any(found.words_only for found in founds)
    return Found(question, founds[0].scope, tuple(hits), words_only, missing)


def _holds(outer: Hit, inner: Hit) -> bool:
    one, other = outer.chunk, inner.chunk
    return (
        _file(one) == _file(other)
        and one.start_line <= other.start_line
        and other.end_line <= one.end_line
    )


def _file(chunk: Chunk) -> tuple[str, str, str]:
    return chunk.repo, chunk.commit, chunk.path


def _quote_parts(
    index: CodeIndex, whole: Found, founds: Sequence[Found], meter: Meter
) -> Generator[Event, None, Answer]:
    text = ""
    for number, found in enumerate(founds, start=1):
        abstained = found.missing is not None
        quoted = say_what_is_missing(index, found) if abstained else quote(index, found).quoted
        yield _step(number, found, quoted, abstained=abstained)
        numbers = {
            passage: at
            for passage, hit in enumerate(found.hits, start=1)
            for at, kept in reversed([*enumerate(whole.hits, start=1)])
            if _holds(kept, hit)
        }
        piece = f"**{found.question}**\n\n{renumber_citations(quoted, numbers)}\n\n"
        text += piece
        meter.note_text()
        yield Delta(piece)
    return check(index, whole, text, None, meter, abstained=False)


def _ask_parts(
    index: CodeIndex, founds: Sequence[Found], chat: "BaseChatModel", meter: Meter
) -> Iterator[Step]:
    """Answer the parts side by side, and yield what comes of them in their order."""

    def answer_part(number: int, found: Found) -> Generator[Step]:
        if found.missing is not None:
            yield _step(number, found, say_what_is_missing(index, found), abstained=True)
            return
        messages = answer_messages(found.question, [hit.chunk for hit in found.hits])
        call = meter.begin_call()
        text = "".join(with_note(ask(chat, messages, call), call))
        refused = REFUSAL.rstrip(".").lower() in text.lower()
        yield _step(number, found, text, abstained=refused)

    done: dict[int, Step] = {}
    following = 1
    streams = [answer_part(number, found) for number, found in enumerate(founds, start=1)]
    with closing(interleave(streams)) as steps:
        for _, step in steps:
            done[step.number] = step
            while following in done:
                yield done[following]
                following += 1


def _step(number: int, found: Found, text: str, *, abstained: bool) -> Step:
    checked = check_citations(text, [hit.chunk for hit in found.hits], {})
    bare = without_citations(checked.text)
    return Step(number, found.question, bare, found.hits, abstained)
