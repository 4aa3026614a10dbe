"""The chunk store, on real files."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from data_tools.errors import IndexDamagedError, QuestionError
from data_tools.sources import SkippedFile
from retrieval.store import ChunkStore
from retrieval.views import hash_views
from tests.fakes import MakeChunk


@pytest.fixture
def store(tmp_path: Path, make_chunk: MakeChunk) -> Iterator[ChunkStore]:
    with closing(ChunkStore.create(tmp_path / "chunks.sqlite")) as made:
        made.add(
            [make_chunk("a\n", path="src/a.py"), make_chunk("b\n", path="src/a.py", start_line=2)]
        )
        made.add([], [SkippedFile("limits", "logo.png", "binary")])
        made.add([make_chunk("# t\n", path="docs/t.md", language="markdown")])
        made.add(
            [make_chunk("a\n", repo="other", path="src/a.py", commit="d" * 40)],
            [SkippedFile("other", "a.min.js", "minified (by its name)")],
        )
        made.finish()
    with closing(ChunkStore.open(tmp_path / "chunks.sqlite")) as opened:
        yield opened


def test_chunks_are_numbered_in_the_order_they_were_added(store: ChunkStore) -> None:
    assert len(store) == 4
    assert store.numbers().tolist() == [0, 1, 2, 3]
    texts = [chunk.text for chunk in store.chunks()]
    assert texts == ["a\n", "b\n", "# t\n", "a\n"]
    assert [chunk.commit[0] for chunk in store.chunks("other")] == ["d"]


def test_chunks_come_back_whole_and_in_the_order_asked_for(
    store: ChunkStore, make_chunk: MakeChunk
) -> None:
    chunks = list(store.chunks())
    assert store.get([3, 0, 2]) == [chunks[3], chunks[0], chunks[2]]
    assert store.get([1]) == [make_chunk("b\n", path="src/a.py", start_line=2)]
    assert store.get([]) == []


def test_more_chunks_may_be_asked_for_than_sqlite_takes_variables(
    tmp_path: Path, make_chunk: MakeChunk
) -> None:
    count = 40_000
    with closing(ChunkStore.create(tmp_path / "large.sqlite")) as store:
        store.add(make_chunk(f"{number}") for number in range(count))
        numbers = list(range(count))[::-1]
        assert [chunk.text for chunk in store.get(numbers)] == [str(n) for n in numbers]
        assert [chunk.text for chunk in store.chunks()] == [str(n) for n in range(count)]


def test_a_file_s_chunks_are_together_the_file(store: ChunkStore) -> None:
    assert "".join(chunk.text for chunk in store.file_chunks("limits", "src/a.py")) == "a\nb\n"
    assert store.file_chunks("limits", "src/none.py") == []


def test_filters_narrow_together_and_an_empty_one_lets_nothing_pass(store: ChunkStore) -> None:
    assert store.numbers(repos=["limits"]).tolist() == [0, 1, 2]
    assert store.numbers(languages=["markdown"]).tolist() == [2]
    assert store.numbers(paths=["src/a.py"]).tolist() == [0, 1, 3]
    assert store.numbers(repos=["other", "limits"], paths=["src/a.py"]).tolist() == [0, 1, 3]
    assert store.numbers(repos=["other"], languages=["markdown"]).tolist() == []
    assert store.numbers(repos=[]).tolist() == []
    assert store.numbers(repos=["'; DROP TABLE chunks; --"]).tolist() == []


def test_path_patterns_are_those_of_gitignore(store: ChunkStore) -> None:
    assert store.match_paths("*.py") == store.match_paths("src/") == ["src/a.py"]
    assert store.match_paths("/docs/**") == store.match_paths("*.md") == ["docs/t.md"]
    assert store.match_paths("a") == []
    with pytest.raises(QuestionError, match="not a pattern for paths"):
        store.match_paths("!")


def test_languages_are_counted_by_file_most_first(store: ChunkStore) -> None:
    assert store.languages() == [("python", 2), ("markdown", 1)]
    assert store.languages("other") == [("python", 1)]


def test_what_was_skipped_is_kept_with_its_reason(store: ChunkStore) -> None:
    assert [file.path for file in store.skipped()] == ["logo.png", "a.min.js"]
    assert store.skipped("limits") == [SkippedFile("limits", "logo.png", "binary")]


def test_chunks_that_are_embedded_alike_share_a_hash(store: ChunkStore) -> None:
    assert store.text_hashes() == [hash_views(chunk) for chunk in store.chunks()]
    assert store.text_hashes()[0] == store.text_hashes()[3]


def test_many_threads_read_at_once(store: ChunkStore) -> None:
    whole = list(store.chunks())

    def read(number: int) -> bool:
        picked = [number % 4, (number + 1) % 4]
        return store.get(picked) == [whole[n] for n in picked] and list(store.chunks()) == whole

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(400)))


@pytest.mark.parametrize(
    "content", [b"", b"garbage " * 1_000, b"SQLite format 3\0" + b"\0" * 4_080]
)
def test_garbage_is_no_chunk_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "chunks.sqlite").write_bytes(content)
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        ChunkStore.open(tmp_path / "chunks.sqlite")
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        ChunkStore.open(tmp_path / "none.sqlite")


def altered(file: Path, statement: str) -> ChunkStore:
    """The store after a change that no page of SQLite shows."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)
    return ChunkStore.open(file)


