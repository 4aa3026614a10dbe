"""What of a chunk is embedded, and how two vectors become one."""

from collections.abc import Sequence

import numpy as np
import pytest

from retrieval.embedder import Vectors
from retrieval.views import MAX_NAMES, NAMES_WEIGHT, embed_chunks, names_view, text_view
from tests.fakes import MakeChunk


def test_the_text_stands_under_a_header(make_chunk: MakeChunk) -> None:
    chunk = make_chunk("x = 1\n", path="a/b.py", symbol="Bucket.take")
    assert text_view(chunk) == "a/b.py › Bucket.take\nx = 1\n"
    assert text_view(make_chunk("x = 1\n", path="a/b.py")) == "a/b.py\nx = 1\n"


@pytest.mark.parametrize(
    ("path", "symbol", "words"),
    [
        (
            "pylint/extensions/private_import.py",
            "PrivateImportChecker.visit_importfrom",
            "pylint extensions private import: private import checker visit importfrom",
        ),
        ("a/b/c/d/HTTPServer.ts", "parseURLs, ns::run2", "c d http server: parse urls; ns run 2"),
        ("README.md", "Guide › Getting started", "readme: guide getting started"),
        ("Makefile", "", "makefile: "),
        ("docs/日本語.md", "größe", "docs 日本語: größe"),
    ],
)
def test_names_are_written_out_in_words(
    make_chunk: MakeChunk, path: str, symbol: str, words: str
) -> None:
    assert names_view(make_chunk(path=path, symbol=symbol)) == words


def test_of_many_names_the_first_are_kept(make_chunk: MakeChunk) -> None:
    symbol = ", ".join(f"name{letter}" for letter in "abcdefghij")
    assert names_view(make_chunk(symbol=symbol)).count(";") == MAX_NAMES - 1


def test_both_views_share_one_vector_of_length_one(make_chunk: MakeChunk) -> None:
    asked = []

    def embed(texts: Sequence[str]) -> Vectors:
        asked.append(list(texts))
        return np.array([[0, 1] if ": " in text else [1, 0] for text in texts], np.float32)

    chunks = [make_chunk("x\n", symbol="f"), make_chunk("y\n", symbol="f")]
    vectors = embed_chunks(chunks, embed)
    expected = np.array([1, NAMES_WEIGHT]) / np.hypot(1, NAMES_WEIGHT)
    assert vectors == pytest.approx(np.stack([expected, expected]))
    assert [len(texts) for texts in asked] == [3]  # the names that both have, once
