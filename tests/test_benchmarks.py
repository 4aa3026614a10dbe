"""The benchmark's own arithmetic, by hand."""

import pytest

from benchmarks.questions import COMPOSER_QUESTIONS, composer_questions, hit_rates
from benchmarks.run import fuse_ranks
from retrieval.questions import Question, read_questions

ASK = Question("1", "Which function takes tokens?", answer="take_tokens()")


def test_the_shipped_questions_are_whole() -> None:
    assert len(read_questions(COMPOSER_QUESTIONS)) == 653
    assert len(composer_questions()) == 651  # two have an empty answer


def test_hit_rates_count_the_first_text_that_holds_the_answer() -> None:
    found = [["x", "take_tokens(1)"], ["take_tokens"], ["nothing"]]
    assert hit_rates([ASK] * 3, found, (1, 2)) == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3)}


def test_results_must_match_the_questions() -> None:
    with pytest.raises(ValueError, match="1 questions, 0 results"):
        hit_rates([ASK], [], (1,))


def test_ranks_are_fused_by_their_reciprocals() -> None:
    # 7: 1/61 + 1/62; 8: 1/62 + 1/61; 9: 1/63 only
    assert fuse_ranks([[(7, 9.0), (8, 1.0), (9, 0.5)], [(8, 0.9), (7, 0.1)]]) == [7, 8, 9]
