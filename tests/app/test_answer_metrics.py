"""What answers are worth, by hand-made records."""

import random

import pytest

from app.answer_metrics import (
    Preset,
    describe_answers,
    describe_cost,
    describe_differences,
    tally_answers,
)
from app.recorded_answers import AnswerRecord, count_astray, holds_gold
from retrieval.citations import Citation, check_citations
from retrieval.questions import GoldLines, Question
from tests.fakes import MakeChunk

QUESTIONS = [
    Question("1", "Which class?", answer="TokenBucket"),
    Question("2", "Which method?", answer="take"),
    Question("3", "Which lines?", files=("a.py",), lines=(GoldLines("a.py", 3, 5),)),
    Question("4", "Which moon?", answerable=False),
    Question("5", "Which sun?", answerable=False),
]
RECORDS = [
    AnswerRecord("`TokenBucket` [1:L1-L2]", found=True, valid=1, first_token_s=0.1, total_s=0.2),
    AnswerRecord("It is the method take here", found=False, valid=2, dropped=1, doubted=1),
    AnswerRecord("I did not find it", abstained=True, found=True, valid=1, cites_gold=True),
    AnswerRecord("I did not find it", abstained=True, valid=1, prompt_tokens=100, calls=2),
    AnswerRecord("The sun [1]", valid=0, dropped=1, prompt_tokens=300),
]


def figures(records: list[AnswerRecord], preset: Preset = "simple") -> dict[str, float | None]:
    tallies = tally_answers(QUESTIONS, records, preset=preset)
    return {name: tally.figure for name, tally in tallies.items()}


def test_each_metric_counts_the_questions_that_it_concerns() -> None:
    found = figures(RECORDS)
    assert found == {
        "retrieval_hit": pytest.approx(2 / 3),
        "exact_match": 0.5,
        "close_match": 1.0,
        "corrected_score": 0.75,
        "token_f1": pytest.approx((1 + 1 / 3) / 2),
        "wrong_refusals": pytest.approx(1 / 3),
        "abstention_precision": 0.5,
        "abstention_recall": 0.5,
        "citations_as_written": pytest.approx(4 / 6),  # what the app itself said is left out
        "citations_as_shown": 1.0,
        "citation_support": 0.8,
        "cites_gold": 1.0,
    }
    described = describe_answers(tally_answers(QUESTIONS, RECORDS))
    assert described["token_f1"]["n"] == 2 and described["cites_gold"]["n"] == 1
    assert described["wrong_refusals"]["low"] <= 1 / 3 <= described["wrong_refusals"]["high"]


def test_a_citation_that_points_beside_the_evidence_is_seen() -> None:
    astray = [*RECORDS[:4], AnswerRecord("The sun [1:L1-L2]", valid=1, astray=1)]
    assert figures(astray)["citations_as_shown"] == pytest.approx(5 / 6)


def test_a_complex_set_has_no_exact_matches() -> None:
    found = figures(RECORDS, "complex")
    assert "exact_match" not in found and "corrected_score" not in found
    assert found["token_f1"] is not None


def test_metrics_without_anything_to_measure_are_left_out() -> None:
    tallies = tally_answers(QUESTIONS[:1], [AnswerRecord("I did not find it", found=False)])
    assert list(tallies) == [
        *("retrieval_hit", "exact_match", "close_match", "corrected_score", "token_f1"),
        "wrong_refusals",
    ]


def test_differences_are_those_of_the_same_questions() -> None:
    first, second = tally_answers(QUESTIONS, RECORDS), tally_answers(QUESTIONS, RECORDS[:4] + [
        AnswerRecord("I did not find it", abstained=True)
    ])  # fmt: skip
    differences = describe_differences(first, second)
    assert list(differences) == list(first)
    assert differences["abstention_recall"]["difference"] == pytest.approx(0.5)
    assert differences["exact_match"] == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_costs_leave_out_what_was_not_counted() -> None:
    failed = AnswerRecord("", problem="nothing answers", total_s=9.0)
    cost = describe_cost([*RECORDS, failed])
    assert cost["failed"] == 1
    assert cost["first_token_s"] == {"p50": 0.1, "p95": 0.1}
    assert cost["prompt_tokens"] == 200 and cost["completion_tokens"] is None
    assert "search_s" not in cost


def test_gold_is_looked_for_by_lines_then_files_then_name(make_chunk: MakeChunk) -> None:
    chunk = make_chunk("def take():\n", path="a.py", start_line=3)
    lines = Question("1", "q", files=("a.py",), lines=(GoldLines("a.py", 9, 9),))
    assert holds_gold(lines, [chunk]) is False
    assert holds_gold(Question("1", "q", files=("a.py",)), [chunk]) is True
    assert holds_gold(Question("1", "q", answer="take()"), [chunk]) is True
    assert holds_gold(Question("1", "q", answer="take()"), [chunk], answers_are_names=False) is None
    assert holds_gold(QUESTIONS[3], [chunk]) is None


def test_citations_are_held_against_the_passage_that_they_name(make_chunk: MakeChunk) -> None:
    chunk = make_chunk("a\nb\nc\n", path="a.py", start_line=5)

    def cite(passage: int = 1, path: str = "a.py", start: int = 5, end: int = 7) -> Citation:
        return Citation(passage, chunk.repo, path, start, end, None)

    assert count_astray([cite(), cite(start=6, end=6)], [chunk]) == 0
    beside = [cite(2), cite(0), cite(path="b.py"), cite(start=4), cite(end=8), cite(start=7, end=6)]
    assert count_astray(beside, [chunk]) == len(beside)


def test_whatever_a_model_cites_points_into_the_evidence_once_checked(
    make_chunk: MakeChunk,
) -> None:
    chooser = random.Random(5)
    evidence = [make_chunk("x\n" * 9, path=f"{n}.py", start_line=10 * n + 1) for n in range(4)]
    kept = dropped = 0
    for _ in range(300):
        numbers = [chooser.randint(0, 45) for _ in range(3)]
        forms = ("[{0}]", "[{0}:L{1}-L{2}]", "[{0}:{1}]", "[{0}: L{1}–L{2}]", "[{0}:L{2}-L{1}]")
        text = " and ".join(
            chooser.choice(forms).format(chooser.randint(0, 6), *numbers) for _ in range(4)
        )
        checked = check_citations(text, evidence, {})
        assert count_astray(checked.citations, evidence) == 0
        kept, dropped = kept + len(checked.citations), dropped + len(checked.dropped)
    assert kept > 100 and dropped > 100
