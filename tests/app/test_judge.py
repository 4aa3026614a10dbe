"""A judge's verdict counts if it holds in both orders."""

from pathlib import Path

import pytest

from app.judge import (
    Duel,
    Outcome,
    describe_outcomes,
    judge_duels,
    judge_messages,
    read_verdict,
    settle,
)
from data_tools.progress import Progress
from tests.stub_openai import Message, StubOpenAI
from training.answer_cache import AnswerCache
from training.served_model import ServedModel


def prefer_good(messages: list[Message]) -> str:
    """A judge that goes by what it reads: the answer that says `good`."""
    first, second = messages[-1]["content"].split("answer B>>")
    if ("good" in first) == ("good" in second):
        return "They are alike. [[C]]"
    return f"Not [[C]]. [[{'A' if 'good' in first else 'B'}]]"


def prefer_first(_: list[Message]) -> str:
    """A judge that goes by the order alone."""
    return "[[A]]"


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("[[A]]", "first"),
        ("Both say it. [[A]] or rather [[B]]", "second"),
        ("equal: [[C]]", "tie"),
        ("A is better", None),
        ("", None),
        (None, None),
    ],
)
def test_the_last_verdict_counts(reply: str | None, choice: str | None) -> None:
    assert read_verdict(reply) == choice


def test_a_verdict_counts_only_if_both_orders_agree() -> None:
    assert settle("first", "second") == "first"
    assert settle("second", "first") == "second"
    assert settle("tie", "tie") == "tie"
    assert settle("first", "first") == "disagreed"
    assert settle("tie", "first") == "disagreed"
    assert settle(None, "first") == settle("tie", None) == "unreadable"


def test_the_judge_sees_no_citations() -> None:
    content = judge_messages("Where?", "In `a.py` [1:L1-L2].", "")[-1]["content"]
    assert "In `a.py`." in content and "[1:" not in content
    assert "(no answer)" in content


def test_each_pair_is_judged_in_both_orders_and_asked_once(tmp_path: Path) -> None:
    duels = [
        Duel("q1", "good", "bad"),
        Duel("q2", "bad", "good"),
        Duel("q3", "bad", "worse"),
        Duel("q4", "same", "same"),
    ]
    seen: list[Progress] = []
    with StubOpenAI(prefer_good) as stub:
        judge = ServedModel(f"{stub.url}/v1", None, max_tokens=64)
        cache = AnswerCache(tmp_path, "judge")
        outcomes = judge_duels(judge, duels, cache, report=seen.append)
        asked = sum(request.path.endswith("/chat/completions") for request in stub.requests)
        again = judge_duels(judge, duels, AnswerCache(tmp_path, "judge"), report=seen.append)
        assert asked == 6
        assert asked == sum(r.path.endswith("/chat/completions") for r in stub.requests)
        judge.close()
    assert outcomes == again == ["first", "second", "tie", "tie"]
    assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("judge", 6, 6)


def test_a_judge_that_goes_by_the_order_decides_nothing(tmp_path: Path) -> None:
    with StubOpenAI(prefer_first) as stub:
        judge = ServedModel(f"{stub.url}/v1", None, max_tokens=64)
        duels = [Duel("q", "a", "b"), Duel("q", "c", "d")]
        outcomes = judge_duels(judge, duels, AnswerCache(tmp_path, "j"), report=lambda _: None)
        judge.close()
    described = describe_outcomes(outcomes)
    assert outcomes == ["disagreed", "disagreed"]
    assert described["score"] is None and described["disagreement"] == 1.0


def test_outcomes_are_summed_up_with_an_interval() -> None:
    outcomes: list[Outcome] = ["disagreed", "unreadable", "tie", "tie", "first", "first"]
    won: list[Outcome] = ["second"] * 6
    described = describe_outcomes(outcomes + won)
    assert described["duels"] == 12
    assert described["score"] == pytest.approx(0.7)
    assert 0 < described["low"] < 0.7 < described["high"] < 1
    assert described["disagreement"] == pytest.approx(1 / 11, abs=1e-6)
    assert describe_outcomes([])["score"] is None
