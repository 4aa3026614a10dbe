"""Spreading over files and joining neighbours, worked out by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.chunk import Chunk
from retrieval.passages import join_neighbours, spread_over_files
from tests.fakes import MakeChunk


def test_each_further_chunk_of_a_file_counts_less() -> None:
    scores = {1: 1.0, 2: 0.9, 3: 0.8, 4: 0.75}
    files = {1: "a", 2: "a", 3: "a", 4: "b"}
    spread = spread_over_files(scores, files, decay=0.5)
    assert spread == pytest.approx({1: 1.0, 4: 0.75, 2: 0.45, 3: 0.2})
    assert list(spread) == [1, 4, 2, 3]


def test_without_decay_only_the_order_is_made() -> None:
    assert list(
        spread_over_files({5: 0.1, 2: 0.3, 3: 0.1}, dict.fromkeys((2, 3, 5), "a"), decay=1.0)
    ) == [2, 3, 5]


def lines_of(make_chunk: MakeChunk, path: str, pieces: int) -> list[Chunk]:
    return [
        make_chunk(
            f"{n}a\n{n}b\n",
            path=path,
            start_line=2 * n + 1,
            end_line=2 * n + 2,
            symbol=f"f{n // 2}",
        )
        for n in range(pieces)
    ]


def test_neighbours_become_one_passage_in_the_order_of_the_file(make_chunk: MakeChunk) -> None:
    chunks = dict(enumerate(lines_of(make_chunk, "a.py", 5)))
    passages = join_neighbours({2: 0.9, 4: 0.8, 1: 0.7, 3: 0.6}, chunks)
    assert len(passages) == 2
    first, second = passages
    assert (first.score, first.numbers) == (0.9, (1, 2, 3))
    assert (first.chunk.start_line, first.chunk.end_line) == (3, 8)
    assert first.chunk.text == "1a\n1b\n2a\n2b\n3a\n3b\n"
    assert first.chunk.symbol == "f0, f1"
    assert (second.score, second.numbers) == (0.8, (4,))


def test_chunks_of_different_files_are_never_joined(make_chunk: MakeChunk) -> None:
    chunks = {
        0: make_chunk(path="a.py"),
        1: make_chunk(path="b.py"),
        2: make_chunk(repo="other", path="b.py"),
    }
    assert len(join_neighbours({0: 0.9, 1: 0.8, 2: 0.7}, chunks)) == 3


def test_a_passage_grows_no_longer_than_allowed(make_chunk: MakeChunk) -> None:
    chunks = dict(enumerate(lines_of(make_chunk, "a.py", 3)))
    passages = join_neighbours({0: 0.9, 1: 0.8, 2: 0.7}, chunks, max_chars=12)
    assert [passage.numbers for passage in passages] == [(0, 1), (2,)]
    assert len(join_neighbours({0: 0.9, 1: 0.8}, chunks, max_chars=0)) == 2


@settings(derandomize=True, deadline=None, database=None, max_examples=50)
@given(st.lists(st.integers(0, 11), unique=True))
def test_passages_hold_whole_runs_of_chunks_and_share_none(order: list[int]) -> None:
    pieces = [
        Chunk("r", "c", f"{n // 6}.py", n % 6 + 1, n % 6 + 1, "python", "", f"{n}\n")
        for n in range(12)
    ]
    scores = {number: 1.0 - place / 20 for place, number in enumerate(order)}
    passages = join_neighbours(scores, dict(enumerate(pieces)))
    numbers = [number for passage in passages for number in passage.numbers]
    assert sorted(numbers) == sorted(order)
    for passage in passages:
        first, last = passage.numbers[0], passage.numbers[-1]
        assert passage.numbers == tuple(range(first, last + 1))
        assert passage.chunk.text == "".join(pieces[n].text for n in passage.numbers)
        assert passage.chunk.end_line - passage.chunk.start_line == last - first
