"""What the scale benchmark makes is as it says: counted on small sizes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cost_curve import draw_cost_curve
from benchmarks.growth import (
    GrownText,
    GrownVectors,
    compare_statistics,
    count_tokens,
    nearest_neighbours,
)
from benchmarks.scale import build_grown
from benchmarks.scale_search import exact_nearest, recall
from retrieval import CodeIndex
from retrieval.build import EMBEDDINGS
from retrieval.dense import DenseIndex
from retrieval.embedder import Vectors
from retrieval.lexical import tokenize
from tests.fakes import FakeEncoder, MakeChunk


@pytest.fixture
def text(make_chunk: MakeChunk) -> GrownText:
    """500 chunks whose words are as frequent as Zipf's law has it."""
    generator = np.random.default_rng(7)
    letters = "abcdefghij"

    def word(rank: int) -> str:
        return "w" + "".join(letters[int(digit)] for digit in str(rank))

    def body() -> str:
        return " ".join(word(rank) for rank in generator.zipf(1.3, 60) if rank < 10**6)

    return GrownText(
        [
            make_chunk(f"def {word(n + 1)}():\n    {body()}\n", path=f"src/m{n}.py")
            for n in range(500)
        ]
    )


def test_the_vocabulary_grows_and_common_words_stay_common(text: GrownText) -> None:
    one, two = list(text.copy(0)), list(text.copy(1))
    assert 0.2 < text.exponent < 0.9
    grown = count_tokens([*one, *two]) / count_tokens(one)
    assert 1 + 0.5 * (text.vocabulary(2) - 1) < grown < 1 + 1.5 * (text.vocabulary(2) - 1)
    before = Counter(token for chunk in one for token in tokenize(chunk.text))
    after = Counter(token for chunk in two for token in tokenize(chunk.text))
    common = [token for token, _ in before.most_common(5)]
    assert [after[token] for token in common] == [before[token] for token in common]


def test_a_word_is_renamed_wherever_it_stands_in_a_copy(make_chunk: MakeChunk) -> None:
    filler = [make_chunk(f"common words {n}\n") for n in range(300)]
    chunk = make_chunk(
        "common Quasar:\n    QUASAR = quasar_field\n", path="a/quasar.py", symbol="Quasar"
    )
    text = GrownText([chunk, *filler])
    copies = (next(iter(text.copy(number))) for number in range(1, 50))
    renamed = next(copy for copy in copies if copy.symbol != "Quasar")
    new = renamed.symbol
    assert new.istitle()
    assert renamed.text.startswith(f"common {new}:\n    {new.upper()} = {new.lower()}_")
    assert renamed.path.endswith(f"a/{new.lower()}.py")
    assert renamed.repo != chunk.repo and renamed.start_line == chunk.start_line


def test_copies_are_the_same_each_time_and_differ_from_each_other(text: GrownText) -> None:
    assert list(text.copy(3)) == list(text.copy(3))
    texts = [{chunk.text for chunk in text.copy(number)} for number in range(3)]
    assert not texts[0] >= texts[1] and not texts[1] >= texts[2]


def unit_vectors(count: int) -> Vectors:
    """Vectors of some directions more than of others, in groups, as real ones lie."""
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(count // 10, 32))[generator.integers(0, count // 10, count)]
    vectors = vectors + 0.5 * generator.normal(size=(count, 32)) * np.linspace(0.2, 1.5, 32)
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def test_vectors_are_moved_as_far_as_neighbours_lie_and_in_their_directions() -> None:
    vectors = unit_vectors(600)
    grown = GrownVectors(vectors)
    np.testing.assert_array_equal(grown.copy(0), vectors)
    moved = grown.copy(1)
    np.testing.assert_array_equal(moved, grown.copy(1))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-5)
    neighbours, cosines = nearest_neighbours(vectors, vectors)
    expected = 1 / np.sqrt(2 - cosines)  # a move of squared length 1 - cosine, at right angles
    assert np.mean(np.sum(moved * vectors, axis=1)) == pytest.approx(np.mean(expected), abs=0.02)
    spread, wanted = np.var(moved - vectors, axis=0), np.var(vectors[neighbours] - vectors, axis=0)
    assert np.corrcoef(spread, wanted)[0, 1] > 0.9


def test_statistics_are_medians_of_cosines() -> None:
    vectors = np.eye(20, dtype=np.float32)
    vectors[1] = [0.6, 0.8, *[0] * 18]
    found = compare_statistics(vectors, vectors[:1])
    assert found.neighbour == pytest.approx(0.0)
    assert (found.first, found.tenth, found.any) == pytest.approx((1.0, 0.0, 0.0))


def test_recall_is_the_share_of_the_exactly_nearest_that_were_found() -> None:
    exact = exact_nearest(
        DenseIndex.build(np.eye(12, dtype=np.float32)), np.eye(12, dtype=np.float32)[:2]
    )
    assert exact.shape == (2, 10) and exact[:, 0].tolist() == [0, 1]
    found = [[(int(number), 0.0) for number in row[:5]] for row in exact]
    assert recall(found, exact) == 0.5


def test_a_grown_index_is_one_that_can_be_opened_and_searched(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    CodeIndex.build([str(tiny_repo)], tmp_path / "real", embedder=fake_encoder).close()
    questions = fake_encoder.embed(["token bucket", "wait and retry"])
    row = build_grown(tmp_path / "real", tmp_path / "grown", 50, questions)
    assert row["chunks"] == 50 and row["bytes"][EMBEDDINGS] > 0
    with CodeIndex.open(tmp_path / "grown", embedder=fake_encoder) as index:
        assert len(index) == index.manifest.vectors == 50
        assert sum(record.chunks for record in index.manifest.repositories) == 50
        assert index.search("TokenBucket", k=1)[0].chunk.path.endswith("limits/bucket.py")
        assert index.search("bucket", k=1, repos=["limits-1"])[0].chunk.repo == "limits-1"


def test_the_picture_shows_every_size(tmp_path: Path) -> None:
    times = {key: {"p50": 1.5} for key in ("whole", "lexical", "dense", "encoding")}
    rows = [
        {
            "chunks": chunks,
            "milliseconds": times,
            "searched_mb": chunks / 1e3,
            "opened_mb": 0,
            "build_peak_mb": {"words": chunks / 1e2},
            "bytes": {"chunks.sqlite": chunks, "lexical": chunks, "vectors.faiss": chunks},
        }
        for chunks in (1_000, 100_000)
    ]
    draw_cost_curve(rows, tmp_path / "curve.svg")
    picture = (tmp_path / "curve.svg").read_text("utf-8")
    for label in ("Milliseconds a question", "Memory, MB", "On disk, MB", "cache of vectors"):
        assert label in picture
