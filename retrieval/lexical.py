"""BM25 over code-aware tokens, by tantivy.

An identifier is indexed whole and in its parts (`EarlyStopper` → earlystopper, early, stopper),
so that both a symbol pasted from a traceback and a word of plain English find it. Text is
tokenised here and only counted there.
"""

import errno
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice
from pathlib import Path

import tantivy

from data_tools.chunk import Chunk
from data_tools.errors import IndexDamagedError, reason_of

FIELD_WEIGHTS = {"body": 1.0, "symbol": 0.5, "path": 0.25}  # of BM25 in the sum
# Of words that the question does not hold but means. They count most in names, where words are
# cut short; `expr` in a body proves little.
RELATED_WEIGHTS = {"body": 0.25, "symbol": 1.0, "path": 0.25}
WRITER_HEAP_BYTES = 128_000_000
MAX_TOKEN_CHARS = 100  # longer runs are data, not words
MAX_QUERY_TOKENS = 256
INDEX_SPAN = (
    64  # chunks tokenised at once: more of their words than the cache of a core holds are slower
)
MAX_STEMMED_WORDS = 500_000  # kept in memory, about 100 MB
FULL_BYTES = 1_000_000  # a disk with less left is full: tantivy does not always say why it stopped

_WORD = re.compile(r"\w+")
# What `_WORD` leaves out becomes a space: splitting ASCII so takes half the time of the pattern.
_ASCII_WORDS = "".join(chr(n) if _WORD.match(chr(n)) else " " for n in range(128))
# A run of capitals may be a plural (URLs). Every letter but A-Z counts as a small one, so that
# a word with an accent, or of another script, stays whole.
_PART = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+")
STOP_WORDS = frozenset(
    "a about all also an and any are as at be been being but by can could did do does doing done "
    "each for from get gets had has have how i if in into is it its itself may me might my no nor "
    "not of on one or our shall should so some such than that the their them then there these "
    "they this those to too us use used uses using was we were what when where which while who "
    "whose why will with would you your explain describe tell please understand want know".split()
)


def split_identifier(word: str) -> tuple[str, ...]:
    """Split one word into itself and its parts at camelCase, snake_case and digits.

    :return: lower case; the whole word first, then its parts if there are several.
    """
    whole = word.lower()
    if whole == word and word.isalpha():  # most are, and the pattern would find one part
        return (word,)
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) < 2:
        return (whole.strip("_") or whole,)
    joined = "".join(parts)
    return (whole, *([joined] if joined != whole else []), *parts)


def split_words(name: str) -> str:
    """Write an identifier out in words: `parseHTTPHeader` → "parse http header"."""
    return " ".join(_PART.findall(name)).lower()


def tokenize(text: str) -> list[str]:
    """Turn text into tokens, in order and not yet stemmed."""
    return [token for word in _words(text) for token in _tokens(word)]


def _words(text: str) -> list[str]:
    return text.translate(_ASCII_WORDS).split() if text.isascii() else _WORD.findall(text)


def _tokens(word: str) -> tuple[str, ...]:
    return split_identifier(word) if len(word) <= MAX_TOKEN_CHARS else ()


@cache
def _stemmer() -> tantivy.TextAnalyzer:
    """Build what stems tokens, which stand between spaces."""
    analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return analyzer.filter(tantivy.Filter.stemmer("english")).build()


def stem(text: str) -> str:
    """Cut lower-case words down to their stems, as the index does; "" for what holds none."""
    return " ".join(_stemmer().analyze(text))


def forget_words() -> None:
    """Empty what is kept of words met so far, as measuring and other ways to stem need."""
    _stemmed_words.clear()


# The stemmed tokens of each word met so far, between spaces: text has few words, many times over.
_stemmed_words: dict[str, str] = {}


def _index_texts(texts: Sequence[str]) -> list[str]:
    """Return the stemmed tokens of texts, between spaces: all that tantivy has to split at."""
    split = [_words(text) for text in texts]
    if len(_stemmed_words) >= MAX_STEMMED_WORDS:
        _stemmed_words.clear()
    new = list(set().union(*split).difference(_stemmed_words))
    tokens = [_tokens(word) for word in new]
    stems = iter(_stemmer().analyze(" ".join(chain.from_iterable(tokens))))
    for word, each in zip(new, tokens, strict=True):
        _stemmed_words[word] = " ".join(islice(stems, len(each)))
    return [" ".join(map(_stemmed_words.__getitem__, words)) for words in split]


