"""The cache of embeddings, on real files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from retrieval.embedder import Vectors
from retrieval.embedding_cache import LOOKED_UP_AT_ONCE, SPAN, EmbeddingCache
from retrieval.views import hash_text

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


def test_more_vectors_are_found_than_are_looked_up_or_held_at_once(tmp_path: Path) -> None:
    count = SPAN + 2 * LOOKED_UP_AT_ONCE + 1
    keys = [hash_text(str(number)) for number in range(count)]
    vectors = unit_vectors(count)
    with open_cache(tmp_path) as cache:
        cache.put(keys, vectors)
        spans = list(cache.spans([*keys, keys[0]]))
    assert [len(span) for span in spans] == [SPAN, count + 1 - SPAN]
    halves = vectors.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate(spans), np.concatenate([halves, halves[:1]]))


def test_what_is_known_is_what_can_be_read(tmp_path: Path) -> None:
    vectors = unit_vectors(3)
    with open_cache(tmp_path) as cache, open_cache(tmp_path, "other") as other:
        assert cache.known(KEYS) == set()
        cache.put(KEYS, vectors)
        other.put([hash_text("four")], vectors[:1])
        assert cache.known([*KEYS[1:], hash_text("four")]) == set(KEYS[1:])
    file = tmp_path / "embeddings.sqlite"
    overwrite(file, file.read_bytes().index(vectors[1].astype(np.float16).tobytes()) + 5, b"\x55")
    with open_cache(tmp_path) as cache:
        assert cache.known(KEYS) == {KEYS[0], KEYS[2]}
        with pytest.raises(KeyError):
            list(cache.spans(KEYS))


@pytest.mark.parametrize(
    "change",
    ["text_hash = CAST(text_hash AS TEXT)", "vector = 7", "vector = NULL", "vector = 'text'"],
)
def test_what_damage_gave_another_type_is_computed_again(tmp_path: Path, change: str) -> None:
    vectors = unit_vectors(3)
    with open_cache(tmp_path) as cache:
        cache.put(KEYS, vectors)
    with closing(sqlite3.connect(tmp_path / "embeddings.sqlite")) as connection, connection:
        connection.execute(f"UPDATE vectors SET {change} WHERE text_hash = ?", KEYS[1:2])
    with open_cache(tmp_path) as cache:
        assert cache.known(KEYS) == {KEYS[0], KEYS[2]}
        assert list(cache.get(KEYS)) == [KEYS[0], KEYS[2]]
        cache.put(KEYS[1:2], vectors[1:2])
        assert cache.known(KEYS) == set(KEYS)
