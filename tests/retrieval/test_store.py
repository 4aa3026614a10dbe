"""The chunk store and the cache of embeddings, on real files."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import IndexDamagedError, QuestionError
from data_tools.sources import SkippedFile
from retrieval.embed import Vectors
from retrieval.store import ChunkStore, EmbeddingCache, embedded_text, hash_text
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
    assert store.numbers() == [0, 1, 2, 3]
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
    assert store.numbers(repos=["limits"]) == [0, 1, 2]
    assert store.numbers(languages=["markdown"]) == [2]
    assert store.numbers(paths=["src/a.py"]) == [0, 1, 3]
    assert store.numbers(repos=["other", "limits"], paths=["src/a.py"]) == [0, 1, 3]
    assert store.numbers(repos=["other"], languages=["markdown"]) == []
    assert store.numbers(repos=[]) == []
    assert store.numbers(repos=["'; DROP TABLE chunks; --"]) == []


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


def test_what_is_embedded_says_where_the_chunk_stands(make_chunk: MakeChunk) -> None:
    chunk = make_chunk("x = 1\n", path="src/a.py", symbol="Cart.add")
    assert embedded_text(chunk) == "src/a.py › Cart.add\nx = 1\n"
    assert embedded_text(make_chunk("x\n", path="a.py")) == "a.py\nx\n"


def test_the_hash_of_a_chunk_is_that_of_its_embedded_text(store: ChunkStore) -> None:
    assert store.text_hashes() == [hash_text(embedded_text(chunk)) for chunk in store.chunks()]
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


KEYS = [hash_text(text) for text in ("one", "two", "three")]


def unit_vectors(count: int, seed: int = 7) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def open_cache(folder: Path, fingerprint: str = "model") -> closing[EmbeddingCache]:
    return closing(EmbeddingCache(folder / "embeddings.sqlite", fingerprint))


def test_cached_vectors_are_the_fresh_ones_in_half_precision(tmp_path: Path) -> None:
    vectors = unit_vectors(3)
    with open_cache(tmp_path) as cache:
        assert cache.get(KEYS) == {}
        cache.put(KEYS, vectors)
        fresh = cache.get(KEYS)
    with open_cache(tmp_path) as cache:
        later = cache.get([*KEYS, b"unknown"])
    assert list(fresh) == list(later) == KEYS
    for key, vector in zip(KEYS, vectors, strict=True):
        assert fresh[key].dtype == np.float32
        np.testing.assert_array_equal(fresh[key], vector.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(fresh[key], later[key])


def test_each_model_has_vectors_of_its_own(tmp_path: Path) -> None:
    one, two = unit_vectors(3), unit_vectors(3, seed=8)
    with open_cache(tmp_path) as cache, open_cache(tmp_path, "other") as other:
        cache.put(KEYS, one)
        other.put(KEYS[:1], two[:1])
        assert list(cache.get(KEYS)) == KEYS
        assert list(other.get(KEYS)) == KEYS[:1]
        assert not np.array_equal(cache.get(KEYS)[KEYS[0]], other.get(KEYS)[KEYS[0]])


def test_pruning_forgets_other_texts_and_other_models(tmp_path: Path) -> None:
    with open_cache(tmp_path, "old model") as cache:
        cache.put(KEYS, unit_vectors(3))
    with open_cache(tmp_path) as cache:
        cache.put(KEYS, unit_vectors(3))
        cache.prune([KEYS[2], KEYS[2], KEYS[0]])
        assert list(cache.get(KEYS)) == [KEYS[0], KEYS[2]]
        cache.prune(KEYS[:1])  # it can be done again
        assert list(cache.get(KEYS)) == KEYS[:1]
    with open_cache(tmp_path, "old model") as cache:
        assert cache.get(KEYS) == {}


def overwrite(file: Path, position: int, data: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[position : position + len(data)] = data
    file.write_bytes(content)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "page", "stale journal"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    many = [hash_text(str(number)) for number in range(500)]
    file = tmp_path / "embeddings.sqlite"
    with open_cache(tmp_path) as cache:
        cache.put(many, unit_vectors(500))
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "page":
        overwrite(file, 2 * 4096, b"\xff" * 2000)
    else:
        file.write_bytes(b"garbage " * 1_000)
    if damage == "stale journal":
        (tmp_path / "embeddings.sqlite-journal").write_bytes(b"\0" * 512)
    with open_cache(tmp_path) as cache:
        assert cache.get(many) == {}
        cache.put(KEYS, unit_vectors(3))
        assert list(cache.get(KEYS)) == KEYS


def test_a_vector_that_was_altered_is_not_found(tmp_path: Path) -> None:
    vectors = unit_vectors(3)
    with open_cache(tmp_path) as cache:
        cache.put(KEYS, vectors)
    file = tmp_path / "embeddings.sqlite"
    data = vectors[1].astype(np.float16).tobytes()
    overwrite(file, file.read_bytes().index(data) + 5, b"\x55")
    with open_cache(tmp_path) as cache:
        assert list(cache.get(KEYS)) == [KEYS[0], KEYS[2]]


def test_a_cache_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "embeddings.sqlite").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        EmbeddingCache(tmp_path / "embeddings.sqlite", "model")
    assert (tmp_path / "embeddings.sqlite").is_dir()
