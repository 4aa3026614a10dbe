"""Nearest vectors: the same as comparing every one by hand, or nearly so in a large index."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import IndexDamagedError
from retrieval.dense import FEW, HALVES, DenseIndex
from retrieval.embedder import Vectors
from retrieval.half_vectors import BYTES, CHECKSUM_BYTES, HalfVectors

FORMS = {"exact": 10**9, "clustered": 0}


def drawn(count: int, dimension: int, *, centres: int = 0) -> Vectors:
    """Draw unit vectors, around some centres as those of real texts lie."""
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(count, dimension))
    if centres:
        vectors = (
            0.7 * vectors
            + generator.normal(size=(centres, dimension))[generator.integers(0, centres, count)]
        )
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    halves: Vectors = vectors.astype(np.float16).astype(np.float32)  # as the cache keeps them
    return halves


def nearest(vectors: Vectors, query: Vectors, limit: int) -> list[int]:
    found: list[int] = np.argsort(-(vectors @ query), kind="stable")[:limit].tolist()
    return found


@pytest.fixture
def vectors() -> Vectors:
    return drawn(50, 8)


@pytest.fixture(params=list(FORMS.values()), ids=list(FORMS))
def index(request: pytest.FixtureRequest, vectors: Vectors, tmp_path: Path) -> DenseIndex:
    """The same vectors in either form, written in two spans and read back."""
    file = tmp_path / "vectors.faiss"
    DenseIndex.create(file, [vectors[:20], vectors[20:]], exact_up_to=request.param)
    assert file.with_suffix(HALVES).exists() == (request.param == 0)
    return DenseIndex.open(file)


def test_the_nearest_are_found_best_first(vectors: Vectors, index: DenseIndex) -> None:
    assert (len(index), index.dimension) == (50, 8)
    found = index.search(vectors[7], 5)
    assert [number for number, _ in found] == nearest(vectors, vectors[7], 5)
    assert found[0][1] == pytest.approx(1.0, abs=1e-3)
    assert len(index.search(vectors[7], 10**20)) == 50


def test_only_the_allowed_are_compared(vectors: Vectors, index: DenseIndex) -> None:
    assert {number for number, _ in index.search(vectors[7], 5, allowed=[3, 9])} == {3, 9}
    assert index.search(vectors[7], 5, allowed=[]) == []


def test_single_chunks_can_be_compared(vectors: Vectors, index: DenseIndex) -> None:
    np.testing.assert_allclose(
        index.cosines(vectors[7], [9, 7, 9]), vectors[[9, 7, 9]] @ vectors[7], atol=1e-6
    )
    assert index.cosines(vectors[7], []).shape == (0,)


def test_equal_vectors_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    same = np.tile(drawn(1, 8), (200, 1))
    for form in FORMS.values():
        index = DenseIndex.create(tmp_path / "vectors.faiss", [same], exact_up_to=form)
        assert [number for number, _ in index.search(same[0], 200)] == list(range(200))


@pytest.mark.parametrize("form", list(FORMS.values()), ids=list(FORMS))
def test_of_many_allowed_the_nearest_are_found_wherever_they_lie(tmp_path: Path, form: int) -> None:
    """The allowed lie far from the question: the clusters around it hold few of them."""
    vectors = drawn(4 * FEW, 32, centres=40)
    query = vectors[0]
    allowed = np.sort(np.argsort(vectors @ query)[: FEW + 1])
    index = DenseIndex.create(tmp_path / "vectors.faiss", [vectors], exact_up_to=form)
    found = [number for number, _ in index.search(query, 10, allowed=allowed)]
    expected = allowed[nearest(vectors[allowed], query, 10)].tolist()
    assert found == expected


def test_a_large_index_finds_what_an_exact_one_finds(tmp_path: Path) -> None:
    vectors = drawn(30_000, 32, centres=300)
    queries = drawn(30_100, 32, centres=300)[-100:]
    index = DenseIndex.create(tmp_path / "vectors.faiss", [vectors])
    row_bytes = vectors.shape[1] * BYTES + CHECKSUM_BYTES
    assert (tmp_path / "vectors.f16").stat().st_size == len(vectors) * row_bytes
    found = [{number for number, _ in index.search(query, 10)} for query in queries]
    exact = [set(nearest(vectors, query, 10)) for query in queries]
    shares = [len(a & b) / 10 for a, b in zip(found, exact, strict=True)]
    assert np.mean(shares) >= 0.98


def test_the_same_vectors_give_the_same_clusters(tmp_path: Path) -> None:
    vectors = drawn(3_000, 32, centres=30)
    for name, size in (("one", 3_000), ("two", 700)):
        spans = [vectors[start : start + size] for start in range(0, 3_000, size)]
        DenseIndex.create(tmp_path / name, spans, exact_up_to=0)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one.f16").read_bytes() == (tmp_path / "two.f16").read_bytes()


def test_a_written_index_is_read_back_the_same(vectors: Vectors, tmp_path: Path) -> None:
    DenseIndex.build(vectors).write(tmp_path / "vectors.faiss")
    opened = DenseIndex.open(tmp_path / "vectors.faiss")
    assert opened.search(vectors[7], 50) == DenseIndex.build(vectors).search(vectors[7], 50)


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"garbage " * 100)
    for name in ("garbage", "none"):
        with pytest.raises(IndexDamagedError, match="is no FAISS index"):
            DenseIndex.open(tmp_path / name)
    with pytest.raises(OSError, match="cannot write"):
        DenseIndex.build(np.ones((1, 1), np.float32)).write(tmp_path / "none" / "vectors")


def test_vectors_that_are_missing_or_cut_short_are_refused(
    vectors: Vectors, tmp_path: Path
) -> None:
    file = tmp_path / "vectors.faiss"
    DenseIndex.create(file, [vectors], exact_up_to=0)
    halves = file.with_suffix(HALVES)
    whole = halves.read_bytes()
    for data, problem in (
        (whole[:-3], "ends within a vector"),
        (whole[: len(whole) // 50 * 49], "50 vectors, and 49 lie beside it"),
    ):
        halves.write_bytes(data)
        with pytest.raises(IndexDamagedError, match=problem):
            DenseIndex.open(file)
    halves.unlink()
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        DenseIndex.open(file)


def test_an_altered_vector_is_not_given_out(vectors: Vectors, tmp_path: Path) -> None:
    HalfVectors.write(tmp_path / "v", [vectors])
    data = bytearray((tmp_path / "v").read_bytes())
    data[7 * (8 * BYTES + CHECKSUM_BYTES)] ^= 1
    (tmp_path / "v").write_bytes(data)
    halves = HalfVectors(tmp_path / "v", 8)
    np.testing.assert_array_equal(halves.read(np.array([6, 8])), vectors[[6, 8]])
    with pytest.raises(IndexDamagedError, match="was altered"):
        halves.read(np.array([6, 7]))
    with pytest.raises(IndexDamagedError, match="was altered"):
        list(halves.spans())


@pytest.mark.parametrize("form", list(FORMS.values()), ids=list(FORMS))
@pytest.mark.parametrize("number", [-1, 50, 1 << 62])
def test_a_vector_that_there_is_not_is_damage(
    vectors: Vectors, tmp_path: Path, form: int, number: int
) -> None:
    index = DenseIndex.create(tmp_path / "vectors.faiss", [vectors], exact_up_to=form)
    with pytest.raises(IndexDamagedError, match="asked for"):
        index.cosines(vectors[0], [0, number])


def test_a_file_of_vectors_that_shrinks_while_it_is_read_is_no_silent_error(
    vectors: Vectors, tmp_path: Path
) -> None:
    assert HalfVectors.write(tmp_path / "v", [vectors[:20], vectors[20:]]) == 50
    halves = HalfVectors(tmp_path / "v", 8)
    np.testing.assert_array_equal(np.concatenate(list(halves.spans())), vectors)
    np.testing.assert_array_equal(halves.read(np.array([9, 0, 9])), vectors[[9, 0, 9]])
    (tmp_path / "v").write_bytes(b"")
    with pytest.raises(IndexDamagedError, match="altered or cut short"):
        halves.read(np.array([3]))
