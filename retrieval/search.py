"""One search: from a question to ranked chunks of one generation of an index.

Candidates come from the words and from the vectors; `retrieval.rank` fuses and weighs them,
`retrieval.passages` makes them what is shown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from data_tools.chunk import Chunk
from data_tools.errors import IndexDamagedError, QuestionError
from data_tools.languages import BY_NAME
from data_tools.permalink import line_link
from data_tools.secrets import redact
from data_tools.sources import is_site
from retrieval import rank
from retrieval.dense import DenseIndex
from retrieval.embed import Vectors
from retrieval.generations import Manifest
from retrieval.lexical import LexicalIndex, query_tokens
from retrieval.passages import Passage, join_neighbours, spread_over_files
from retrieval.question_kind import WEIGHTS, question_kind, question_words
from retrieval.store import ChunkStore
from retrieval.synonyms import related_words

MAX_QUESTION_CHARS = 20_000  # a pasted traceback fits; a pasted file does not
CANDIDATES = 100  # taken from each retriever before fusion
SearchMode = Literal["hybrid", "lexical", "dense"]

_threads = ThreadPoolExecutor(thread_name_prefix="search")


@dataclass(frozen=True)
class Hit:
    """One passage that a search found.

    :param score: fused score, comparable within one search only; higher is better.
    :param chunk: a chunk of the index, or several of one file that follow each other, as one.
    :param url: link to the lines at the indexed commit, where the repository is on a git host; to
        the page and heading, where it is a site.
    :param cosine: similarity of question and chunk, in [-1, 1]; None while vectors are missing.
    """

    score: float
    chunk: Chunk
    url: str | None
    cosine: float | None = None


@dataclass(frozen=True)
class Generation:
    """All that one search needs, of one generation of an index."""

    folder: Path
    manifest: Manifest
    store: ChunkStore
    lexical: LexicalIndex
    dense: DenseIndex | None


@dataclass(frozen=True)
class Filters:
    """Which chunks may be found; None keeps all.

    :param path_glob: a pattern as in `.gitignore`, such as `src/**/*.py`.
    """

    repos: Sequence[str] | None = None
    languages: Sequence[str] | None = None
    path_glob: str | None = None


class _Chosen(TypedDict):
    """The filters with the paths that match, as both retrievers take them."""

    repos: Sequence[str] | None
    languages: Sequence[str] | None
    paths: Sequence[str] | None


def search(
    now: Generation,
    question: str,
    k: int,
    *,
    filters: Filters,
    mode: SearchMode,
    embed: Callable[[str], Vectors],
) -> list[Hit]:
    """Find the chunks that answer a question, best first; see `CodeIndex.search`.

    :param embed: turns the question into a unit vector, shape (dimension,).
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    question = check_question(question)
    names = [record.name for record in now.manifest.repositories]
    _check_names(filters.repos, names, "the index holds no repository")
    _check_names(filters.languages, sorted(BY_NAME), "there is no language")
    if mode == "dense" and now.dense is None:
        raise QuestionError("the vectors are still missing; run `codeqa index` again")
    paths = now.store.match_paths(filters.path_glob) if filters.path_glob else None
    chosen: _Chosen = {"repos": filters.repos, "languages": filters.languages, "paths": paths}
    limit = max(CANDIDATES, 2 * k)
    lexical: dict[int, float] = {}
    cosine: dict[int, float] = {}
    chunks: dict[int, Chunk] = {}
    if mode == "lexical" or now.dense is None:
        lexical = _find_words(now, question, limit, chosen)
    elif mode == "dense":
        cosine = _find_meaning(now, now.dense, embed(question), limit, chosen)
    else:
        words = _threads.submit(_find_words, now, question, limit, chosen)
        query = embed(question)  # the words are searched meanwhile, and during the next three lines
        cosine = _find_meaning(now, now.dense, query, limit, chosen)
        by_meaning = [n for n in cosine if not words.done() or n not in words.result()]
        rated, chunks = _rate_words(now, question, by_meaning), _read(now, cosine)
        lexical = {**rated, **words.result()}
        by_words = [number for number in lexical if number not in cosine]
        cosine.update(zip(by_words, map(float, now.dense.cosines(query, by_words)), strict=True))
    if mode == "hybrid":
        chunks |= _read(now, [n for n in (*lexical, *cosine) if n not in chunks])
        passages = _weigh(chunks, question, lexical, cosine, k)
    else:
        scores = lexical or cosine
        best = sorted(scores, key=lambda number: (-scores[number], number))[:k]
        chunks = _read(now, best)
        passages = [Passage(scores[number], chunks[number], (number,)) for number in best]
    return [
        Hit(
            passage.score,
            passage.chunk,
            link(now, passage.chunk),
            max((cosine[n] for n in passage.numbers if n in cosine), default=None),
        )
        for passage in passages
    ]


