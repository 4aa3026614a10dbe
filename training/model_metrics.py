"""How good a language model's texts are, and what a difference between two models is worth.

Pure functions: no files, no models. A metric is a `Tally`, what each item adds and out of how
much, because some figures are no means: bits per byte are all bits over all bytes, the validity
of citations is over all citations and not over answers. Items are what is resampled.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_tools.chunk import Chunk
from retrieval.citations import Citation, check_citations, without_citations
from retrieval.metrics import BLOCK_VALUES, CONFIDENCE, RESAMPLES, Lines, Values, overlap
from retrieval.prompt import REFUSAL

_WORD = re.compile(r"\d+(?:\.\d+)+|\w+")
_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True)
class Tally:
    """One metric of one model: the figure is the sum of `values` over that of `weights`.

    :param values: shape (n_items,).
    :param weights: shape (n_items,), at least 0: bytes, citations, or 1 an item.
    """

    values: Values
    weights: Values

    @classmethod
    def mean_of(cls, values: Sequence[float]) -> "Tally":
        """Make a tally whose figure is the mean."""
        return cls(np.array(values, np.float64), np.ones(len(values)))

    @classmethod
    def share_of(cls, parts: Sequence[float], wholes: Sequence[float]) -> "Tally":
        """Make a tally whose figure is all parts over all wholes."""
        return cls(np.array(parts, np.float64), np.array(wholes, np.float64))

    @property
    def figure(self) -> float | None:
        """The metric; None where there is nothing to divide by."""
        whole = math.fsum(self.weights)
        return math.fsum(self.values) / whole if whole else None


Bounds = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """One metric of two models, with 95 % intervals; None where a figure is not defined.

    :param difference: of the tuned model to the base; `difference_interval` is its interval.
    """

    base: float | None
    tuned: float | None
    difference: float | None
    base_interval: Bounds | None
    tuned_interval: Bounds | None
    difference_interval: Bounds | None


def compare_tallies(
    base: Tally | None, tuned: Tally, *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare two models on the same items, by the paired bootstrap over items.

    With weights of 1 the difference's interval is that of `retrieval.metrics.bootstrap_interval`.

    :param base: None where there is only one model; then only its own interval is made.
    :raises ValueError: the tallies are not of the same number of items.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 10.3 (for
    ratios).
    """
    tallies = [tally for tally in (base, tuned) if tally is not None]
    if len({tally.values.size for tally in tallies}) != 1:
        raise ValueError("only tallies of the same items can be compared")
    drawn = _resample(tallies, resamples, seed)
    if base is None:
        return Comparison(None, tuned.figure, None, None, _interval(drawn[0]), None)
    difference = None
    if base.figure is not None and tuned.figure is not None:
        difference = tuned.figure - base.figure
    return Comparison(
        base.figure,
        tuned.figure,
        difference,
        _interval(drawn[0]),
        _interval(drawn[1]),
        _interval(drawn[1] - drawn[0]),
    )


