"""Conversations are kept in a file that survives threads, processes and what befalls a disk.

Long because all its tests share the few exchanges that they keep and read again.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.conversation import Draft, Exchange, change, end
from app.history import INTERRUPTED, UNREADABLE, History, choose_name, default_history
from app.history_schema import MIGRATIONS
from data_tools.errors import HistoryError, StorageError
from retrieval.search import Hit
from tests.fakes import MakeChunk
from tests.permissions import not_as_root

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.sqlite"


@pytest.fixture
def history(file: Path) -> Iterator[History]:
    with closing(History(file, scope="index")) as history:
        yield history


def keep(
    history: History, typed: str, *, text: str = "", to: str = "c1", owner: str = "ada"
) -> Exchange:
    """Keep a question with its answer, all done."""
    exchange = Exchange(typed, id=f"{to}-{typed}")
    history.begin(owner, to, exchange)
    exchange = end(change(exchange, 0, text=text), stopped=True)
    history.save(exchange)
    return exchange


def test_a_conversation_comes_back_whole_after_a_restart(
    history: History, file: Path, make_chunk: MakeChunk
) -> None:
    one = keep(history, "What is it?", text="A bucket.")
    two = Exchange("And how?", id="e2", evidence=(Hit(1.0, make_chunk(), None),))
    two = replace(two, drafts=(Draft("tuned", "Like so.", problem="down"),))
    history.begin("ada", "c1", two)
    history.save(two)
    history.close()
    with closing(History(file, scope="index")) as again:
        assert again.load("ada", "c1") == (one, two)


def test_conversations_are_listed_by_their_newest_question(history: History) -> None:
    keep(history, "First?", to="c1")
    keep(history, "Second?", to="c2")
    keep(history, "Third?", to="c1")
    records = history.list("ada")
    assert [(record.id, record.name, record.exchanges) for record in records] == [
        ("c1", "First?", 2),
        ("c2", "Second?", 1),
    ]
    assert records[0].created_at < records[1].created_at < records[0].updated_at


def test_nobody_sees_the_conversations_of_others_or_about_other_code(
    history: History, file: Path
) -> None:
    keep(history, "Mine?")
    assert history.list("bob") == []
    for lookup in (history.load, history.delete):
        with pytest.raises(KeyError):
            lookup("bob", "c1")
    with pytest.raises(KeyError):
        history.rename("bob", "c1", "Stolen")
    with pytest.raises(KeyError):
        history.rate("bob", "c1-Mine?", "up")
    with closing(History(file, scope="elsewhere")) as elsewhere:
        assert elsewhere.list("ada") == []
        with pytest.raises(KeyError):
            elsewhere.load("ada", "c1")
    assert [record.name for record in history.list("ada")] == ["Mine?"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("bucket", ["c1"]),
        ("BUCK refill", ["c1"]),
        ("bucket jäger", []),
        ("JÄGER", ["c2"]),
        ("50%", ["c2"]),
        ("%", ["c2"]),
        ("_", []),
        ('"quoted" OR', ["c2"]),
        ("to", ["c1"]),
        ("令牌桶", ["c2"]),
        ("renamed", ["c1"]),
        (" ", ["c2", "c1"]),
    ],
)
def test_a_search_finds_names_questions_and_answers(
    history: History, query: str, found: list[str]
) -> None:
    keep(history, "How is a token taken?", text="From the bucket.", to="c1")
    keep(history, "When?", text="At refill.", to="c1")
    keep(history, "Was macht der Jäger?", text='50% of it, "quoted" or 令牌桶限流', to="c2")
    history.rename("ada", "c1", " Renamed \n once ")
    assert [record.id for record in history.list("ada", query)] == found


def test_a_search_without_an_index_of_texts_finds_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.history_schema._can_index_trigrams", lambda connection: False)
    with closing(History(file, scope="index")) as history:
        keep(history, "Was macht der Jäger?", text="50% of it")
        assert history.list("ada", "JÄGER 50%")
        assert not history.list("ada", "Jäger nothing")


def test_a_search_does_not_find_what_was_deleted_or_replaced(history: History) -> None:
    keep(history, "The walrus?", to="c1")
    keep(history, "The carpenter?", to="c2")
    history.delete("ada", "c2")
    history.begin("ada", "c1", Exchange("The oyster?", id="new"), instead_of="c1-The walrus?")
    assert history.list("ada", "carpenter") == []
    assert [exchange.typed for exchange in history.load("ada", "c1")] == ["The oyster?"]
    history.rename("ada", "c1", "Poem")
    assert history.list("ada", "walrus") == []
    assert history.list("ada", "oyster")


def test_nothing_of_a_deleted_conversation_is_left_in_the_file(
    history: History, file: Path
) -> None:
    keep(history, "The secret walrus?", text="Knows the password hunter2.")
    history.delete("ada", "c1")
    history.close()
    assert b"hunter2" not in file.read_bytes()


def test_a_question_replaces_another_and_all_after_it(history: History) -> None:
    for typed in ("One?", "Two?", "Three?"):
        keep(history, typed)
    history.vote("ada", "c1-Two?", "left")
    history.begin("ada", "c1", Exchange("Zwei?", id="new"), instead_of="c1-Two?")
    assert [exchange.typed for exchange in history.load("ada", "c1")] == ["One?", "Zwei?"]
    assert history.list("ada")[0].exchanges == 2
    assert [exchange.typed for exchange in history.voted()] == ["Two?"]  # goes on counting


def test_thumbs_and_votes_are_kept_and_taken_back(history: History) -> None:
    told: list[str] = []
    history.watch(told.append)
    keep(history, "How?")
    history.rate("ada", "c1-How?", "down", "wrong file")
    history.vote("ada", "c1-How?", "tie")
    exchange = history.load("ada", "c1")[0]
    assert (exchange.thumb, exchange.reason, exchange.vote) == ("down", "wrong file", "tie")
    history.rate("ada", "c1-How?", None)
    assert history.load("ada", "c1")[0].thumb is None
    assert told == ["c1"] * 3


def test_a_rating_survives_what_is_saved_after_it(history: History) -> None:
    exchange = Exchange("How?", id="e1")
    history.begin("ada", "c1", exchange)
    history.rate("ada", "e1", "up")
    history.save(end(exchange, stopped=True))
    assert history.load("ada", "c1")[0].thumb == "up"


def test_texts_on_their_way_are_shown_until_the_answer_is_saved(history: History) -> None:
    exchange = Exchange("How?", id="e1", drafts=(Draft("a"), Draft("b")))
    history.begin("ada", "c1", exchange)
    history.save_texts({"e1": ("Half", "An"), "gone": ("x",)})
    history.save_texts({"e1": ("Half of", "An")})
    assert [draft.text for draft in history.load("ada", "c1")[0].drafts] == ["Half of", "An"]
    history.save(end(exchange, stopped=True))
    history.save_texts({"e1": ("too late", "")})
    assert [draft.text for draft in history.load("ada", "c1")[0].drafts] == ["", ""]


def test_what_is_saved_of_a_deleted_conversation_does_not_bring_it_back(history: History) -> None:
    exchange = Exchange("How?", id="e1")
    history.begin("ada", "c1", exchange)
    history.delete("ada", "c1")
    history.save(exchange)
    assert history.list("ada") == []


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("How  is\nit?", "How is it?"),
        ("word " * 20, "word word word word word word word word word word word word…"),
        ("x" * 80, "x" * 59 + "…"),
        ("\ud800", "?"),
        ("", "Untitled"),
    ],
)
def test_a_name_is_the_first_question_shortened_at_a_word(question: str, name: str) -> None:
    assert choose_name(question) == name


def test_several_threads_and_connections_may_write_at_once(history: History, file: Path) -> None:
    with closing(History(file, scope="index")) as other, ThreadPoolExecutor(8) as threads:
        kept = [
            threads.submit(keep, (history, other)[number % 2], f"{number}?", to=f"c{number % 5}")
            for number in range(60)
        ]
        assert all(future.result() for future in kept)
    assert sum(record.exchanges for record in history.list("ada")) == 60


# The processes of these tests run real code of the app and are killed as an operator would.
BEGIN = """
import sys, time
from pathlib import Path
from app.conversation import Draft, Exchange
from app.history import History
history = History(Path(sys.argv[1]), scope="index")
history.beat()
history.begin("ada", "c1", Exchange("How?", id="e1", drafts=(Draft("tuned"),)))
history.save_texts({"e1": ("Half of it",)})
print("ready", flush=True)
number = 0
while True:
    number += 1
    history.begin("ada", "c2", Exchange(f"{number}?", id=f"n{number}"))
    history.save_texts({"e1": ("Half of it" + "!" * number,)})
