"""Conversations that are kept: every question, what came of it, and what people thought of it.

One SQLite file for all indexes of a user. Threads and processes may share it: transactions are
short, and an exchange that is being answered names the process that answers it, so that the
others know whether it still lives. Where the file cannot be written, all works as before from
memory, and `problem` says why nothing will be kept. Nothing here asks a model.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.conversation import Conversation, Exchange, Thumb, Vote, change, end
from app.exchange_json import read_exchange, write_exchange
from app.history_schema import (
    has_trigrams,
    history_errors,
    open_file,
    open_in_memory,
    transaction,
)
from app.runners import is_gone, machine_name, process_name
from data_tools.errors import StorageError

FILE_NAME = "conversations.sqlite"
MAX_NAME_CHARS = 60
TRIGRAM = 3  # characters; what is shorter is not in the index of texts
INTERRUPTED = "The server was restarted while it answered this: try again to have the whole answer."
UNREADABLE = "This exchange cannot be read any more: its record is damaged."

_OWN = "conversation_id IN (SELECT id FROM conversations WHERE scope = ? AND owner = ?)"


def default_history() -> Path:
    """Return where conversations are kept: `codeqa` in the user's data folder."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "codeqa" / FILE_NAME


@dataclass(frozen=True)
class ConversationRecord:
    """A conversation in a list.

    :param created_at: Unix seconds; so is `updated_at`, of its last question.
    :param exchanges: how many.
    """

    id: str
    name: str
    created_at: float
    updated_at: float
    exchanges: int


