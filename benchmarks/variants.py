"""Parts of a ranking that were tried and did not pay, as changes for `benchmarks.ablation`.

Each is a context manager that puts the part into the product's search while it is entered.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import tantivy

from data_tools.chunk import Chunk
from data_tools.sources import SourceFile
from data_tools.text import split_lines
from retrieval import CodeIndex, lexical, search, views
from retrieval.embed import Embedder, open_embedder
from retrieval.embedder import Vectors, to_unit
from retrieval.passages import Passage, join_neighbours, spread_over_files
from retrieval.synonyms import related_words
from retrieval.views import embed_chunks

RRF_K = 60  # as in the paper
SUMMED_CHUNKS = 5  # of one file
FILE_SHARE = 0.25
SEED_CHUNKS = 20  # whose symbols are followed
GRAPH_SHARE = 0.1
RESCORED = 10  # passages
WINDOW_LINES = 6
SENTENCE_SHARE = 0.3
FEEDBACK_CHUNKS = 5
FEEDBACK_SHARE = 0.5
LINE_CHUNK_CHARS = 800  # about the mean of the chunks along the syntax


def fuse_ranks(
    lexical: Mapping[int, float], cosine: Mapping[int, float], *, dense_weight: float
) -> dict[int, float]:
    """Fuse by reciprocal rank, as `retrieval.rank.fuse_scores` does by score.

    Source: Cormack, Clarke & Büttcher, SIGIR 2009, doi:10.1145/1571941.1572114.
    """
    fused: dict[int, float] = defaultdict(float)
    for scores, weight in ((lexical, 1 - dense_weight), (cosine, dense_weight)):
        for place, number in enumerate(sorted(scores, key=lambda n: (-scores[n], n)), start=1):
            fused[number] += weight * (RRF_K + 1) / (RRF_K + place)
    return dict(fused)


@contextmanager
def sum_files() -> Iterator[None]:
    """Raise each chunk by the best chunks of its file together."""

    def spread(scores: Mapping[int, float], files: Mapping[int, Hashable]) -> dict[int, float]:
        seen: Counter[Hashable] = Counter()
        totals: dict[Hashable, float] = defaultdict(float)
        for number in sorted(scores, key=lambda n: (-scores[n], n)):
            if seen[files[number]] < SUMMED_CHUNKS:
                totals[files[number]] += scores[number] * 0.5 ** seen[files[number]]
                seen[files[number]] += 1
        best = max(totals.values(), default=1.0) or 1.0
        raised = {n: score + FILE_SHARE * totals[files[n]] / best for n, score in scores.items()}
        return spread_over_files(raised, files)

    with patch.object(search, "spread_over_files", spread):
        yield


@contextmanager
def follow_symbols() -> Iterator[None]:
    """Raise candidates that define what the best ones name, and those that name it."""

    def join(
        scores: Mapping[int, float], chunks: Mapping[int, Chunk], limit: int | None = None
    ) -> list[Passage]:
        defined = defaultdict(set)
        for number in scores:
            for symbol in chunks[number].symbol.split(", "):
                name = re.split(r"[.:›]+", symbol)[-1].strip()
                if len(name) > 3:
                    defined[name].add(number)
        raised = dict(scores)
        for number in list(scores)[:SEED_CHUNKS]:
            for name in set(re.findall(r"\w+", chunks[number].text)) & defined.keys():
                for other in defined[name] - {number}:
                    raised[other] += GRAPH_SHARE * scores[number] / len(defined[name])
        order = sorted(raised, key=lambda n: (-raised[n], n))
        return join_neighbours({n: raised[n] for n in order}, chunks, limit=limit)

    with patch.object(search, "join_neighbours", join):
        yield


@contextmanager
def score_sentences() -> Iterator[None]:
    """Embed the lines of the best passages by the half-dozen, and weigh in the best of each."""
    embedder = open_embedder()
    asked = [""]

    def remember(question: str) -> list[str]:
        asked[0] = question
        return related_words(question)

    def join(
        scores: Mapping[int, float], chunks: Mapping[int, Chunk], limit: int | None = None
    ) -> list[Passage]:
        passages = join_neighbours(scores, chunks)
        best = passages[:RESCORED]
        windows = [
            (place, "".join(lines[start : start + WINDOW_LINES]))
            for place, passage in enumerate(best)
            for lines in [split_lines(passage.chunk.text)]
            for start in range(0, len(lines), WINDOW_LINES)
        ]
        cosines = embedder.embed([text for _, text in windows]) @ embedder.embed_query(asked[0])
        closest = np.zeros(len(best))
        np.maximum.at(closest, [place for place, _ in windows], cosines)
        closest /= max(closest.max(initial=0.0), 1e-9)
        weighed = [
            replace(p, score=(1 - SENTENCE_SHARE) * p.score + SENTENCE_SHARE * p.score * near)
            for p, near in zip(best, closest.tolist(), strict=True)
        ]
        order = sorted(weighed, key=lambda passage: -passage.score)
        return [*order, *passages[RESCORED:]][:limit]

    with (
        patch.object(search, "related_words", remember),
        patch.object(search, "join_neighbours", join),
    ):
        yield


class FeedbackEmbedder:
    """Moves each question towards the chunks that are nearest to it (Rocchio).

    Source: Rocchio, "Relevance feedback in information retrieval", 1971.
    """

    def __init__(self, index: CodeIndex, embedder: Embedder) -> None:
        self._index = index
        self._embedder = embedder
        self.name = embedder.name
        self.fingerprint = embedder.fingerprint
        self.dimension = embedder.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed as the model does."""
        return self._embedder.embed(texts)

    def embed_query(self, text: str) -> Vectors:
        """Embed a question, and add the nearest chunks' vectors to it; shape (dimension,)."""
        hits = self._index.search(text, FEEDBACK_CHUNKS, mode="dense")
        nearest = embed_chunks([hit.chunk for hit in hits], self._embedder.embed)
        moved = self._embedder.embed_query(text) + FEEDBACK_SHARE * nearest.mean(axis=0)
        unit: Vectors = to_unit(moved[None, :])[0]
        return unit


@contextmanager
def leave_out_names() -> Iterator[None]:
    """Embed the text of chunks alone."""
    with (
        patch.object(views, "NAMES_WEIGHT", 0.0),
        patch.object(views, "names_view", lambda chunk: ":"),
    ):
        yield


def chunk_lines(file: SourceFile) -> list[Chunk]:
    """Cut a file into runs of whole lines, wherever they end."""
    chunks: list[Chunk] = []
    start, text = 1, ""
    lines = split_lines(file.text)
    for number, line in enumerate(lines, start=1):
        text += line
        if len(text) >= LINE_CHUNK_CHARS or number == len(lines):
            place = (file.repo, file.commit, file.path, start, number, file.language)
            chunks.append(Chunk(*place, symbol="", text=text))
            start, text = number + 1, ""
    return chunks


@contextmanager
def keep_endings() -> Iterator[None]:
    """Index and ask words as they are; the table of words that mean the same holds only stems."""
    plain = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
    with (
        patch.object(lexical, "_stemmer", lambda: plain),
        patch.object(search, "related_words", lambda question: []),
        _other_words(),
    ):
        yield


@contextmanager
def keep_identifiers_whole() -> Iterator[None]:
    """Index and ask each word as one token."""
    with (
        patch.object(lexical, "split_identifier", lambda word: (word.lower(),)),
        _other_words(),
    ):
        yield


@contextmanager
def _other_words() -> Iterator[None]:
    lexical.forget_words()
    try:
        yield
    finally:
        lexical.forget_words()
