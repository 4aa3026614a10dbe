"""What is done in the chat, in a server that may be killed; each thing is told once it is kept."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import langchain_openai  # noqa: F401 - it is imported late, and is to be there already

from app import saver
from app.conversation import Draft, Exchange, end
from app.desk import Desk, Question
from app.history import History
from app.models import open_models
from app.workspace import Workspace
from tests.fakes import FakeEncoder
from tests.torture.faults import Tell

OWNER, SCOPE = "ada", "index"
ASKED = "How does take of the TokenBucket work?"
ONE = Question(ASKED, models=("stub-model",))
TWO = Question(ASKED, models=("stub-model", "tuned-model"))
WAIT_S = 60.0  # for what takes milliseconds on a machine that is not busy


def use_chat(
    tell: Tell, index: str, history: str, url: str, kept: str, compared: str, doomed: str
) -> None:
    """Ask, be answered, vote, rate, rename, delete and ask again, as a browser makes the app do.

    :param kept: a conversation that is there; its exchange `compared` has two answers.
    :param doomed: another one, which is deleted.
    """
    saver.SAVE_S = 0.03  # as often as there is text: the run is short
    workspace = Workspace(Path(index), embedder=FakeEncoder())
    with (
        closing(History(Path(history), scope=SCOPE)) as file,
        closing(Desk(workspace, open_models([url]), file)) as desk,
    ):
        if file.problem:  # the page says that nothing is kept; all goes on in memory
            return tell(unsaved=file.problem)
        file.vote(OWNER, compared, "left")
        tell(voted=compared)
        conversation, first = desk.ask(OWNER, ONE)
        _tell_asked(tell, desk, conversation)
        _follow(tell, desk, file, conversation)
        if desk.snapshot(OWNER, conversation)[-1].unsaved is None:
            file.rate(OWNER, first, "down", "too short")
            tell(rated=first)
        file.rename(OWNER, kept, "Renamed")
        tell(renamed=kept)
        file.delete(OWNER, doomed)
        tell(deleted=doomed)
        _, second = desk.ask(OWNER, TWO, conversation)
        _tell_asked(tell, desk, conversation)
        _follow(tell, desk, file, conversation)
        _, third = desk.retry(OWNER, second)
        _tell_asked(tell, desk, conversation, instead_of=second)
        _wait_until(lambda: desk.snapshot(OWNER, conversation)[-1].drafts[0].text)
        desk.stop(OWNER, third)
        _tell_ended(tell, desk.snapshot(OWNER, conversation)[-1], "stopped")
    return tell(closed=True)


def _follow(tell: Tell, desk: Desk, file: History, conversation: str) -> None:
    """Look at the last exchange until it has ended; tell what of it is seen, and what is kept."""
    while (seen := desk.snapshot(OWNER, conversation)[-1]).running:
        with suppress(KeyError):  # it could not be kept, and says so
            kept = file.load(OWNER, conversation)[-1]
            if kept.id == seen.id and any(texts(kept)):
                tell(saved=kept.id, characters=[len(text) for text in texts(kept)])
        time.sleep(0.002)
    _tell_ended(tell, seen, "answered")


def _tell_asked(tell: Tell, desk: Desk, conversation: str, **facts: str) -> None:
    asked = desk.snapshot(OWNER, conversation)[-1]
    if asked.unsaved is None:
        tell(asked=asked.id, conversation=conversation, **facts)


def _tell_ended(tell: Tell, exchange: Exchange, how: str) -> None:
    tell(**({how: exchange.id} if exchange.unsaved is None else {"unsaved": exchange.unsaved}))


def texts(exchange: Exchange) -> list[str]:
    """The texts of its drafts."""
    return [draft.text for draft in exchange.drafts]


def _wait_until(is_so: Callable[[], object]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > end_s:
            raise TimeoutError("it did not come about")
        time.sleep(0.002)


def keep_history(tell: Tell, history: str) -> None:
    """Write to a file of conversations, one thing after the other."""
    with closing(History(Path(history), scope=SCOPE)) as file:
        exchange = Exchange(ASKED, id="first", drafts=(Draft("stub-model"), Draft("tuned-model")))
        file.begin(OWNER, "conversation", exchange)
        tell(begun=True)
        file.save(end(exchange, stopped=True))
        tell(saved=True)
        file.vote(OWNER, "first", "right")
        tell(voted=True)
        file.rename(OWNER, "conversation", "Renamed")
        tell(renamed=True)
        file.delete(OWNER, "conversation")
        tell(deleted=True)
