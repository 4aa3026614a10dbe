"""A conversation as the page shows it: what was asked, and what has come of it so far.

The events of `app.answer` go in, records to show come out. What goes wrong becomes a part of the
record: it is said where the answer would be, and the conversation goes on.
"""

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal

from app.answer import (
    Answer,
    Delta,
    Event,
    EvidenceFound,
    Failed,
    Rewritten,
    Step,
    Strategy,
    SubQuestions,
)
from data_tools.errors import CodeQAError
from retrieval.citations import Checked, check_citations
from retrieval.prompt import Turn
from retrieval.search import Hit

log = logging.getLogger(__name__)

Thumb = Literal["up", "down"]
Vote = Literal["left", "right", "tie", "neither"]


@dataclass(frozen=True)
class Question:
    """What is asked, and how.

    :param models: the names of those who answer; two or more are compared, None quotes the code.
    :param blind: compare without saying who wrote what; left and right are drawn by chance.
    :param k: how many passages to give as evidence.
    """

    text: str
    strategy: Strategy = "direct"
    models: tuple[str | None, ...] = (None,)
    blind: bool = False
    repos: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    path_glob: str | None = None
    k: int = 8


@dataclass(frozen=True)
class Draft:
    """One model's answer, which may still be on its way.

    :param model: its name; None quotes the code.
    :param text: what was streamed so far, citations not yet checked.
    :param answer: the last event; None until then, and for good after a stop or a problem.
    :param problem: what went wrong, in words for the person who asked.
    :param stopped: whether that person stopped it.
    """

    model: str | None = None
    text: str = ""
    answer: Answer | None = None
    problem: str | None = None
    stopped: bool = False

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return not (self.answer or self.problem or self.stopped)


@dataclass(frozen=True)
class Exchange:
    """One question and its answer, or the answers of several models from the same evidence.

    :param typed: the question as it was typed.
    :param id: by which it is stored; "" before that.
    :param searched: as it was searched for, where that differs.
    :param parts: what it was broken up into; `steps` says what became of each so far.
    :param evidence: None until the search is done.
    :param drafts: two or more where models are compared.
    :param blind: the models' names are not shown until there is a vote.
    :param vote: which draft is better, where they are compared.
    :param thumb: what the person thinks of the answer, for the `reason`.
    :param asked: all that was asked for, by which it can be asked again.
    :param asked_at: Unix seconds; 0 where no one noted it.
    :param history: what was said before, as the models were given it.
    :param waiting: what has to end before this is begun, in words for the person who asked.
    :param unsaved: why it is not kept, likewise; None if it is.
    """

    typed: str
    id: str = ""
    strategy: Strategy = "direct"
    searched: str | None = None
    parts: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    evidence: tuple[Hit, ...] | None = None
    words_only: bool = False
    drafts: tuple[Draft, ...] = (Draft(),)
    blind: bool = False
    vote: Vote | None = None
    thumb: Thumb | None = None
    reason: str = ""
    asked: Question | None = None
    asked_at: float = 0.0
    history: tuple[Turn, ...] = ()
    waiting: str | None = None
    unsaved: str | None = None

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return any(draft.running for draft in self.drafts)


Conversation = tuple[Exchange, ...]


def take(exchange: Exchange, event: Event) -> Exchange:
    """Add one event to an exchange."""
    match event:
        case Rewritten(question):
            return replace(exchange, searched=question)
        case SubQuestions(questions):
            return replace(exchange, parts=questions)
        case Step():
            return replace(exchange, steps=(*exchange.steps, event))
        case EvidenceFound(hits, words_only):
            return replace(exchange, evidence=hits, words_only=words_only)
        case Delta(text, number):
            return change(exchange, number, text=exchange.drafts[number].text + text)
        case Failed(problem, number):
            return change(exchange, number, problem=problem)
        case Answer():
            return change(exchange, event.draft, answer=event)


def change(exchange: Exchange, number: int, **values: Any) -> Exchange:  # noqa: ANN401
    """Change fields of one draft.

    :param number: of the draft, from 0.
    """
    drafts = list(exchange.drafts)
    drafts[number] = replace(drafts[number], **values)
    return replace(exchange, drafts=tuple(drafts))


def end(exchange: Exchange, *, problem: str | None = None, stopped: bool = False) -> Exchange:
    """End every draft that is still running."""
    for number, draft in enumerate(exchange.drafts):
        if draft.running:
            exchange = change(exchange, number, problem=problem, stopped=stopped)
    return exchange


def follow(
    exchange: Exchange, events: Generator[Event], *, step_s: float = 0.0
) -> Generator[Exchange]:
    """Yield the exchange as it grows; closing this closes `events`, which stops the model.

    :param step_s: pieces of text that come faster are put together.
    """
    last_s = 0.0
    with closing(events):
        try:
            for event in events:
                more = isinstance(event, Delta) and bool(exchange.drafts[event.draft].text)
                exchange = take(exchange, event)
                now_s = time.monotonic()
                if not more or now_s - last_s >= step_s:
                    last_s = now_s
                    yield exchange
        except CodeQAError as error:
            yield end(exchange, problem=str(error))
        except Exception as error:  # a bug must not end the conversation
            log.exception("a question could not be answered")
            yield end(
                exchange,
                problem=f"Something went wrong ({type(error).__name__}: {error}). "
                "The server's log has the details; you can go on asking.",
            )


def check(exchange: Exchange, number: int = 0) -> Checked:
    """Check the citations of what there is of a draft; while it streams, they have no URL.

    :param number: of the draft, from 0.
    """
    draft = exchange.drafts[number]
    if draft.answer:
        return Checked(draft.answer.text, draft.answer.citations, draft.answer.dropped)
    return check_citations(draft.text, [hit.chunk for hit in exchange.evidence or ()], {})


def list_turns(exchanges: Sequence[Exchange]) -> list[Turn]:
    """Return what was said as history for the next question.

    Citations are left out: their numbers mean other passages by then. Of answers that were
    compared, the one that was voted for counts, else the first.
    """
    return [
        Turn(exchange.searched or exchange.typed, check_citations(text, (), {}).text)
        for exchange in exchanges
        if (text := _preferred(exchange).text)
    ]


def _preferred(exchange: Exchange) -> Draft:
    return exchange.drafts[1 if exchange.vote == "right" else 0]