@pytest.mark.parametrize(
    "change",
    [
        "text = 'else'",
        "path = 'src/other.py'",
        "repo = 'other'",
        "start_line = 7",
        "text = CAST('b' AS BLOB)",
        "symbol = NULL",
        "number = 9",
        "checksum = 0",
    ],
)
def test_a_chunk_that_was_altered_is_not_given_out(
    store: ChunkStore, tmp_path: Path, change: str
) -> None:
    file = tmp_path / "chunks.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE loose AS SELECT * FROM chunks")  # takes NULL, too
        connection.executescript("DROP TABLE chunks; ALTER TABLE loose RENAME TO chunks")
    with closing(altered(file, f"UPDATE chunks SET {change} WHERE number = 1")) as damaged:
        assert [chunk.text for chunk in damaged.get([0, 2])] == ["a\n", "# t\n"]
        problem = "missing or was altered"
        with pytest.raises(IndexDamagedError, match=problem):
            damaged.get([0, 1])
        with pytest.raises(IndexDamagedError, match=problem):
            list(damaged.chunks())
        with pytest.raises(IndexDamagedError, match=problem):
            damaged.file_chunks("limits", "src/a.py")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("chunks = 1", "does not hold all of 'src/a.py'"),
        ("chunks = 3", "does not hold all of 'src/a.py'"),
        ("first = 1, chunks = 1", "does not hold all of 'src/a.py'"),
        ("chunks = 1 << 50", "chunks that there are not"),
        ("first = -1", "chunks that there are not"),
        ("first = 'none'", "no numbers of chunks"),
        ("chunks = NULL", "no numbers of chunks"),
    ],
)
def test_a_file_is_shown_whole_or_not_at_all(
    store: ChunkStore, tmp_path: Path, change: str, problem: str
) -> None:
    statement = f"UPDATE files SET {change} WHERE repo = 'limits' AND path = 'src/a.py'"
    with closing(altered(tmp_path / "chunks.sqlite", statement)) as damaged:
        with pytest.raises(IndexDamagedError, match=problem):
            damaged.file_chunks("limits", "src/a.py")
        assert len(damaged.file_chunks("other", "src/a.py")) == 1


def test_a_chunk_that_is_not_there_is_damage(store: ChunkStore) -> None:
    with pytest.raises(IndexDamagedError, match="chunk 4 is missing"):
        store.get([0, 4])
