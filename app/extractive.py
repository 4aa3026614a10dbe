"""The answer when there is no language model: the lines themselves, well chosen.

The best passages are cut into snippets; the one nearest to the question in words and in meaning
is quoted, and the next best places to look are listed. Nothing is written that is not in the
code.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.snippets import Snippet, cut_snippets
from data_tools.chunk import Chunk
from data_tools.languages import BY_NAME, Kind
from data_tools.text import split_lines
from retrieval.citations import format_citation
from retrieval.embedder import Embedder
from retrieval.lexical import query_tokens
from retrieval.question_kind import MAX_NAME_WORDS, question_words
from retrieval.search import Hit

MAX_WORDS = 80  # of the quotation, the name of its place included
PASSAGES = 5  # of the evidence that snippets are taken from
PLACES = 3  # listed after the answer
MIN_SECOND_WORDS = 6  # of prose; fewer are a lead-in or a label
MIN_SECOND_SCORE = 0.6  # a second quotation must be nearly as good as the first
OPENING_WORDS = 6  # a snippet that names a thing in its first words says what it is
OPENING_BONUS = 0.1
RANK_WEIGHT = 0.45  # of a snippet's score: how its passage ranked
WORDS_WEIGHT = 0.3  # how much of the question's words it holds, by their rarity
MEANING_WEIGHT = 0.25  # its cosine with the question


@dataclass(frozen=True)
class Extract:
    """An extractive answer, as Markdown with citations.

    :param quoted: where it stands and the quotation, at most `MAX_WORDS` words.
    :param places: the next best places to look; may be empty.
    """

    quoted: str
    places: str

    @property
    def text(self) -> str:
        """Both, one after the other."""
        return f"{self.quoted}\n\n{self.places}".strip()


def answer_extractively(
    question: str,
    hits: Sequence[Hit],
    *,
    rarity: Callable[[Sequence[str]], list[float]],
    embedder: Embedder | None,
) -> Extract:
    """Answer with cited quotations from the evidence.

    :param hits: the evidence, best first, at least one.
    :param rarity: rates search tokens from 0 (everywhere) to 1, as `CodeIndex.rarity` does.
    :param embedder: the index's embedding model; None while it is not ready.
    :raises ValueError: `hits` is empty.
    """
    if not hits:
        raise ValueError("there is no evidence to quote")
    snippets = [
        (passage, snippet)
        for passage, hit in enumerate(hits[:PASSAGES], start=1)
        for snippet in cut_snippets(hit.chunk)
    ]
    if not snippets:
        return Extract("", _list_places(hits, besides=0))
    scores = _score(question, snippets, hits, rarity, embedder)
    best = int(np.argmax(scores))
    passage, snippet = snippets[best]
    chunk = hits[passage - 1].chunk
    parts = [f"{_name_place(chunk, snippet)}:", _quote(passage, snippet, chunk)]
    second = _choose_second(snippets, scores, best)
    if second is not None:
        parts.append(_quote(passage, second, chunk))
    while len(" ".join(parts).split()) > MAX_WORDS and len(parts) > 2:
        parts.pop()
    return Extract("\n\n".join(parts), _list_places(hits, besides=passage))


def _score(
    question: str,
    snippets: Sequence[tuple[int, Snippet]],
    hits: Sequence[Hit],
    rarity: Callable[[Sequence[str]], list[float]],
    embedder: Embedder | None,
) -> list[float]:
    tokens = query_tokens(question)
    weights = dict(zip(tokens, rarity(tokens), strict=True))
    total = sum(weights.values()) or 1.0
    asks_what = len(question_words(question)) <= MAX_NAME_WORDS
    topic = max(weights, key=lambda token: weights[token], default="") if asks_what else None
    meaning = np.zeros(len(snippets), np.float32)
    if embedder is not None:
        vectors = embedder.embed([snippet.text for _, snippet in snippets])
        meaning = vectors @ embedder.embed_query(question)
    best_score = hits[0].score or 1.0
    scores = []
    for (passage, snippet), cosine in zip(snippets, meaning, strict=True):
        held = set(query_tokens(f"{hits[passage - 1].chunk.symbol} {snippet.text}"))
        words = sum(weight for token, weight in weights.items() if token in held) / total
        rank = hits[passage - 1].score / best_score
        opening = set(query_tokens(" ".join(snippet.text.split()[:OPENING_WORDS])))
        scores.append(
            RANK_WEIGHT * rank
            + WORDS_WEIGHT * words
            + MEANING_WEIGHT * float(cosine)
            + OPENING_BONUS * (topic in opening)
        )
    return scores


def _choose_second(
    snippets: Sequence[tuple[int, Snippet]], scores: Sequence[float], best: int
) -> Snippet | None:
    """Choose what to quote next: the code that a paragraph leads to, else the next best."""
    passage, chosen = snippets[best]
    if best + 1 < len(snippets) and chosen.text.endswith(":"):
        follower = snippets[best + 1]
        if follower[0] == passage and follower[1].is_code:
            return follower[1]
    for index in sorted(range(len(snippets)), key=lambda index: -scores[index]):
        other = snippets[index][1]
        overlaps = other.start_line <= chosen.end_line and chosen.start_line <= other.end_line
        says_something = other.is_code or len(other.text.split()) >= MIN_SECOND_WORDS
        if (
            snippets[index][0] == passage
            and not overlaps
            and scores[index] >= MIN_SECOND_SCORE
            and says_something
            and not other.text.endswith(":")
        ):
            return other
    return None


def _quote(passage: int, snippet: Snippet, chunk: Chunk) -> str:
    citation = format_citation(passage, snippet.start_line, snippet.end_line)
    if not snippet.is_code:
        return f"> {snippet.text} {citation}"
    fence = "````" if "```" in snippet.text else "```"
    return (
        f"{fence}{'' if _is_prose(chunk) else chunk.language}\n{snippet.text}\n{fence}\n{citation}"
    )


def _is_prose(chunk: Chunk) -> bool:
    return BY_NAME[chunk.language].kind in (Kind.PROSE, Kind.NOTEBOOK)


def _name_place(chunk: Chunk, snippet: Snippet | None = None) -> str:
    """Say where a passage stands; of its symbols, name the one that a quotation belongs to."""
    if not chunk.symbol:
        return f"`{chunk.path}`"
    symbols = chunk.symbol.split(", ")
    name = _symbol_of(snippet, chunk, symbols) if snippet else symbols[0]
    return f"`{name}` in `{chunk.path}`"


def _symbol_of(snippet: Snippet, chunk: Chunk, symbols: Sequence[str]) -> str:
    """Return the symbol that code begins with, or whose heading a paragraph stands under."""
    ends = {re.split(r"[.:›]+", symbol)[-1].strip(): symbol for symbol in reversed(symbols)}
    if not _is_prose(chunk):
        words = re.findall(r"\w+", snippet.text)
    else:
        words = split_lines(chunk.text)[: snippet.start_line - chunk.start_line + 1]
        words = [line.strip("#=* \n") for line in reversed(words)]
    return next((ends[word] for word in words if word in ends), symbols[0])


def _list_places(hits: Sequence[Hit], *, besides: int) -> str:
    places = [
        f"- {_name_place(hit.chunk)} "
        + format_citation(passage, hit.chunk.start_line, hit.chunk.end_line)
        for passage, hit in enumerate(hits, start=1)
        if passage != besides
    ]
    return "Also worth a look:\n\n" + "\n".join(places[:PLACES]) if places else ""
