"""A conversation in which something is being answered: as it is now, and how it is kept.

Whoever changes it holds its lock; whoever looks at it reads `state`, which is replaced whole and
never changed. What cannot be stored stays here and says so.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from app.conversation import Conversation, Exchange, Question, end
from app.history import History
from app.stopping import Stop
from data_tools.errors import CodeQAError


@dataclass
class Job:
    """An exchange that is to be answered, or is being answered.

    :ivar models: in the order of the drafts.
    :ivar instead_of: the exchange that it replaces.
    :ivar request: id of the request that asked.
    :ivar begun: whether a thread has it, or will.
    :ivar stored: whether the history has it.
    :ivar saved: the texts of its drafts as the history has them.
    """

    exchange_id: str
    question: Question
    models: tuple[str | None, ...]
    instead_of: str | None = None
    request: str = ""
    begun: bool = False
    stored: bool = False
    saved: tuple[str, ...] = ()
    stop: Stop = field(default_factory=Stop)


@dataclass(frozen=True)
class State:
    """A conversation at one moment; its followers compare the two numbers.

    :param version: raised by every change; `shape` by every change but more text.
    """

    conversation: Conversation
    version: int = 0
    shape: int = 0

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return is_running(self.conversation)


class Live:
    """A conversation, and the questions in it that are not answered yet.

    :ivar jobs: the first is being answered, the others wait for it.
    """

    def __init__(
        self, owner: str, identifier: str, conversation: Conversation, history: History
    ) -> None:
        self.owner = owner
        self.id = identifier
        self.lock = threading.RLock()
        self.state = State(conversation)
        self.jobs: deque[Job] = deque()
        self._history = history
        self._unsaved: set[str] = set()

    @property
    def is_stored(self) -> bool:
        """Whether the history has all of it, as it is."""
        return not self._unsaved

    def get(self, exchange_id: str) -> Exchange:
        """Return an exchange.

        :raises KeyError: it is not there, or not any more.
        """
        for exchange in self.state.conversation:
            if exchange.id == exchange_id:
                return exchange
        raise KeyError(exchange_id)

    def before(self, exchange_id: str) -> Conversation:
        """Return what was said before an exchange.

        :raises KeyError: it is not there, or not any more.
        """
        return self.state.conversation[: self.state.conversation.index(self.get(exchange_id))]

    def put(self, exchange: Exchange) -> None:
        """Put an exchange in the place of what it was before."""
        old = self.get(exchange.id)
        self._show(
            tuple(exchange if other is old else other for other in self.state.conversation),
            only_text=only_adds_text(old, exchange),
        )

    def add(self, job: Job, exchange: Exchange) -> None:
        """Add a question, in the place of `job.instead_of` and all after it, and keep it.

        :raises KeyError: `job.instead_of` is not there.
        """
        kept = self.state.conversation
        if job.instead_of is not None:
            kept = self.before(job.instead_of)
            for replaced in self.state.conversation[len(kept) :]:
                self.end(replaced.id, stopped=True)
                self._unsaved.discard(replaced.id)
        self._show((*kept, exchange))
        self.jobs.append(job)
        self.save(job, exchange)

    def end(self, exchange_id: str, *, stopped: bool = False, problem: str | None = None) -> None:
        """End an exchange, and the work on it; nothing happens to one that has ended."""
        job = next((job for job in self.jobs if job.exchange_id == exchange_id), None)
        if job is None:
            return
        self.jobs.remove(job)
        job.stop.set()
        exchange = self.get(exchange_id)
        if exchange.running:
            ended = end(exchange, stopped=stopped, problem=problem)
            self.save(job, replace(ended, waiting=None))

    def save(self, job: Job, exchange: Exchange) -> None:
        """Keep an exchange, then put it in the place of what it was: what is seen is kept.

        Where it cannot be kept, it says so.
        """
        saved = replace(exchange, unsaved=self._history.problem)
        try:
            if job.stored:
                self._history.save(saved)
            else:
                self._history.begin(self.owner, self.id, saved, instead_of=job.instead_of)
                job.stored = True
            self._unsaved.discard(exchange.id)
        except CodeQAError as error:
            self._unsaved.add(exchange.id)
            saved = replace(exchange, unsaved=str(error))
        job.saved = _texts(saved)
        if saved != self.get(exchange.id):
            self.put(saved)

    def unsaved_texts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the id and the texts of exchanges whose text has grown since this was asked."""
        for job in list(self.jobs)[:1]:
            texts = _texts(self.get(job.exchange_id))
            if job.stored and texts != job.saved:
                job.saved = texts
                yield job.exchange_id, texts

    def refresh(self) -> None:
        """Take over what the history has of exchanges that are not answered here, and all ratings.

        :raises KeyError: it has the conversation no more.
        :raises CodeQAError: it cannot be read.
        """
        stored = {e.id: e for e in self._history.load(self.owner, self.id)}
        own = {job.exchange_id for job in self.jobs} | self._unsaved
        self._show(
            tuple(
                stored[old.id]
                if old.id in stored and old.id not in own
                else copy_rating(stored.get(old.id, old), old)
                for old in self.state.conversation
            )
        )

    def _show(self, conversation: Conversation, *, only_text: bool = False) -> None:
        now = self.state
        self.state = State(conversation, now.version + 1, now.shape + (not only_text))


def copy_rating(rated: Exchange, exchange: Exchange) -> Exchange:
    """Return an exchange with what a person thinks of another state of it."""
    return replace(exchange, thumb=rated.thumb, reason=rated.reason, vote=rated.vote)


def is_running(conversation: Conversation) -> bool:
    """Whether anything in a conversation is being answered, or will be."""
    return any(exchange.running for exchange in conversation)


def only_adds_text(old: Exchange, new: Exchange) -> bool:
    """Whether nothing but more text to a text tells a state of an exchange from the one before."""
    return _shape(old) == _shape(new)


def _texts(exchange: Exchange) -> tuple[str, ...]:
    return tuple(draft.text for draft in exchange.drafts)


def _shape(exchange: Exchange) -> Exchange:
    """What of an exchange changes with every event but one that adds text to text."""
    drafts = tuple(replace(draft, text=draft.text[:1]) for draft in exchange.drafts)
    return replace(exchange, drafts=drafts)