def _resample(tallies: Sequence[Tally], resamples: int, seed: int) -> Values:
    """Draw the figures of resampled items; shape (n_tallies, resamples), NaN where undefined."""
    columns = np.array([part for tally in tallies for part in (tally.values, tally.weights)])
    n = columns.shape[1]
    if n < 2:  # one item says nothing of how much items differ
        return np.full((len(tallies), resamples), np.nan)
    columns = columns[:, np.lexsort(columns)]  # so that the order of the items changes nothing
    generator = np.random.default_rng(seed)
    block = max(BLOCK_VALUES // n, 1)
    sums = np.empty((len(columns), resamples))
    for start in range(0, resamples, block):
        rows = generator.integers(n, size=(min(block, resamples - start), n))
        for number, column in enumerate(columns):
            sums[number, start : start + len(rows)] = column[rows].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        figures: Values = sums[0::2] / sums[1::2]
    return figures


def _interval(figures: Values) -> Bounds | None:
    finite = figures[np.isfinite(figures)]
    if not finite.size:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(finite, (tail, 1 - tail))
    return float(low), float(high)


def bits_per_byte(nats: float, size_bytes: int) -> float:
    """Turn the surprise of all tokens of a text into bits for each byte of it.

    Other than perplexity, it does not hang on how a tokenizer cuts the text.

    :param nats: sum of -ln p over the tokens.
    :param size_bytes: of the text in UTF-8.
    :raises ValueError: the text is empty.

    Source: Gao et al., The Pile, arXiv:2101.00027, section 3.1, with the sum over tokens written
    out.
    """
    if size_bytes < 1:
        raise ValueError("bits per byte need at least one byte")
    return nats / math.log(2) / size_bytes


def fit_unigrams(counts: npt.NDArray[np.int64]) -> Values:
    """Fit the model that knows only how frequent each token is; add-one smoothing.

    :param counts: shape (vocabulary,): how often each token occurs in the training text.
    :return: shape (vocabulary,): ln p of each token.

    Source: Laplace's law, Manning & Schütze, Foundations of Statistical NLP, 1999, section 6.2.2.
    """
    log_shares: Values = np.log(counts + 1.0) - math.log(counts.sum() + counts.size)
    return log_shares


def answer_words(text: str) -> list[str]:
    """Cut an answer into the words that are compared.

    As SQuAD does: lower case, no punctuation, no articles. Other than there, a name of code stays
    whole (`update_batch` is one word, `Timer.start` is two), as do version numbers; citations are
    left out first. A text of nothing but operators is one word, so that `**` can be right.

    Source: Rajpurkar et al., SQuAD, arXiv:1606.05250, section 6.1, and its `evaluate-v1.1.py`.
    """
    bare = without_citations(text)
    words = _WORD.findall(bare.lower())
    kept = [word for word in words if word not in _ARTICLES] or words
    return kept or bare.split()


def exact_match(gold: str, answer: str) -> float:
    """Return 1 if an answer has exactly the words of the right one, else 0."""
    return float(answer_words(gold) == answer_words(answer))


def contains(gold: str, answer: str) -> float:
    """Return 1 if the words of the right answer stand in an answer, one after another, else 0."""
    wanted, words = answer_words(gold), answer_words(answer)
    if not wanted:
        return float(not words)
    starts = range(len(words) - len(wanted) + 1)
    return float(any(words[at : at + len(wanted)] == wanted for at in starts))


def token_f1(gold: str, answer: str) -> float:
    """Return the harmonic mean of precision and recall of an answer's words, in [0, 1].

    A word counts as often as both hold it. Two answers without a word are equal.

    Source: Rajpurkar et al., SQuAD, arXiv:1606.05250, section 6.1.
    """
    wanted, words = answer_words(gold), answer_words(answer)
    if not wanted or not words:
        return float(wanted == words)
    left, common = list(wanted), 0
    for word in words:
        if word in left:
            left.remove(word)
            common += 1
    return 2 * common / (len(wanted) + len(words))


def is_refusal(answer: str) -> bool:
    """Whether an answer says that the passages do not hold what was asked for, as the chat asks."""
    return REFUSAL.rstrip(".").lower() in answer.lower()


@dataclass(frozen=True)
class CitationCount:
    """The citations of one answer.

    :param written: how many there are, the same lines counted each time they are cited wrongly
        and once if rightly, as the chat shows them.
    :param valid: those whose lines are in a passage that was shown.
    :param cites_gold: whether a valid one points to lines that hold the answer.
    """

    written: int
    valid: int
    cites_gold: bool


def count_citations(
    answer: str, passages: Sequence[Chunk], gold: Sequence[Lines] = ()
) -> CitationCount:
    """Check an answer's citations against the passages that were shown, as the chat does."""
    checked = check_citations(answer, passages, {})
    valid = len(checked.citations)
    cites_gold = any(_points_to(citation, gold) for citation in checked.citations)
    return CitationCount(valid + len(checked.dropped), valid, cites_gold)


def _points_to(citation: Citation, gold: Sequence[Lines]) -> bool:
    return any(overlap(citation, lines) for lines in gold)


def tally_refusals(refused: Sequence[bool], absent: Sequence[bool]) -> tuple[Tally, Tally]:
    """Measure how rightly a model refuses.

    :param refused: whether it refused, by item.
    :param absent: whether the answer really was not there, by item.
    :return: precision (of the refusals, how many were right) and recall (of the items without an
        answer, how many were refused), over all items.
    """
    right = [float(no and gone) for no, gone in zip(refused, absent, strict=True)]
    precision = Tally.share_of(right, [float(no) for no in refused])
    return precision, Tally.share_of(right, [float(gone) for gone in absent])
