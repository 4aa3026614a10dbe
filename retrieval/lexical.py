"""BM25 over code-aware tokens, by tantivy.

An identifier is indexed whole and in its parts (`EarlyStopper` → earlystopper, early, stopper),
so that both a symbol pasted from a traceback and a word of plain English find it. Text is
tokenised here and only counted there.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import tantivy

from data_tools.chunk import Chunk
from data_tools.errors import IndexDamagedError

FIELD_WEIGHTS = {"body": 1.0, "symbol": 1.0, "path": 1.0}
WRITER_HEAP_BYTES = 128_000_000
MAX_TOKEN_CHARS = 100  # longer runs are data, not words
MAX_QUERY_TOKENS = 256

_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
STOP_WORDS = frozenset(
    "a about all also an and any are as at be been being but by can could did do does doing done "
    "each for from get gets had has have how i if in into is it its itself may me might my no nor "
    "not of on one or our shall should so some such than that the their them then there these "
    "they this those to too us use used uses using was we were what when where which while who "
    "whose why will with would you your explain describe tell please understand want know".split()
)


@lru_cache(maxsize=200_000)
def split_identifier(word: str) -> tuple[str, ...]:
    """Split one word into itself and its parts at camelCase, snake_case and digits.

    :return: lower case; the whole word first, then its parts if there are several.
    """
    whole = word.lower()
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) < 2:
        return (whole.strip("_") or whole,)
    joined = "".join(parts)
    return (whole, *([joined] if joined != whole else []), *parts)


def tokenize(text: str) -> list[str]:
    """Turn text into index tokens, in order."""
    return [
        token
        for word in _WORD.findall(text)
        if len(word) <= MAX_TOKEN_CHARS
        for token in split_identifier(word)
    ]


@cache
def _analyzer() -> tantivy.TextAnalyzer:
    """Build what runs inside tantivy: tokens are split at spaces and stemmed."""
    analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return analyzer.filter(tantivy.Filter.stemmer("english")).build()


def query_tokens(question: str) -> list[str]:
    """Turn a question into distinct, stemmed search tokens.

    Stop words go, unless nothing else is left.
    """
    words = tokenize(question)
    kept = [word for word in words if word not in STOP_WORDS] or words
    return list(dict.fromkeys(_analyzer().analyze(" ".join(kept))))[:MAX_QUERY_TOKENS]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("id", fast=True)
    for field in FIELD_WEIGHTS:
        builder.add_text_field(field, tokenizer_name="code", index_option="freq")
    for field in ("repo", "language", "file"):
        builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
    return builder.build()


class LexicalIndex:
    """A read-only tantivy index whose documents are chunk numbers."""

    def __init__(self, index: tantivy.Index) -> None:
        self._index = index
        self._schema = index.schema
        self._searcher = index.searcher()

    @classmethod
    def build(cls, folder: Path, chunks: Iterable[Chunk]) -> "LexicalIndex":
        """Index `chunks`, numbered from 0 in their order, into the empty `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        index = tantivy.Index(_schema(), path=str(folder))
        index.register_tokenizer("code", _analyzer())
        writer = index.writer(WRITER_HEAP_BYTES, 1)  # one thread: scores do not vary
        for number, chunk in enumerate(chunks):
            document = tantivy.Document()
            document.add_unsigned("id", number)
            document.add_text("body", " ".join(tokenize(chunk.text)))
            document.add_text("symbol", " ".join(tokenize(chunk.symbol)))
            document.add_text("path", " ".join(tokenize(chunk.path)))
            document.add_text("repo", chunk.repo)
            document.add_text("language", chunk.language)
            document.add_text("file", chunk.path)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return cls(index)

    @classmethod
    def open(cls, folder: Path) -> "LexicalIndex":
        """Open an index that `build` wrote.

        :raises IndexDamagedError: tantivy cannot read it.
        """
        try:
            index = tantivy.Index.open(str(folder))
            index.register_tokenizer("code", _analyzer())
            return cls(index)
        except ValueError as error:
            raise IndexDamagedError(f"{folder} cannot be read ({error})") from error

    def search(
        self,
        tokens: Sequence[str],
        limit: int,
        *,
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        """Rank chunks by BM25 summed over the fields.

        :param tokens: as `query_tokens` gives them.
        :param repos: names to keep; None keeps all. Likewise `languages` and `paths`.
        :return: (chunk number, score), best first, at most `limit`.
        """
        if not tokens:
            return []
        should = [
            (tantivy.Occur.Should, self._term(field, token, weight))
            for field, weight in FIELD_WEIGHTS.items()
            for token in tokens
        ]
        query = tantivy.Query.boolean_query(should)
        kept = {"repo": repos, "language": languages, "file": paths}
        filters = [
            tantivy.Query.const_score_query(
                tantivy.Query.term_set_query(self._schema, field, list(values)), 0.0
            )
            for field, values in kept.items()
            if values is not None
        ]
        if filters:
            query = query.and_must_match(*filters)
        found = self._searcher.search(query, limit, count=False).hits
        numbers = self._searcher.fast_field_values("id", [address for _, address in found])
        return [(int(n or 0), float(score)) for n, (score, _) in zip(numbers, found, strict=True)]

    def document_frequencies(self, tokens: Sequence[str]) -> list[int]:
        """Count the chunks whose body holds each token."""
        return [self._searcher.doc_freq("body", token) for token in tokens]

    def _term(self, field: str, token: str, weight: float) -> tantivy.Query:
        term = tantivy.Query.term_query(self._schema, field, token, "freq")
        return term if weight == 1.0 else tantivy.Query.boost_query(term, weight)
