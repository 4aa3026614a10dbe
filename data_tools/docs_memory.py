"""What was read of a documentation site before, so that an update fetches only what changed.

One SQLite file a site in the user's cache, written page by page: a crawl that was interrupted goes
on where it was. Deleting it costs another crawl and nothing else; a file that another version
wrote, or that cannot be read, is started afresh.
"""

import contextlib
import json
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from data_tools.docs_crawl import Page
from data_tools.docs_page import Anchor, Document

VERSION = 1  # of what is made of a page; raised when the same HTML gives another text
_TABLES = """
CREATE TABLE IF NOT EXISTS pages (asked TEXT PRIMARY KEY, page TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reads (number INTEGER PRIMARY KEY, digest TEXT NOT NULL,
                                  changed_at REAL NOT NULL, read_at REAL NOT NULL);
"""


class SiteMemory:
    """The pages of one site; a `PageMemory`. Use it as a context manager.

    :raises OSError: the folder cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._asked: set[str] = set()
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = _open(file)
        except sqlite3.DatabaseError:
            file.unlink()
            self._connection = _open(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def get(self, url: str) -> Page | None:
        """Return the page that was read at an address, if there is one."""
        self._asked.add(url)
        row = self._connection.execute("SELECT page FROM pages WHERE asked = ?", (url,)).fetchone()
        return _read_page(row[0]) if row else None

    def put(self, url: str, page: Page) -> None:
        """Remember a page."""
        record = {
            "url": page.url,
            "text": page.document.text,
            "anchors": page.document.anchors,
            "links": page.document.links,
            "moved_to": page.document.moved_to,
            "sha256": page.sha256,
            "conditions": page.conditions,
        }
        with self._connection as connection:
            connection.execute("REPLACE INTO pages VALUES (?, ?)", (url, json.dumps(record)))

    def forget(self, url: str) -> None:
        """Forget a page that is no more."""
        with self._connection as connection:
            connection.execute("DELETE FROM pages WHERE asked = ?", (url,))

    def note_read(self, digest: str) -> int:
        """Note that the whole site was read just now; pages that no link led to are forgotten.

        :param digest: of all that it says.
        :return: when it first said that, in Unix seconds.
        """
        now = time.time()
        row = self._connection.execute("SELECT digest, changed_at FROM reads").fetchone()
        changed_at = row[1] if row and row[0] == digest else now
        led_to = json.dumps(sorted(self._asked))
        with self._connection as connection:
            connection.execute("REPLACE INTO reads VALUES (1, ?, ?, ?)", (digest, changed_at, now))
            connection.execute(
                "DELETE FROM pages WHERE asked NOT IN (SELECT value FROM json_each(?))", (led_to,)
            )
        return int(changed_at)


def when_read(file: Path) -> float | None:
    """Return when a site was last read whole, in Unix seconds; None where that is not known."""
    if not file.is_file():
        return None
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(_open(file)) as connection:
        row = connection.execute("SELECT read_at FROM reads").fetchone()
        return float(row[0]) if row else None
    return None


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=30)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            connection.executescript("DROP TABLE IF EXISTS pages; DROP TABLE IF EXISTS reads;")
        # No waiting for the disk: what a crash of the machine takes is only a cache.
        connection.executescript(
            f"PRAGMA synchronous = OFF; {_TABLES} PRAGMA user_version = {VERSION};"
        )
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _read_page(text: str) -> Page:
    record = json.loads(text)
    document = Document(
        record["text"],
        tuple(Anchor(*anchor) for anchor in record["anchors"]),
        tuple(record["links"]),
        record["moved_to"],
    )
    return Page(record["url"], document, record["sha256"], record["conditions"])
