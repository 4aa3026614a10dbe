"""One line in the log for each answer: how long its parts took, and what it came to."""

import logging
from collections.abc import Generator
from contextlib import closing
from typing import Any

from app.events import Answer, Event, EvidenceFound, Failed, Strategy
from app.logs import log_questions
from app.stopping import is_stopped
from data_tools.secrets import redact

log = logging.getLogger(__name__)


def logged(
    events: Generator[Event], question: str, *, strategy: Strategy = "direct"
) -> Generator[Event]:
    """Pass on the events of an answer, or of several that are compared, and log each of them.

    Closing this closes `events`.
    """
    if not log.isEnabledFor(logging.INFO):
        yield from events
        return
    about: dict[str, Any] = {"strategy": strategy}
    if log_questions():
        about["question"] = redact(question).text
    ended = False
    try:
        with closing(events):
            for event in events:
                ended = _note(event, about) or ended
                yield event
    except GeneratorExit:
        if not ended:
            log.info("answer stopped", extra=about)
        raise
    except Exception as error:
        if is_stopped():
            log.info("answer stopped", extra=about)
        else:
            log.warning("answer failed", extra=about | {"problem": str(error)})
        raise


def _note(event: Event, about: dict[str, Any]) -> bool:
    """Log an event if it ends an answer; return whether it does."""
    match event:
        case EvidenceFound():
            about["passages"] = len(event.hits)
        case Failed():
            log.warning("answer failed", extra=about | {"problem": event.problem})
        case Answer():
            log.info("answer", extra=about | _describe(event))
    return isinstance(event, Answer | Failed)


def _describe(answer: Answer) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": answer.model,
        "abstained": answer.abstained,
        "citations": len(answer.citations),
        "dropped": len(answer.dropped),
        "doubts": len(answer.doubts),
    }
    if usage := answer.usage:
        fields |= {
            "search_s": round(usage.search_s, 4),
            "first_token_s": None if usage.first_token_s is None else round(usage.first_token_s, 4),
            "total_s": round(usage.total_s, 4),
            "calls": usage.calls,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        }
    return fields
