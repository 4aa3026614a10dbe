"""Nearest vectors: the same as comparing every one by hand."""

from pathlib import Path

import numpy as np
import pytest

from data_tools.errors import IndexDamagedError
from retrieval.dense import DenseIndex
from retrieval.embed import Vectors


@pytest.fixture
def vectors() -> Vectors:
    drawn = np.random.default_rng(7).normal(size=(50, 8)).astype(np.float32)
    unit: Vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def test_the_nearest_are_found_best_first(vectors: Vectors) -> None:
    index = DenseIndex.build(vectors)
    assert (len(index), index.dimension) == (50, 8)
    found = index.search(vectors[7], 5)
    expected = np.argsort(-(vectors @ vectors[7]))[:5]
    assert [number for number, _ in found] == expected.tolist()
    assert found[0][1] == pytest.approx(1.0)
    assert len(index.search(vectors[7], 10**20)) == 50


def test_only_the_allowed_are_compared(vectors: Vectors) -> None:
    index = DenseIndex.build(vectors)
    assert {number for number, _ in index.search(vectors[7], 5, allowed=[3, 9])} == {3, 9}
    assert index.search(vectors[7], 5, allowed=[]) == []


def test_single_chunks_can_be_compared(vectors: Vectors) -> None:
    index = DenseIndex.build(vectors)
    np.testing.assert_allclose(
        index.cosines(vectors[7], [9, 7, 9]), vectors[[9, 7, 9]] @ vectors[7], atol=1e-6
    )
    assert index.cosines(vectors[7], []).shape == (0,)


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
