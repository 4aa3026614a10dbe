"""A file of conversations before a run of `tests.torture.chat_steps`, and what is in it after.

Whatever the run had told, as it would have told a browser, is looked for once the next server has
started on the file.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from app.conversation import Exchange
from app.desk import SHUT_DOWN, Desk
from app.history import INTERRUPTED, History
from app.models import Models, open_models
from app.workspace import Workspace
from tests.fakes import FakeEncoder
from tests.torture.chat_steps import ASKED, ONE, OWNER, SCOPE, TWO, WAIT_S, texts

FILE = "conversations.sqlite"
REPLY = "It takes tokens out of the bucket, one for each request. " * 3


def fill(history: Path, index: Path, url: str) -> dict[str, str]:
    """Write a file of two conversations; return what to do what to."""
    workspace = Workspace(index, embedder=FakeEncoder())
    with (
        closing(History(history, scope=SCOPE)) as file,
        closing(Desk(workspace, open_models([url]), file)) as desk,
    ):
        kept, compared = desk.ask(OWNER, TWO)
        doomed, _ = desk.ask(OWNER, ONE)
        end_s = time.monotonic() + WAIT_S
        while any(desk.snapshot(OWNER, each)[-1].running for each in (kept, doomed)):
            assert time.monotonic() < end_s
            time.sleep(0.01)
    return {"kept": kept, "compared": compared, "doomed": doomed}


def check(
    history: Path, index: Path, told: Sequence[Mapping[str, Any]], ids: dict[str, str]
) -> None:
    """Start the next server on the file and look for all that the last one had told."""
    workspace = Workspace(index, embedder=FakeEncoder())
    with (
        closing(History(history, scope=SCOPE)) as file,
        closing(Desk(workspace, Models({}), file)),
    ):
        assert file.problem is None
        listed = {record.id: record for record in file.list(OWNER)}
        facts = {name: value for each in told for name, value in each.items()}
        (compared,) = file.load(OWNER, ids["kept"])
        assert texts(compared) == [REPLY, REPLY]
        assert compared.vote in (("left",) if "voted" in facts else (None, "left"))
        names = ("Renamed",) if "renamed" in facts else (ASKED, "Renamed")
        assert listed[ids["kept"]].name in names
        if ids["doomed"] in listed:
            assert "deleted" not in facts
            assert texts(file.load(OWNER, ids["doomed"])[0]) == [REPLY]
        shown: dict[str, Exchange] = {}
        for identifier in listed.keys() - {ids["kept"], ids["doomed"]}:
            shown |= {exchange.id: exchange for exchange in file.load(OWNER, identifier)}
        check_exchanges(shown, told)
        asked = {each["conversation"] for each in told if "asked" in each}
        assert {record.id for record in file.list(OWNER, "take TokenBucket")} >= asked
        assert ids["kept"] in {record.id for record in file.list(OWNER, "request")}
    with closing(sqlite3.connect(history)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")


def check_exchanges(shown: Mapping[str, Exchange], told: Sequence[Mapping[str, Any]]) -> None:
    """Compare the exchanges of the run with what it had told of them."""
    replaced = {each["instead_of"] for each in told if "instead_of" in each}
    answered = {each["answered"] for each in told if "answered" in each}
    stopped = {each["stopped"] for each in told if "stopped" in each}
    rated = {each["rated"] for each in told if "rated" in each}
    asked = [each["asked"] for each in told if "asked" in each]
    missing = set(asked) - replaced - shown.keys()
    if missing:  # it was replaced, and the one in its place not told of yet
        assert len(asked) == len(shown) == 2 and missing == {asked[1]}
    for identifier, exchange in shown.items():
        assert exchange.typed == ASKED
        assert not exchange.running
        for draft in exchange.drafts:
            assert REPLY.startswith(draft.text)
            if identifier in answered:
                assert draft.text == REPLY and draft.answer
            elif identifier in stopped:
                assert draft.stopped or draft.answer
            else:
                assert draft.answer or draft.stopped or draft.problem in (INTERRUPTED, SHUT_DOWN)
        if identifier in stopped:
            assert any(texts(exchange))
        if identifier in rated:
            assert (exchange.thumb, exchange.reason) == ("down", "too short")
    for each in told:
        if "saved" in each and each["saved"] in shown:
            lengths = [len(text) for text in texts(shown[each["saved"]])]
            assert all(
                now >= before for now, before in zip(lengths, each["characters"], strict=True)
            )