def query_tokens(question: str) -> list[str]:
    """Turn a question into distinct, stemmed search tokens.

    Stop words go, unless nothing else is left.
    """
    words = tokenize(question)
    kept = [word for word in words if word not in STOP_WORDS] or words
    return list(dict.fromkeys(stem(" ".join(kept)).split()))[:MAX_QUERY_TOKENS]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("id", indexed=True, fast=True)
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

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    @classmethod
    def build(cls, folder: Path, chunks: Iterable[Chunk]) -> "LexicalIndex":
        """Index `chunks`, numbered from 0 in their order, into the empty `folder`.

        :raises OSError: the disk is full, or the folder is not writable.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return cls(cls._write(folder, chunks))
        except ValueError as error:  # tantivy has no error types of its own
            full = "os error 28" in str(error) or shutil.disk_usage(folder).free < FULL_BYTES
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error

    @staticmethod
    def _write(folder: Path, chunks: Iterable[Chunk]) -> tantivy.Index:
        index = tantivy.Index(_schema(), path=str(folder))
        _register_tokenizer(index)
        writer = index.writer(WRITER_HEAP_BYTES, 1)  # one thread: scores do not vary
        numbered = enumerate(chunks)
        while span := list(islice(numbered, INDEX_SPAN)):
            bodies = _index_texts([chunk.text for _, chunk in span])
            symbols = _index_texts([chunk.symbol for _, chunk in span])
            names = list(dict.fromkeys(chunk.path for _, chunk in span))
            paths = dict(zip(names, _index_texts(names), strict=True))
            for (number, chunk), body, symbol in zip(span, bodies, symbols, strict=True):
                document = tantivy.Document()
                document.add_unsigned("id", number)
                document.add_text("body", body)
                document.add_text("symbol", symbol)
                document.add_text("path", paths[chunk.path])
                document.add_text("repo", chunk.repo)
                document.add_text("language", chunk.language)
                document.add_text("file", chunk.path)
                writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return index

    @classmethod
    def open(cls, folder: Path) -> "LexicalIndex":
        """Open an index that `build` wrote.

        :raises IndexDamagedError: tantivy cannot read it.
        """
        with _damage_errors():
            try:
                return cls(_open_index(folder))
            except ValueError as error:
                if "Failed to acquire Lockfile" not in str(error):
                    raise
            return cls._open_links(folder)

    @classmethod
    def _open_links(cls, folder: Path) -> "LexicalIndex":
        """Open an index in a folder that may only be read.

        tantivy makes a lock file beside the files it opens. Where it may not, it is shown links
        to them, in a folder that goes when the index does.
        """
        links = Path(tempfile.mkdtemp(prefix="codeqa-"))
        try:
            for file in folder.iterdir():
                if file.suffix != ".lock":
                    (links / file.name).symlink_to(file.absolute())
            opened = cls(_open_index(links))
        except BaseException:
            _remove_links(links)
            raise
        weakref.finalize(opened, _remove_links, links)
        return opened

    def search(
        self,
        tokens: Sequence[str],
        limit: int,
        *,
        related: Sequence[str] = (),
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        """Rank chunks by BM25 summed over the fields.

        :param tokens: as `query_tokens` gives them.
        :param related: stemmed words that mean the same as some of them; they count less.
        :param repos: names to keep; None keeps all. Likewise `languages` and `paths`.
        :param limit: above 0.
        :return: (chunk number, score), best first, at most `limit`.
        :raises IndexDamagedError: tantivy cannot read the index.
        """
        kept = {"repo": repos, "language": languages, "file": paths}
        filters = {field: values for field, values in kept.items() if values is not None}
        with _damage_errors():
            return self._rank(tokens, related, limit, filters)

    def scores(
        self, tokens: Sequence[str], numbers: Sequence[int], *, related: Sequence[str] = ()
    ) -> dict[int, float]:
        """Score the given chunks as `search` would; those that hold none of the words are left out.

        :return: chunk number → score.
        :raises IndexDamagedError: tantivy cannot read the index.
        """
        with _damage_errors():
            return dict(self._rank(tokens, related, len(numbers), {"id": numbers}))

    def _rank(
        self,
        tokens: Sequence[str],
        related: Sequence[str],
        limit: int,
        filters: Mapping[str, Sequence[str] | Sequence[int]],
    ) -> list[tuple[int, float]]:
        """Rank the chunks whose fields hold one of the values, for each field in `filters`."""
        limit = min(limit, len(self))  # tantivy allocates for all of them
        if not tokens or limit == 0:
            return []
        should = [
            (tantivy.Occur.Should, self._term(field, token, weight))
            for words, weights in ((tokens, FIELD_WEIGHTS), (related, RELATED_WEIGHTS))
            for field, weight in weights.items()
            for token in words
        ]
        query = tantivy.Query.boolean_query(should)
        allowed = [
            tantivy.Query.const_score_query(
                tantivy.Query.term_set_query(self._schema, field, list(values)), 0.0
            )
            for field, values in filters.items()
        ]
        if allowed:
            query = query.and_must_match(*allowed)
        found = self._searcher.search(query, limit, count=False).hits
        ids = self._searcher.fast_field_values("id", [address for _, address in found])
        if not all(n is not None and 0 <= n < len(self) for n in ids):
            raise IndexDamagedError("the words were found in chunks that there are not")
        return [(int(n or 0), float(score)) for n, (score, _) in zip(ids, found, strict=True)]

    def document_frequencies(self, tokens: Sequence[str]) -> list[int]:
        """Count the chunks whose body holds each token.

        :raises IndexDamagedError: tantivy cannot read the index.
        """
        with _damage_errors():
            return [self._searcher.doc_freq("body", token) for token in tokens]

    def _term(self, field: str, token: str, weight: float) -> tantivy.Query:
        term = tantivy.Query.term_query(self._schema, field, token, "freq")
        return term if weight == 1.0 else tantivy.Query.boost_query(term, weight)


@contextmanager
def _damage_errors() -> Iterator[None]:
    """Turn what tantivy raises about files that it did not write into an `IndexDamagedError`.

    Those are its errors, and Rust's panics, which are no `Exception` and have no name to import.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException":
            raise IndexDamagedError(f"the words cannot be read: {reason_of(error)}") from error
        raise


def _open_index(folder: Path) -> tantivy.Index:
    index = tantivy.Index.open(str(folder))
    _register_tokenizer(index)
    return index


def _register_tokenizer(index: tantivy.Index) -> None:
    at_spaces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
    index.register_tokenizer("code", at_spaces)


def _remove_links(links: Path) -> None:
    for _ in range(10):  # tantivy looks for changes in a thread, and may make its lock meanwhile
        shutil.rmtree(links, ignore_errors=True)
        if not links.exists():
            return
        time.sleep(0.01)
