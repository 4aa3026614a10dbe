"""Several models answer one question from the same evidence, at the same time.

One search, one prompt: what differs between the drafts is the model alone. Their order is that of
the models; who wants a blind comparison shuffles them before.
"""

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from app.drafting import Found, Meter, Scope, draft, find_evidence, stand_alone
from app.events import Event, EvidenceFound, Failed, Rewritten
from app.interleave import interleave
from data_tools.errors import CodeQAError
from retrieval.index import CodeIndex
from retrieval.prompt import Turn
from retrieval.search import check_question

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

log = logging.getLogger(__name__)


def compare(
    index: CodeIndex,
    question: str,
    chats: "Sequence[BaseChatModel | None]",
    *,
    history: Sequence[Turn] = (),
    k: int = 8,
    repos: Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
    path_glob: str | None = None,
) -> Generator[Event]:
    """Answer a question with each of several models; draft n is that of `chats[n]`.

    The pieces of all drafts come as they are written, in turn where several wait. A model that
    fails ends its own draft with `Failed`. Closing this stops all of them.

    :param chats: the models; None answers with quotations.
    :param history: earlier turns, oldest first; the first model makes the question stand alone.
    :param k: how many passages to give as evidence.
    :raises QuestionError: the question is empty, too long, or not valid Unicode.
    :raises ValueError: `chats` is empty.
    """
    if not chats:
        raise ValueError("there is no model to compare")
    meter = Meter()
    typed = check_question(question)
    rewriter = next((chat for chat in chats if chat is not None), None)
    question = stand_alone(typed, history, rewriter, meter)
    if question != typed:
        yield Rewritten(question)
    found = find_evidence(index, question, Scope(k, repos, languages, path_glob))
    meter.note_evidence()
    yield EvidenceFound(found.hits, found.words_only)
    drafts = [
        _draft(index, found, chat, meter.fork(), history, number)
        for number, chat in enumerate(chats)
    ]
    with closing(interleave(drafts)) as events:
        for _, event in events:
            yield event


def _draft(
    index: CodeIndex,
    found: Found,
    chat: "BaseChatModel | None",
    meter: Meter,
    history: Sequence[Turn],
    number: int,
) -> Generator[Event]:
    try:
        yield (yield from draft(index, found, chat, meter, history=history, number=number))
    except CodeQAError as error:
        yield Failed(str(error), number)
    except Exception as error:  # a bug with one model must not end the others' answers
        log.exception("draft %d failed", number)
        yield Failed(f"Something went wrong ({type(error).__name__}: {error})", number)
