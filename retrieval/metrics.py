"""How good a ranking is: recall, nDCG, reciprocal rank, hits, and what a difference is worth.

Pure functions: no files, no models, no index. A metric of one question is a number in [0, 1];
means over questions are the caller's.
"""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RESAMPLES = 10_000  # the ends of a 95 % interval then move by 0.03 standard errors
CONFIDENCE = 0.95
BLOCK_VALUES = 4_000_000  # drawn at once by the bootstrap: 32 MB of row numbers


class Lines(Protocol):
    """Lines of a file: a chunk, or where an answer stands. 1-based, inclusive."""

    @property
    def path(self) -> str:
        """POSIX, relative."""
        ...

    @property
    def start_line(self) -> int:
        """The first line."""
        ...

    @property
    def end_line(self) -> int:
        """The last line."""
        ...


class GradedLines(Lines, Protocol):
    """Lines where an answer stands, and how well they answer."""

    @property
    def grade(self) -> int:
        """At least 1; more is better."""
        ...


@dataclass(frozen=True)
class Interval:
    """A mean difference, and the interval that holds it with 95 % confidence."""

    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def recall(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the share of the gold items that are among the first k.

    :param ranked: items, best first, each once.
    :raises ValueError: there is no gold item.
    """
    if not gold:
        raise ValueError("recall needs at least one gold item")
    return len(set(ranked[:k]) & set(gold)) / len(set(gold))


def reciprocal_rank(relevant: Sequence[bool]) -> float:
    """Return 1 / rank of the first relevant item, or 0 where none is relevant.

    :param relevant: one flag an item, best-ranked item first.
    """
    return next((1 / rank for rank, flag in enumerate(relevant, start=1) if flag), 0.0)


def ndcg(gains: Sequence[float], ideal_gains: Sequence[float], k: int) -> float:
    """Return the normalised discounted cumulative gain of the first k items.

    DCG@k = Σ gain(rank) / log2(1 + rank) over ranks 1 to k; nDCG@k divides it by the DCG@k of
    the ideal gains in falling order.

    :param gains: gain of each item found, best-ranked item first; 0 for an irrelevant one.
    :param ideal_gains: gain of each gold item, in any order.
    :return: in [0, 1], if `gains` counts no gold item twice.
    :raises ValueError: no ideal gain is above 0.

    Source: Järvelin & Kekäläinen, ACM TOIS 20(4), 2002, doi:10.1145/582415.582418, with gains
    as they are and the discount log2(1 + rank), as is usual since.
    """
    ideal = _discounted(sorted(ideal_gains, reverse=True)[:k])
    if not ideal > 0:
        raise ValueError("nDCG needs at least one gold item with a gain above 0")
    return _discounted(gains[:k]) / ideal


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(1 + rank) for rank, gain in enumerate(gains, start=1))


def overlap(one: Lines, other: Lines) -> bool:
    """Whether two spans of lines share at least one line of the same file."""
    return (
        one.path == other.path
        and one.start_line <= other.end_line
        and other.start_line <= one.end_line
    )


def line_gains(found: Sequence[Lines], gold: Sequence[GradedLines]) -> list[float]:
    """Return the gain of each chunk found: the best grade among the gold spans it overlaps.

    Every gold span counts once: where an earlier chunk overlaps it too, it adds nothing. So a
    chunk that holds several gold spans gains the best grade alone, and the nDCG of a ranking
    that begins with it stays below 1.

    :param found: chunks, best first.
    """
    left = list(gold)
    gains = []
    for chunk in found:
        reached = [span for span in left if overlap(chunk, span)]
        gains.append(float(max((span.grade for span in reached), default=0)))
        left = [span for span in left if span not in reached]
    return gains


def normalize(text: str) -> str:
    """Keep lower-case letters, digits and underscores, so that `apply()` is found in `apply(`."""
    return re.sub(r"[^a-z0-9_]", "", text.lower())


def holds_answer(answer: str, text: str) -> bool:
    """Whether an answer stands in a text, both normalised.

    :raises ValueError: nothing of `answer` is left, so that it would stand in every text.
    """
    wanted = normalize(answer)
    if not wanted:
        raise ValueError(f"{answer!r} has no letter a-z, digit or underscore")
    return wanted in normalize(text)


def bootstrap_interval(
    differences: Values, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the mean of paired differences and its 95 % percentile bootstrap interval.

    :param differences: shape (n_questions,): the metric of one configuration minus that of the
        other, by question, in any order: the result is the same.
    :raises ValueError: there are none, or one is not a number.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; for
    retrieval Sakai, SIGIR 2006, doi:10.1145/1148170.1148261.
    """
    if differences.ndim != 1 or not differences.size or not np.isfinite(differences).all():
        raise ValueError("the bootstrap needs at least one difference, and numbers only")
    ordered = np.sort(differences)
    n = ordered.size
    generator = np.random.default_rng(seed)
    block = max(BLOCK_VALUES // n, 1)
    means = np.concatenate(
        [
            ordered[generator.integers(n, size=(min(block, resamples - start), n))].mean(axis=1)
            for start in range(0, resamples, block)
        ]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(math.fsum(ordered) / n, float(low), float(high))


def separation(higher: Values, lower: Values) -> float:
    """Return how surely a value of `higher` is above one of `lower` (the area under the ROC curve).

    :param higher: shape (n,); `lower`: shape (m,); any unit.
    :return: share of pairs, ties counted half: 1 where all are, 0.5 where it is a toss-up.
    :raises ValueError: either is empty.

    Source: Mann & Whitney, 1947, doi:10.1214/aoms/1177730491.
    """
    if not higher.size or not lower.size:
        raise ValueError("separation needs values on both sides")
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, side="left")
    not_above = np.searchsorted(ordered, higher, side="right")
    return float((below + not_above).mean() / (2 * lower.size))
