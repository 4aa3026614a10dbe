"""Metrics, by hand."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from retrieval.metrics import (
    Interval,
    bootstrap_interval,
    holds_answer,
    line_gains,
    ndcg,
    normalize,
    overlap,
    recall,
    reciprocal_rank,
    separation,
)
from retrieval.questions import GoldLines


@dataclass(frozen=True)
class Found:
    """Lines that a search returned."""

    path: str
    start_line: int
    end_line: int


def test_recall_is_the_share_of_gold_items_among_the_first_k() -> None:
    ranked = ["a", "b", "c", "d"]
    assert recall(ranked, {"b", "d", "x"}, 1) == 0
    assert recall(ranked, {"b", "d", "x"}, 2) == pytest.approx(1 / 3)
    assert recall(ranked, {"b", "d", "x"}, 4) == pytest.approx(2 / 3)
    assert recall(["b"], ["b", "b"], 10) == 1  # a gold item named twice is one item
    with pytest.raises(ValueError, match="at least one gold item"):
        recall(ranked, [], 1)


def test_the_reciprocal_rank_is_that_of_the_first_relevant_item() -> None:
    assert reciprocal_rank([True, True]) == 1
    assert reciprocal_rank([False, False, True, True]) == pytest.approx(1 / 3)
    assert reciprocal_rank([False]) == reciprocal_rank([]) == 0


def test_ndcg_discounts_gains_by_the_logarithm_of_the_rank() -> None:
    # Found: a miss, grade 1, grade 2. DCG = 1 / log2(3) + 2 / log2(4) = 0.63093 + 1.
    # Ideal: 2, 1, 1. DCG = 2 / log2(2) + 1 / log2(3) + 1 / log2(4) = 2 + 0.63093 + 0.5.
    assert ndcg([0, 1, 2], [1, 2, 1], 3) == pytest.approx(1.63093 / 3.13093, abs=1e-5)
    # At 1 there is only the miss; at 2 the ideal is cut off too.
    assert ndcg([0, 1, 2], [1, 2, 1], 1) == 0
    assert ndcg([0, 1, 2], [1, 2, 1], 2) == pytest.approx(0.63093 / 2.63093, abs=1e-5)


def test_ndcg_of_the_ideal_ranking_is_one_and_of_nothing_is_zero() -> None:
    assert ndcg([2, 1, 1, 0], [1, 2, 1], 10) == 1
    assert ndcg([], [1], 10) == 0
    with pytest.raises(ValueError, match="gain above 0"):
        ndcg([1], [], 10)


@pytest.mark.parametrize(
    ("start", "end", "shared"),
    [(1, 9, False), (1, 10, True), (12, 13, True), (5, 30, True), (20, 25, True), (21, 25, False)],
)
def test_spans_overlap_if_they_share_a_line(start: int, end: int, shared: bool) -> None:
    gold = GoldLines("a.py", 10, 20)
    assert overlap(Found("a.py", start, end), gold) is shared
    assert overlap(gold, Found("a.py", start, end)) is shared
    assert not overlap(Found("b.py", start, end), gold)


def test_a_chunk_gains_the_best_grade_that_it_overlaps_and_each_span_counts_once() -> None:
    gold = [GoldLines("a.py", 10, 20, 2), GoldLines("a.py", 30, 40, 1), GoldLines("b.py", 1, 5, 1)]
    found = [
        Found("c.py", 1, 99),
        Found("a.py", 15, 35),  # both of a.py: the better one counts
        Found("a.py", 36, 50),  # the second span again
        Found("b.py", 5, 9),
    ]
    assert line_gains(found, gold) == [0, 2, 0, 1]
    # DCG = 2 / log2(3) + 1 / log2(5) = 1.69253; ideal = 2 + 1 / log2(3) + 1 / 2 = 3.13093.
    score = ndcg(line_gains(found, gold), [span.grade for span in gold], 10)
    assert score == pytest.approx(1.69253 / 3.13093, abs=1e-5)


spans = some.builds(
    lambda path, start, length, grade: GoldLines(path, start, start + length, grade),
    some.sampled_from("ab"),
    some.integers(1, 30),
    some.integers(0, 10),
    some.integers(1, 3),
)


@given(some.lists(spans, min_size=1, max_size=6, unique=True), some.lists(spans, max_size=8))
def test_no_ranking_is_better_than_the_ideal_one(
    gold: list[GoldLines], found: list[GoldLines]
) -> None:
    score = ndcg(line_gains(found, gold), [span.grade for span in gold], 10)
    assert 0 <= score <= 1 + 1e-12


def test_normalizing_keeps_lower_case_letters_digits_and_underscores() -> None:
    assert normalize("Take_Tokens2( ä )") == "take_tokens2"


def test_an_answer_is_looked_for_without_regard_to_case_and_punctuation() -> None:
    assert holds_answer("Trainer.fit()", "call trainer . FIT (")
    assert not holds_answer("Trainer.fit()", "call trainer.eval()")
    with pytest.raises(ValueError, match=r"'\?' has no letter"):
        holds_answer("?", "every text")


def test_the_interval_of_equal_differences_is_a_point() -> None:
    assert bootstrap_interval(np.full(7, 0.25)) == Interval(0.25, 0.25, 0.25)
    assert not bootstrap_interval(np.zeros(5)).is_clear
    assert Interval(0.2, 0.1, 0.3).is_clear and Interval(-0.2, -0.3, -0.1).is_clear
    assert not Interval(0.1, -0.1, 0.3).is_clear and not Interval(0.1, 0.0, 0.3).is_clear


def test_the_interval_has_the_width_that_theory_gives() -> None:
    # n values of variance s²: the mean's standard error is s / √n, and 95 % lies within 1.96.
    differences = np.repeat([-1.0, 0.0, 0.0, 1.0], 100)
    interval = bootstrap_interval(differences)
    error = math.sqrt(0.5 / 400)
    assert interval.difference == 0
    assert interval.low == pytest.approx(-1.96 * error, rel=0.05)
    assert interval.high == pytest.approx(1.96 * error, rel=0.05)


def test_about_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        interval = bootstrap_interval(generator.exponential(1.0, 60) - 1.0, resamples=1000)
        held += interval.low <= 0 <= interval.high
    assert 0.90 <= held / 400 <= 0.97  # the percentile interval is a little narrow for skewed data


def test_an_interval_depends_on_the_seed_and_not_on_the_order_of_the_questions() -> None:
    differences = np.random.default_rng(1).normal(0.1, 1.0, 300)
    shuffled = np.random.default_rng(2).permutation(differences)
    assert bootstrap_interval(shuffled) == bootstrap_interval(differences)
    assert bootstrap_interval(differences, seed=1) != bootstrap_interval(differences)


def test_many_questions_are_resampled_in_blocks() -> None:
    differences = np.tile([0.0, 1.0], 1500)  # 10,000 resamples of 3,000: several blocks
    interval = bootstrap_interval(differences)
    single = bootstrap_interval(differences, resamples=1)
    assert single.low == single.high != single.difference
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(3000), rel=0.05)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [[0.1], [0.2]]])
def test_what_cannot_be_resampled_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="the bootstrap needs"):
        bootstrap_interval(np.array(values, np.float64))


def test_separation_counts_the_pairs_in_order_and_ties_half() -> None:
    higher, lower = np.array([0.9, 0.5, 0.2]), np.array([0.5, 0.1])
    # 0.9 beats both, 0.5 ties with one and beats one, 0.2 beats one: 2 + 1.5 + 1 of 6.
    assert separation(higher, lower) == pytest.approx(4.5 / 6)
    assert separation(lower, higher) == pytest.approx(1.5 / 6)
    with pytest.raises(ValueError, match="both sides"):
        separation(higher, np.array([]))