def _find_words(now: Generation, question: str, limit: int, chosen: _Chosen) -> dict[int, float]:
    related = related_words(question)
    return dict(now.lexical.search(query_tokens(question), limit, related=related, **chosen))


def _find_meaning(
    now: Generation, dense: DenseIndex, query: Vectors, limit: int, chosen: _Chosen
) -> dict[int, float]:
    filtered = any(values is not None for values in chosen.values())
    allowed = now.store.numbers(**chosen) if filtered else None
    return dict(dense.search(query, limit, allowed=allowed))


def _rate_words(now: Generation, question: str, numbers: Sequence[int]) -> dict[int, float]:
    tokens, related = query_tokens(question), related_words(question)
    return now.lexical.scores(tokens, numbers, related=related)


def _read(now: Generation, numbers: Iterable[int]) -> dict[int, Chunk]:
    wanted = list(numbers)
    return dict(zip(wanted, now.store.get(wanted), strict=True))


def _weigh(
    chunks: Mapping[int, Chunk],
    question: str,
    lexical: Mapping[int, float],
    cosine: Mapping[int, float],
    k: int,
) -> list[Passage]:
    """Fuse the two retrievers, weigh in what the candidates are, and make k passages of them.

    :param chunks: chunk number → chunk, for all that either retriever found.
    """
    weights = WEIGHTS[question_kind(question)]
    words = question_words(question)
    scores = rank.fuse_scores(lexical, cosine, dense_weight=weights.dense if cosine else 0.0)
    for number in scores:
        chunk = chunks[number]
        scores[number] *= rank.path_prior(chunk.path, prose=weights.prose)
        if weights.definition != 1.0 and rank.defines(chunk.symbol, words):
            scores[number] *= weights.definition
    files = {number: (chunk.repo, chunk.path) for number, chunk in chunks.items()}
    return join_neighbours(spread_over_files(scores, files), chunks, limit=k)


def link(now: Generation, chunk: Chunk) -> str | None:
    """Link to a chunk's lines at its commit; None where no link would work.

    Of a page of a site, to the heading that its first line stands under.
    """
    try:
        record = now.manifest.repository(chunk.repo)
    except KeyError as error:
        raise IndexDamagedError("it holds chunks of a repository that it lacks") from error
    if is_site(record.location):
        return now.store.link(chunk.repo, chunk.path, chunk.start_line)
    web_url = record.web_url
    if web_url is None:
        return None
    return line_link(web_url, chunk.commit, chunk.path, chunk.start_line, chunk.end_line)


def check_question(question: str) -> str:
    """Return the question without surrounding space, and without secrets that came along.

    :raises QuestionError: it is empty, too long, or not valid Unicode.
    """
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise QuestionError("the question is not valid Unicode; retype it as text") from error
    question = question.replace("\0", " ").strip()
    if not question:
        raise QuestionError("the question is empty; type what you want to know")
    if len(question) > MAX_QUESTION_CHARS:
        raise QuestionError(
            f"the question has {len(question):,} characters; shorten it to {MAX_QUESTION_CHARS:,}"
        )
    return redact(question).text


def _check_names(wanted: Sequence[str] | None, known: Sequence[str], problem: str) -> None:
    for name in wanted or ():
        if name not in known:
            raise QuestionError(f"{problem} {name!r}; choose from: {', '.join(known)}")
