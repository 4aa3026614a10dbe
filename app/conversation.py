"""A conversation as the page shows it: what was asked, and what has come of it so far.

The events of `app.answer` go in, records to show come out. What goes wrong becomes a part of the
record: it is said where the answer would be, and the conversation goes on.
"""

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from app.answer import Answer, Delta, Event, EvidenceFound, Rewritten
from data_tools.errors import CodeQAError
from retrieval.citations import Checked, check_citations
from retrieval.prompt import Turn
from retrieval.search import Hit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exchange:
    """One question and its answer, which may still be on its way.

    :param typed: the question as it was typed.
    :param searched: as it was searched for, where that differs.
    :param evidence: None until the search is done.
    :param text: what was streamed so far, citations not yet checked.
    :param answer: the last event; None until then, and for good after a stop or a problem.
    :param problem: what went wrong, in words for the person who asked.
    :param stopped: whether that person stopped it.
    """

    typed: str
    searched: str | None = None
    evidence: tuple[Hit, ...] | None = None
    words_only: bool = False
    text: str = ""
    answer: Answer | None = None
    problem: str | None = None
    stopped: bool = False

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return not (self.answer or self.problem or self.stopped)


Conversation = tuple[Exchange, ...]


def take(exchange: Exchange, event: Event) -> Exchange:
    """Add one event to an exchange."""
    match event:
        case Rewritten(question):
            return replace(exchange, searched=question)
        case EvidenceFound(hits, words_only):
            return replace(exchange, evidence=hits, words_only=words_only)
        case Delta(text):
            return replace(exchange, text=exchange.text + text)
        case Answer():
            return replace(exchange, answer=event)


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
                more = isinstance(event, Delta) and bool(exchange.text)
                exchange = take(exchange, event)
                now_s = time.monotonic()
                if not more or now_s - last_s >= step_s:
                    last_s = now_s
                    yield exchange
        except CodeQAError as error:
            yield replace(exchange, problem=str(error))
        except Exception as error:  # a bug must not end the conversation
            log.exception("a question could not be answered")
            yield replace(
                exchange,
                problem=f"Something went wrong ({type(error).__name__}: {error}). "
                "The server's log has the details; you can go on asking.",
            )


def check(exchange: Exchange) -> Checked:
    """Check the citations of what there is of the answer; while it streams, they have no URL."""
    if exchange.answer:
        return Checked(exchange.answer.text, exchange.answer.citations, exchange.answer.dropped)
    return check_citations(exchange.text, [hit.chunk for hit in exchange.evidence or ()], {})


def list_turns(exchanges: Sequence[Exchange]) -> list[Turn]:
    """Return what was said as history for the next question.

    Citations are left out: their numbers mean other passages by then.
    """
    return [
        Turn(exchange.searched or exchange.typed, check_citations(exchange.text, (), {}).text)
        for exchange in exchanges
        if exchange.text
    ]
