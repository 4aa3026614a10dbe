"""The metrics of a model's texts, against figures worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.metrics import bootstrap_interval
from retrieval.prompt import REFUSAL
from retrieval.questions import GoldLines
from tests.fakes import MakeChunk
from training.model_metrics import (
    Tally,
    answer_words,
    bits_per_byte,
    compare_tallies,
    contains,
    count_citations,
    exact_match,
    fit_unigrams,
    is_refusal,
    tally_refusals,
    token_f1,
)


def test_bits_per_byte_are_nats_in_bits_over_bytes() -> None:
    assert bits_per_byte(math.log(256) * 3, 3) == pytest.approx(8.0)  # 3 bytes, all even chances
    assert bits_per_byte(math.log(2), 4) == pytest.approx(0.25)  # one coin for four bytes


def test_bits_per_byte_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        bits_per_byte(1.0, 0)


def test_unigrams_are_smoothed_by_one_and_sum_to_one() -> None:
    log_shares = fit_unigrams(np.array([3, 1, 0]))
    assert np.exp(log_shares) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The `update_batch` method.", ["update_batch", "method"]),
        ("Timer.start()", ["timer", "start"]),
        ("since version 0.15.1", ["since", "version", "0.15.1"]),
        ("It waits [1:L2-L3].", ["it", "waits"]),
        ("a", ["a"]),  # a name of one letter, and not an article: nothing else is left
        ("**", ["**"]),
        ("", []),
        ("Größe über 3", ["größe", "über", "3"]),
    ],
)
def test_words_of_an_answer_keep_names_of_code_whole(text: str, words: list[str]) -> None:
    assert answer_words(text) == words


@pytest.mark.parametrize(
    ("gold", "answer", "exact", "held", "f1"),
    [
        ("EarlyStopper", "the `EarlyStopper`.", 1, 1, 1),
        ("EarlyStopper", "Use EarlyStopper for this", 0, 1, 2 * 1 / (1 + 4)),
        ("save_interval", "saved at every interval", 0, 0, 0),
        ("apply", "reapply", 0, 0, 0),  # within a word is not among the words
        ("two three", "one two three two", 0, 1, 2 * 2 / (2 + 4)),
        ("two two", "two", 0, 0, 2 * 1 / (2 + 1)),
        ("two three", "three two", 0, 0, 1),
        ("it", "", 0, 0, 0),
    ],
)
def test_answers_are_compared_word_by_word(
    gold: str, answer: str, exact: float, held: float, f1: float
) -> None:
    assert exact_match(gold, answer) == exact
    assert contains(gold, answer) == held
    assert token_f1(gold, answer) == pytest.approx(f1)


@given(st.text(), st.text())
def test_an_exact_match_is_contained_and_has_a_perfect_f1(gold: str, answer: str) -> None:
    assert 0 <= token_f1(gold, answer) <= 1
    assert token_f1(gold, answer) == pytest.approx(token_f1(answer, gold))
    assert exact_match(gold, answer) <= contains(gold, answer)
    assert exact_match(gold, answer) <= token_f1(gold, answer)


def test_a_refusal_is_known_by_the_words_that_the_chat_asks_for() -> None:
    assert is_refusal(f"{REFUSAL} They show a bucket.")
    assert is_refusal("the passages do not say")
    assert not is_refusal("The passages say that it waits.")


def test_citations_are_counted_against_the_passages_shown(make_chunk: MakeChunk) -> None:
    passages = [
        make_chunk("x\n" * 5, start_line=10),
        make_chunk("y\n" * 5, path="b.py", start_line=1),
    ]
    answer = "Refills [1:L12-L13], waits [2:L1-L9], stops [3], refills [1:L12-L13] `a[7]`."
    gold = [GoldLines("src/bucket.py", 13, 20)]
    counted = count_citations(answer, passages, gold)
    assert (counted.written, counted.valid, counted.cites_gold) == (3, 1, True)
    assert not count_citations("Waits [2:L1].", passages, gold).cites_gold
    assert count_citations("Nothing cited.", passages, gold).written == 0


def test_refusals_have_a_precision_and_a_recall() -> None:
    refused = [True, True, True, False, False]
    absent = [True, True, False, True, False]
    precision, recall = tally_refusals(refused, absent)
    assert precision.figure == pytest.approx(2 / 3)
    assert recall.figure == pytest.approx(2 / 3)
    precision, recall = tally_refusals([False, False], [True, False])
    assert (precision.figure, recall.figure) == (None, 0)


def test_a_share_is_all_parts_over_all_wholes_and_no_mean_of_shares() -> None:
    assert Tally.share_of([1, 0], [1, 9]).figure == pytest.approx(0.1)


def test_means_are_compared_as_the_paired_bootstrap_does() -> None:
    generator = np.random.default_rng(3)
    base = generator.random(200)
    tuned = base + generator.normal(0.1, 0.2, 200)
    found = compare_tallies(Tally.mean_of(base.tolist()), Tally.mean_of(tuned.tolist()))
    expected = bootstrap_interval(tuned - base)
    assert found.difference == pytest.approx(expected.difference)
    assert found.difference_interval == pytest.approx((expected.low, expected.high), abs=2e-3)
    assert found.base == pytest.approx(base.mean())
    assert found.base_interval is not None
    assert found.base_interval[0] < base.mean() < found.base_interval[1]


def test_the_order_of_the_items_changes_nothing() -> None:
    values, weights = [1.0, 0.0, 4.0, 2.0], [2.0, 1.0, 5.0, 2.0]
    forwards = compare_tallies(Tally.share_of(values, weights), Tally.share_of(weights, weights))
    backwards = compare_tallies(
        Tally.share_of(values[::-1], weights[::-1]), Tally.share_of(weights[::-1], weights[::-1])
    )
    assert forwards == backwards


def test_equal_ratios_differ_by_nothing_however_they_are_resampled() -> None:
    tally = Tally.share_of([1, 2, 3], [10, 20, 1])
    found = compare_tallies(tally, tally)
    assert (found.difference, found.difference_interval) == (0, (0, 0))
    assert found.tuned_interval is not None
    assert found.tuned_interval[0] < found.tuned_interval[1]


def test_what_is_not_defined_for_the_base_has_no_difference() -> None:
    found = compare_tallies(Tally.share_of([0, 0], [0, 0]), Tally.share_of([1, 0], [1, 1]))
    assert (found.base, found.difference, found.difference_interval) == (None, None, None)
    assert found.tuned == 0.5


def test_one_item_has_a_figure_but_no_interval() -> None:
    found = compare_tallies(Tally.mean_of([0.0]), Tally.mean_of([1.0]))
    assert (found.difference, found.difference_interval) == (1, None)


def test_tallies_of_other_items_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same items"):
        compare_tallies(Tally.mean_of([1.0]), Tally.mean_of([1.0, 0.0]))
