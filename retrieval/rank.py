"""Fuse what BM25 and the vectors found into one ranking, and weigh in what a chunk is.

Scores are first divided by the best one of their retriever, so that they share a scale, then
combined. Measured against reciprocal rank fusion in `benchmarks/RESULTS.md`: ranks throw away
how far the first hit leads. Pure functions: no files, no models.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache

TEST_PRIOR = 0.8  # tests repeat the words of what they test
EXAMPLE_PRIOR = 0.9
CHANGELOG_PRIOR = 0.7  # changelogs name everything and explain nothing

_TEST = re.compile(
    r"(^|/)(tests?|testing|specs?|__tests__)/|(^|/)test_|_test\.|\.(test|spec)\.", re.I
)
_EXAMPLE = re.compile(r"(^|/)(examples?|demos?|samples?|tutorials?)/", re.I)
_CHANGELOG = re.compile(
    r"(^|/)(change-?logs?|changes|history|news|releases?|release-?notes|whats-?new)(\.\w+$|$|/)",
    re.I,
)
_PROSE = re.compile(r"(^|/)[^./]+$|\.(md|markdown|rst|txt|adoc)$", re.I)  # history.py is code


def fuse_scores(
    lexical: Mapping[int, float], cosine: Mapping[int, float], *, dense_weight: float
) -> dict[int, float]:
    """Fuse two retrievers by a convex combination of their scores.

    :param lexical: chunk number → BM25 score, at least 0; a missing chunk counts as 0.
    :param cosine: chunk number → cosine similarity, in [-1, 1]; likewise.
    :param dense_weight: share of the cosine, in [0, 1].
    :return: chunk number → score, no unit, in [0, 1].
    :raises ValueError: `dense_weight` is out of range.

    Source: Bruch, Gai & Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval",
    ACM TOIS 42(1), 2023, doi:10.1145/3596512, with division by the maximum to normalise.
    """
    if not 0.0 <= dense_weight <= 1.0:
        raise ValueError(f"dense_weight must lie in [0, 1], but is {dense_weight}")
    best_lexical = max(lexical.values(), default=0.0) or 1.0
    best_cosine = max(cosine.values(), default=0.0)
    best_cosine = best_cosine if best_cosine > 0 else 1.0
    return {
        number: (1 - dense_weight) * lexical.get(number, 0.0) / best_lexical
        + dense_weight * max(cosine.get(number, 0.0), 0.0) / best_cosine
        for number in {**lexical, **cosine}
    }


@lru_cache(maxsize=100_000)  # paths: the files that questions find are often the same ones
def path_prior(path: str, *, prose: float = 1.0) -> float:
    """Rate how likely a file answers a question, by what its path says it is.

    :param path: POSIX, relative.
    :param prose: factor for documentation: it depends on the question.
    :return: a factor above 0.
    """
    if _TEST.search(path):
        return TEST_PRIOR
    if _PROSE.search(path):
        return CHANGELOG_PRIOR if _CHANGELOG.search(path) else prose
    return EXAMPLE_PRIOR if _EXAMPLE.search(path) else 1.0


def defines(symbol: str, words: frozenset[str]) -> bool:
    """Tell whether a chunk defines something that a question names.

    :param symbol: `Chunk.symbol`.
    :param words: as `retrieval.question_kind.question_words` gives them.
    """
    return any(
        re.split(r"[.:›]+", name)[-1].strip().lower() in words for name in symbol.split(", ")
    )


def rarity(chunks_with_token: int, chunks: int) -> float:
    """Rate how telling a token is, by its inverse document frequency.

    :return: in (0, 1]: near 0 for a token in every chunk of many, 1 for one in none.

    Source: Robertson & Zaragoza, 2009, doi:10.1561/1500000019, scaled by its largest value.
    """
    if chunks < 1:
        return 1.0
    largest = math.log(1 + (chunks + 0.5) / 0.5)
    return math.log(1 + (chunks - chunks_with_token + 0.5) / (chunks_with_token + 0.5)) / largest
