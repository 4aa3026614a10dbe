"""The file of conversations: its tables, how it is opened, and what its faults mean to a user.

One SQLite file in WAL mode, so that readers and the one writer of the moment do not wait for each
other, and a process that dies leaves what it committed. WAL needs shared memory: processes of one
machine may share the file, not machines that share a network folder. A file that is damaged, or
none of ours, is refused and left as it is.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from data_tools.errors import HistoryError, StorageError
from data_tools.storage import disk_full, storage_errors

APPLICATION_ID = 0x63716131  # "cqa1" in the file's header: the file is ours
BUSY_TIMEOUT_S = 5.0  # a transaction of another process takes milliseconds

# A running exchange names its `runner`, the process that answers it; the pieces of its text stand
# in `pieces` until it ends. `body` comes last: it is long, and mostly not asked for.
_FIRST = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX conversations_by_owner ON conversations (scope, owner, updated_at);
CREATE TABLE exchanges (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    replaced INTEGER NOT NULL DEFAULT 0,
    runner TEXT,
    thumb TEXT,
    reason TEXT NOT NULL DEFAULT '',
    vote TEXT,
    body TEXT NOT NULL
);
CREATE INDEX exchanges_by_conversation ON exchanges (conversation_id, replaced);
CREATE INDEX exchanges_running ON exchanges (runner) WHERE runner IS NOT NULL;
CREATE INDEX exchanges_voted ON exchanges (vote) WHERE vote IS NOT NULL;
CREATE TABLE pieces (
    exchange_id TEXT NOT NULL REFERENCES exchanges (id) ON DELETE CASCADE,
    draft INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (exchange_id, draft)
) WITHOUT ROWID;
CREATE TABLE runners (
    id TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    process TEXT NOT NULL,
    beat_at REAL NOT NULL
) WITHOUT ROWID;
"""
_TEXTS = {
    True: "CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'trigram')",
    False: "CREATE TABLE texts (text TEXT NOT NULL)",
}
MIGRATIONS = (_FIRST,)  # forward only; `PRAGMA user_version` counts those that were made


def open_file(file: Path) -> sqlite3.Connection:
    """Open the file, made or brought up to date where need be.

    :return: a connection that any thread may use, one at a time; transactions are begun by hand.
    :raises StorageError: it cannot be written.
    :raises HistoryError: it is damaged, not a file of conversations, or of a newer version.
    """
    with storage_errors(file.parent):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)  # conversations are private; SQLite's own files beside it follow
    with history_errors(file):
        connection = connect(str(file))
        try:
            _migrate(connection, file)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a power cut loses nothing either
        except BaseException:
            connection.close()
            raise
        return connection


def open_in_memory(file: Path) -> sqlite3.Connection:
    """Open what takes the place of a file that cannot be written: a copy of it, or nothing."""
    connection = connect(":memory:")
    if file.is_file():
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(connect(f"{file.resolve().as_uri()}?immutable=1")) as source,
        ):
            source.backup(connection)
    try:
        with history_errors(file):
            _migrate(connection, file)
    except HistoryError:
        connection.close()
        raise
    return connection


def connect(place: str) -> sqlite3.Connection:
    """Open a connection as both of the above need it."""
    connection = sqlite3.connect(
        place,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        uri=place.startswith("file:"),
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.create_function("holds", 2, _holds, deterministic=True)
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all that follows, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def history_errors(file: Path) -> Iterator[None]:
    """Turn what SQLite says of the file into an error that names the fix.

    :raises StorageError: it cannot be written: no space, no permission, held by another, taken
        away.
    :raises HistoryError: it is damaged, or no file of conversations.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the high bits are details
        if code == sqlite3.SQLITE_FULL:
            raise disk_full(file.parent) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageError(f"{file} is held by another program; close that one") from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise HistoryError(_refusal(file, f"is damaged ({error})")) from error
        if "no such module" in str(error):
            raise HistoryError(_refusal(file, "needs SQLite with FTS5")) from error
        raise StorageError(
            f"cannot write to {file} ({error}); mend that, or choose another with --history"
        ) from error


def has_trigrams(connection: sqlite3.Connection) -> bool:
    """Tell whether texts are indexed, so that `MATCH` finds what they hold."""
    query = "SELECT sql FROM sqlite_master WHERE name = 'texts'"
    return "VIRTUAL" in connection.execute(query).fetchone()[0]


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    with transaction(connection):
        version, ours = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "application_id")
        )
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and ours != APPLICATION_ID:
            raise HistoryError(_refusal(file, "holds something else than conversations"))
        if version > len(MIGRATIONS):
            raise HistoryError(
                f"{file} was written by a newer version of codeqa: update codeqa, or choose "
                "another file with --history"
            )
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):  # `executescript` would commit before it begins
                connection.execute(statement)
        if not version:
            connection.execute(_TEXTS[_can_index_trigrams(connection)])
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # Written in any case: what cannot be written is to show now, not at the first question.
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("SELECT count(*) FROM conversations").fetchone()


def _can_index_trigrams(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.probe USING fts5 (t, tokenize = 'trigram')")
    except sqlite3.OperationalError:
        return False
    connection.execute("DROP TABLE temp.probe")
    return True


def _refusal(file: Path, problem: str) -> str:
    return (
        f"{file} {problem}: move it away, with its -wal and -shm files (mv {file} {file}.old), "
        "or choose another file with --history"
    )


def _holds(text: str, folded: str) -> bool:
    """Tell whether a text holds another, which is in folded case."""
    return folded in text.casefold()
