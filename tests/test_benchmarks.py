"""The benchmark's own arithmetic, by hand."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.questions import COMPOSER_QUESTIONS, composer_questions, hit_rates
from benchmarks.variants import fuse_ranks
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
    fused = fuse_ranks({7: 9.0, 8: 1.0, 9: 0.5}, {8: 0.9, 7: 0.1}, dense_weight=0.5)
    first, second, third = (61 / (60 + rank) for rank in (1, 2, 3))
    both = (first + second) / 2
    assert fused == pytest.approx({7: both, 8: both, 9: third / 2})


def test_a_part_that_there_is_not_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["speed", "beauty"])
    assert "no such part: beauty; choose from speed, quality" in capsys.readouterr().err


def test_a_repository_that_cannot_be_had_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "composer").mkdir()
    assert main(["speed", "quality", "--clones", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out.split() == ["##", "Speed", "##", "Quality"]
    assert said.err.count("measured:") == 3