"""


@pytest.fixture
def writer(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that answers a question and writes without a pause."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_a_process_killed_while_it_writes_leaves_all_that_it_committed(
    writer: subprocess.Popen[str], file: Path
) -> None:
    time.sleep(0.2)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    with closing(History(file, scope="index")) as history:
        history.beat()
        exchange = history.load("ada", "c1")[0]
        assert exchange.drafts[0].text.startswith("Half of it")
        assert exchange.drafts[0].problem == INTERRUPTED
        numbers = [exchange.typed for exchange in history.load("ada", "c2")]
        assert numbers == [f"{number}?" for number in range(1, len(numbers) + 1)]
        assert len(numbers) > 1
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_process_that_lives_is_left_to_answer(
    writer: subprocess.Popen[str], history: History
) -> None:
    history.beat()
    assert history.load("ada", "c1")[0].running


def test_a_process_elsewhere_that_falls_silent_is_given_up(
    history: History, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(History(file, scope="index")) as other:
        monkeypatch.setattr("app.history.machine_name", lambda: "another container")
        other.begin("ada", "c1", Exchange("How?", id="e1"))
        other.beat()
        monkeypatch.undo()
        history.beat()
        assert history.load("ada", "c1")[0].running
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE runners SET beat_at = beat_at - 60")
        history.beat()
        assert history.load("ada", "c1")[0].drafts[0].problem == INTERRUPTED
        answered = change(Exchange("How?", id="e1"), 0, text="After all.", stopped=True)
        other.save(answered)  # it was only slow
        assert history.load("ada", "c1")[0].drafts[0].text == "After all."


def test_a_damaged_record_does_not_hide_the_rest(history: History, file: Path) -> None:
    keep(history, "Good?")
    keep(history, "Bad?")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE exchanges SET body = substr(body, 1, 40) WHERE id = 'c1-Bad?'")
    good, bad = history.load("ada", "c1")
    assert good.typed == "Good?"
    assert bad.drafts[0].problem == UNREADABLE


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\7" * 5000])
def test_a_damaged_file_is_refused_and_left_as_it_is(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(
        HistoryError, match=r"damaged .*: move it away.*\(mv .*conversations\.sqlite"
    ):
        History(file, scope="index")
    assert file.read_bytes() == content


def test_a_file_cut_short_is_refused(history: History, file: Path) -> None:
    for number in range(200):
        keep(history, f"{number}?", text="x" * 500, to=f"c{number}")
    history.close()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HistoryError, match="damaged"), closing(History(file, scope="index")) as cut:
        for record in cut.list("ada"):
            cut.load("ada", record.id)


def test_another_programs_database_is_refused_and_left_as_it_is(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = file.read_bytes()
    with pytest.raises(HistoryError, match="something else than conversations"):
        History(file, scope="index")
    assert file.read_bytes() == before


def test_a_file_of_a_newer_version_is_refused(history: History, file: Path) -> None:
    history.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(HistoryError, match="newer version of codeqa: update"):
        History(file, scope="index")


def test_a_file_of_an_older_version_is_brought_up_to_date(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(History(file, scope="index")) as history:
        keep(history, "How?")
    more = (*MIGRATIONS, "ALTER TABLE conversations ADD COLUMN colour TEXT")
    monkeypatch.setattr("app.history_schema.MIGRATIONS", more)
    with closing(History(file, scope="index")) as history:
        assert history.load("ada", "c1")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(more),)


def test_where_nothing_can_be_written_conversations_are_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    with closing(History(tmp_path / "file" / "conversations.sqlite", scope="index")) as history:
        assert history.problem and "choose another" in history.problem
        keep(history, "How?")
        assert history.load("ada", "c1")


@pytest.mark.parametrize("folder_mode", [0o700, 0o500])
def test_a_read_only_file_is_shown_and_what_follows_is_held_in_memory(folder_mode: int) -> None:
    with not_as_root() as folder:
        file = folder / "data" / "conversations.sqlite"
        with closing(History(file, scope="index")) as history:
            keep(history, "Before?")
        file.chmod(0o400)
        file.parent.chmod(folder_mode)
        with closing(History(file, scope="index")) as again:
            assert again.problem and "cannot write to" in again.problem
            keep(again, "After?")
            assert [exchange.typed for exchange in again.load("ada", "c1")] == ["Before?", "After?"]
        file.parent.chmod(0o700)


def test_a_full_disk_is_said_and_leaves_what_was_there(history: History) -> None:
    keep(history, "Before?")
    pages = history._connection.execute("PRAGMA page_count").fetchone()[0]
    history._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="the disk is full"):
        keep(history, "After?", text="x" * 100_000)
    assert history.load("ada", "c1")[0].typed == "Before?"
    history._connection.execute("PRAGMA max_page_count = 1000000")
    keep(history, "Later?")
    assert history.load("ada", "c1")[-1].typed == "Later?"


def test_conversations_are_private(history: History, file: Path) -> None:
    keep(history, "How?")
    for path in file.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


def test_conversations_are_kept_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_history() == tmp_path / "codeqa" / "conversations.sqlite"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_history().parts[-4:] == (".local", "share", "codeqa", "conversations.sqlite")