class History:
    """The conversations about one index, by owner; safe from several threads.

    :ivar problem: why nothing is kept, in one line that names the fix; None where all is.
    """

    def __init__(self, file: Path, *, scope: str) -> None:
        """Open the file; it is made where there is none.

        :param scope: the index folder; conversations about others are not seen.
        :raises HistoryError: it is damaged, not a file of conversations, or of a newer version.
        """
        self.file = file
        self.problem: str | None = None
        self._scope = scope
        self._runner = secrets.token_hex(8)
        self._lock = threading.RLock()
        self._watchers: list[Callable[[str], None]] = []
        try:
            self._connection = open_file(file)
        except StorageError as error:
            self.problem = str(error)
            self._connection = open_in_memory(file)
        self._trigrams = has_trigrams(self._connection)
        self._inode = None if self.problem else self._read_inode()

    def close(self) -> None:
        """Close the file; nothing can be asked of it afterwards."""
        with self._lock:
            self._connection.close()

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with the id of a conversation that was rated, renamed or deleted."""
        self._watchers.append(changed)

    def list(self, owner: str, query: str = "") -> Sequence[ConversationRecord]:
        """List conversations, the one with the newest question first.

        :param query: keeps those that hold each of its words, in their name, a question or an
            answer; case makes no difference.
        """
        conditions, values = ["scope = ?", "owner = ?"], [self._scope, owner]
        for word in query.casefold().split():
            indexed = self._trigrams and len(word) >= TRIGRAM
            conditions.append(
                "(holds(name, ?) OR id IN (SELECT conversation_id FROM exchanges WHERE number IN "
                f"(SELECT rowid FROM texts WHERE {'text MATCH ?' if indexed else 'holds(text, ?)'}"
                ")))"
            )
            phrase = '"' + word.replace('"', '""') + '"'
            values += [word, phrase if indexed else word]
        rows = self._read(
            "SELECT id, name, created_at, updated_at, (SELECT count(*) FROM exchanges "
            "WHERE conversation_id = conversations.id AND replaced = 0) AS exchanges "
            f"FROM conversations WHERE {' AND '.join(conditions)} ORDER BY updated_at DESC",
            values,
        )
        return [ConversationRecord(**row) for row in rows]

    def load(self, owner: str, conversation_id: str) -> Conversation:
        """Read a conversation whole, with what there is so far of answers on their way.

        :raises KeyError: the owner has no such conversation.
        """
        with self._lock:  # the two queries see the same
            rows = self._read(
                f"SELECT * FROM exchanges WHERE conversation_id = ? AND replaced = 0 AND {_OWN} "
                "ORDER BY number",
                (conversation_id, self._scope, owner),
            )
            pieces = self._read_pieces([row["id"] for row in rows if row["runner"]])
        if not rows:
            raise KeyError(conversation_id)
        return tuple(_read_row(row, pieces.get(row["id"], {})) for row in rows)

    def find(self, owner: str, exchange_id: str) -> str:
        """Return the id of the conversation that an exchange belongs to.

        :raises KeyError: the owner has no such exchange.
        """
        rows = self._read(
            f"SELECT conversation_id FROM exchanges WHERE id = ? AND {_OWN}",
            (exchange_id, self._scope, owner),
        )
        if not rows:
            raise KeyError(exchange_id)
        return str(rows[0]["conversation_id"])

    def rename(self, owner: str, conversation_id: str, name: str) -> None:
        """Give a conversation another name; one without letters leaves it as it is.

        :raises KeyError: the owner has no such conversation.
        :raises StorageError: the file cannot be written.
        """
        name = " ".join(name.split())
        if name:
            with self._change_one(conversation_id, conversation_id) as execute:
                execute(
                    "UPDATE conversations SET name = ? WHERE id = ? AND scope = ? AND owner = ?",
                    (_valid(name), conversation_id, self._scope, owner),
                )

    def delete(self, owner: str, conversation_id: str) -> None:
        """Delete a conversation for good.

        :raises KeyError: the owner has no such conversation.
        :raises StorageError: the file cannot be written.
        """
        with self._change_one(conversation_id, conversation_id) as execute:
            self._connection.execute(
                "DELETE FROM texts WHERE rowid IN "
                f"(SELECT number FROM exchanges WHERE conversation_id = ? AND {_OWN})",
                (conversation_id, self._scope, owner),
            )
            execute(
                "DELETE FROM conversations WHERE id = ? AND scope = ? AND owner = ?",
                (conversation_id, self._scope, owner),
            )

    def rate(self, owner: str, exchange_id: str, thumb: Thumb | None, reason: str = "") -> None:
        """Keep what a person thinks of an answer, and why; None takes it back.

        :raises KeyError: the owner has no such exchange.
        :raises StorageError: the file cannot be written.
        """
        with self._change_one(exchange_id, self.find(owner, exchange_id)) as execute:
            execute(
                "UPDATE exchanges SET thumb = ?, reason = ? WHERE id = ?",
                (thumb, _valid(reason), exchange_id),
            )

    def vote(self, owner: str, exchange_id: str, winner: Vote) -> None:
        """Keep which of the answers that were compared is better.

        :raises KeyError: the owner has no such exchange.
        :raises StorageError: the file cannot be written.
        """
        with self._change_one(exchange_id, self.find(owner, exchange_id)) as execute:
            execute("UPDATE exchanges SET vote = ? WHERE id = ?", (winner, exchange_id))

    def voted(self) -> Iterator[Exchange]:
        """Read every exchange with a vote, of all owners and indexes, in the order of asking."""
        rows = self._read("SELECT * FROM exchanges WHERE vote IS NOT NULL ORDER BY number")
        yield from (_read_row(row) for row in rows)

    def begin(
        self,
        owner: str,
        conversation_id: str,
        exchange: Exchange,
        *,
        instead_of: str | None = None,
    ) -> None:
        """Keep a question that is about to be answered by this process.

        The first question of a conversation names it.

        :param instead_of: an exchange; that one and all after it are shown no more. Votes on them
            go on counting.
        :raises StorageError: the file cannot be written.
        """
        now = time.time()
        with self._writing():
            self._connection.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at",
                (conversation_id, self._scope, owner, choose_name(exchange.typed), now, now),
            )
            if instead_of is not None:
                later = (
                    "FROM exchanges WHERE conversation_id = ? AND replaced = 0 AND number >= "
                    "(SELECT number FROM exchanges WHERE id = ?)"
                )
                replaced = (conversation_id, instead_of)
                self._connection.execute(
                    f"DELETE FROM texts WHERE rowid IN (SELECT number {later})", replaced
                )
                self._connection.execute(
                    "UPDATE exchanges SET replaced = 1, runner = NULL "
                    f"WHERE number IN (SELECT number {later})",
                    replaced,
                )
            number = self._connection.execute(
                "INSERT INTO exchanges (id, conversation_id, runner, body) VALUES (?, ?, ?, ?)",
                (exchange.id, conversation_id, self._runner, write_exchange(exchange)),
            ).lastrowid
            self._connection.execute(
                "INSERT INTO texts (rowid, text) VALUES (?, ?)", (number, _valid(exchange.typed))
            )
            if not exchange.running:
                self._save(exchange)

    def save(self, exchange: Exchange) -> None:
        """Keep how far an exchange is; nothing happens if it was deleted meanwhile.

        :raises StorageError: the file cannot be written.
        """
        with self._writing():
            self._save(exchange)

    def save_texts(self, texts: Mapping[str, Sequence[str]]) -> None:
        """Keep the texts of answers on their way: of each exchange, those of its drafts."""
        rows = [
            (number, _valid(text), exchange_id, self._runner)
            for exchange_id, drafts in texts.items()
            for number, text in enumerate(drafts)
        ]
        with self._writing():
            self._connection.executemany(
                "INSERT INTO pieces SELECT id, ?, ? FROM exchanges WHERE id = ? AND runner = ? "
                "ON CONFLICT DO UPDATE SET text = excluded.text",
                rows,
            )

    def beat(self) -> None:
        """Say that this process lives, and end what processes that do not have left unfinished.

        :raises StorageError: the file cannot be written.
        """
        own = (self._runner, machine_name(), process_name(), time.time())
        with self._writing():
            self._connection.execute("INSERT OR REPLACE INTO runners VALUES (?, ?, ?, ?)", own)
            for row in self._connection.execute("SELECT * FROM runners").fetchall():
                if is_gone(row["machine"], row["process"], row["beat_at"]):
                    self._connection.execute("DELETE FROM runners WHERE id = ?", (row["id"],))
            left = self._connection.execute(
                "SELECT * FROM exchanges WHERE runner NOT IN (SELECT id FROM runners)"
            ).fetchall()
            pieces = self._read_pieces([row["id"] for row in left])
            for row in left:
                exchange = _read_row(row, pieces.get(row["id"], {}))
                self._save(end(exchange, problem=INTERRUPTED))

    def leave(self) -> None:
        """Say that this process answers nothing any more."""
        with self._writing():
            self._connection.execute("DELETE FROM runners WHERE id = ?", (self._runner,))

    def _save(self, exchange: Exchange) -> None:
        found = self._connection.execute(
            "UPDATE exchanges SET body = ?, runner = iif(?, runner, NULL) WHERE id = ? "
            "RETURNING number, replaced",
            (write_exchange(exchange), exchange.running, exchange.id),
        ).fetchall()
        if not found or exchange.running:
            return
        self._connection.execute("DELETE FROM pieces WHERE exchange_id = ?", (exchange.id,))
        if not found[0]["replaced"]:
            texts = [draft.answer.text if draft.answer else draft.text for draft in exchange.drafts]
            self._connection.execute(
                "UPDATE texts SET text = ? WHERE rowid = ?",
                (_valid("\n".join([exchange.typed, *texts])), found[0]["number"]),
            )

    def _read_pieces(self, exchange_ids: Sequence[str]) -> dict[str, dict[int, str]]:
        pieces: dict[str, dict[int, str]] = {}
        for exchange_id in exchange_ids:
            rows = self._read("SELECT * FROM pieces WHERE exchange_id = ?", (exchange_id,))
            pieces[exchange_id] = {row["draft"]: row["text"] for row in rows}
        return pieces

    def _read(self, query: str, values: Sequence[object] = ()) -> Sequence[Any]:
        with self._lock, history_errors(self.file):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._inode is not None and self._inode != self._read_inode():
            raise StorageError(  # SQLite would go on writing to what nobody can open any more
                f"{self.file} was taken away while it was in use: start codeqa again"
            )
        with self._lock, history_errors(self.file), transaction(self._connection):
            yield

    def _read_inode(self) -> int:
        try:
            return self.file.stat().st_ino
        except OSError:
            return 0

    @contextmanager
    def _change_one(
        self, key: str, conversation_id: str
    ) -> Iterator[Callable[[str, Sequence[object]], None]]:
        """Give what executes a change of one row; raise KeyError if there was none."""

        def execute(query: str, values: Sequence[object]) -> None:
            if self._connection.execute(query, values).rowcount != 1:
                raise KeyError(key)

        with self._writing():
            yield execute
        for changed in self._watchers:
            changed(conversation_id)


def choose_name(question: str) -> str:
    """Name a conversation by its first question, shortened at a word."""
    name = _valid(" ".join(question.split())) or "Untitled"
    if len(name) <= MAX_NAME_CHARS:
        return name
    cut = name[:MAX_NAME_CHARS]
    return (cut.rpartition(" ")[0] or cut[:-1]).rstrip(" ,.;:") + "…"


def _read_row(row: Any, pieces: Mapping[int, str] = {}) -> Exchange:  # noqa: ANN401, B006
    try:
        exchange = read_exchange(row["body"])
    except ValueError:
        return end(Exchange("", id=row["id"]), problem=UNREADABLE)
    exchange = replace(exchange, thumb=row["thumb"], reason=row["reason"], vote=row["vote"])
    for number, text in pieces.items():
        if number < len(exchange.drafts) and exchange.drafts[number].running:
            exchange = change(exchange, number, text=text)
    return exchange


def _valid(text: str) -> str:
    """Leave out what is no text: SQLite takes no lone surrogates."""
    return text.encode("utf-8", "replace").decode()
