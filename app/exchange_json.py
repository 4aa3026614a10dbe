"""An exchange as JSON and back: how it is kept, evidence included, so that it shows years later.

A field that this version does not know is passed over, one that is missing gets its default: what
an older or a newer version wrote can be read. JSON alone, never a pickle.
"""

import json
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.conversation import Draft, Exchange
from retrieval.search import Hit

FORMAT = 1  # to be raised where old text could be misread, not where a field is added

_EXCHANGE = TypeAdapter(Exchange)


def write_exchange(exchange: Exchange) -> str:
    """Write an exchange as one JSON object; lone surrogates, which are no text, become "?".

    Evidence that an answer shares with its exchange is written once.
    """
    drafts = tuple(_without_shared(draft, exchange.evidence) for draft in exchange.drafts)
    kept = replace(exchange, drafts=drafts, waiting=None, unsaved=None)
    record = _EXCHANGE.dump_python(kept, mode="json")
    for draft, written in zip(exchange.drafts, record["drafts"], strict=True):
        if draft.answer and draft.answer.evidence == exchange.evidence:
            written["answer"]["evidence"] = None
    text = json.dumps({"format": FORMAT, **record}, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def read_exchange(text: str) -> Exchange:
    """Read what `write_exchange` wrote.

    :raises ValueError: it is not that, or of a format that this version does not know.
    """
    try:
        record: dict[str, Any] = json.loads(text)
        if record["format"] != FORMAT:
            raise ValueError(f"an exchange of format {record['format']} is not known here")
        for draft in record["drafts"]:
            answer = draft["answer"]
            if answer and answer["evidence"] is None:
                answer["evidence"] = record["evidence"]
        return _EXCHANGE.validate_python(record)
    except (ValidationError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not an exchange: {error}") from error


def _without_shared(draft: Draft, evidence: tuple[Hit, ...] | None) -> Draft:
    if draft.answer is None or draft.answer.evidence != evidence:
        return draft
    return replace(draft, answer=replace(draft.answer, evidence=()))
