"""Evaluation: what is measured on which question, latency, comparisons, gold that is missing."""

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data_tools.chunk import Chunk
from retrieval import CodeIndex, Hit
from retrieval.evaluate import METRICS, Evaluation, compare, evaluate, missing_gold
from retrieval.questions import GoldLines, Question
from tests.fakes import FakeEncoder, MakeChunk

BY_FILE = Question("file", "by file", files=("a.py", "z.py"))
BY_LINES = Question(
    "lines",
    "by lines",
    files=("a.py", "b.py"),
    lines=(GoldLines("a.py", 12, 14, 2), GoldLines("b.py", 90, 99, 1)),
)
BY_ANSWER = Question("answer", "by answer", answer="take()")
NOT_THERE = Question("none", "not there", answerable=False)
QUESTIONS = (BY_FILE, BY_LINES, BY_ANSWER, NOT_THERE)


class Ranking:
    """A search that returns the same chunks for any question, and remembers what it was asked.

    :ivar asked: the questions and numbers of chunks, in order.
    """

    def __init__(self, chunks: Sequence[Chunk], cosine: float = 0.5) -> None:
        self.chunks = chunks
        self.cosine = cosine
        self.asked: list[tuple[str, int]] = []

    def __call__(self, question: str, k: int) -> list[Hit]:
        """Return the chunks with falling scores."""
        self.asked.append((question, k))
        cosine = self.cosine / 2 if question == "not there" else self.cosine
        return [
            Hit(1 / rank, chunk, None, cosine / rank)
            for rank, chunk in enumerate(self.chunks[:k], start=1)
        ]


@pytest.fixture
def chunks(make_chunk: MakeChunk) -> list[Chunk]:
    """Four chunks of three files: b.py, a.py, a.py again, c.py."""
    return [
        make_chunk("pass\n", path="b.py", start_line=1, end_line=20),
        make_chunk("pass\n", path="a.py", start_line=1, end_line=12),
        make_chunk("pass\n", path="a.py", start_line=13, end_line=30),
        make_chunk("x.Take ( )\n", path="c.py", start_line=1, end_line=5),
    ]


def values_of(evaluation: Evaluation, question: Question) -> dict[str, float]:
    """The metrics that a question has."""
    row = evaluation.questions.index(question)
    values = {metric: float(column[row]) for metric, column in evaluation.values.items()}
    return {metric: value for metric, value in values.items() if not math.isnan(value)}


def test_files_are_ranked_by_their_first_chunk(chunks: list[Chunk]) -> None:
    evaluation = evaluate(QUESTIONS, Ranking(chunks))
    # Files found: b, a, c. Gold: a, z.
    assert values_of(evaluation, BY_FILE) == {
        "file_recall@1": 0,
        **dict.fromkeys(
            ["file_recall@3", "file_recall@5", "file_recall@10", "file_recall@20"], 0.5
        ),
        "file_ndcg@10": pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3))),
        "file_mrr": 0.5,
    }


def test_lines_are_hit_where_they_overlap_and_grades_count(chunks: list[Chunk]) -> None:
    values = values_of(evaluate(QUESTIONS, Ranking(chunks)), BY_LINES)
    # Chunks: b.py misses its gold lines, the first of a.py reaches them, the second repeats that.
    assert (values["line_hit@1"], values["line_hit@3"]) == (0, 1)
    ideal = 2 + 1 / math.log2(3)
    assert values["line_ndcg@10"] == pytest.approx(2 / math.log2(3) / ideal)
    # By file b.py gains 1 and a.py 2, wherever in them the chunks are.
    assert values["file_ndcg@10"] == pytest.approx((1 + 2 / math.log2(3)) / ideal)
    assert values["file_recall@3"] == values["file_mrr"] == 1


def test_an_answer_is_looked_for_in_the_texts(chunks: list[Chunk]) -> None:
    evaluation = evaluate(QUESTIONS, Ranking(chunks))
    assert values_of(evaluation, BY_ANSWER) == {
        "answer_in_context@1": 0,
        "answer_in_context@3": 0,
        "answer_in_context@5": 1,
        "answer_in_context@10": 1,
        "answer_in_context@20": 1,
    }


def test_means_leave_out_questions_that_have_no_such_gold(chunks: list[Chunk]) -> None:
    evaluation = evaluate(QUESTIONS, Ranking(chunks))
    assert {metric: evaluation.count(metric) for metric in METRICS} == {
        metric: {"file": 2, "line": 1, "answer": 1}[metric.partition("_")[0]] for metric in METRICS
    }
    assert evaluation.mean("file_mrr") == 0.75
    only_files = evaluate([BY_FILE], Ranking(chunks))
    assert math.isnan(only_files.mean("line_hit@1")) and only_files.count("line_hit@1") == 0


def test_unanswerable_questions_are_measured_by_their_best_hit_alone(chunks: list[Chunk]) -> None:
    evaluation = evaluate(QUESTIONS, Ranking(chunks))
    assert values_of(evaluation, NOT_THERE) == {}
    assert evaluation.best("cosine", answerable=True).tolist() == [0.5, 0.5, 0.5]
    assert evaluation.best("cosine", answerable=False).tolist() == [0.25]
    assert evaluation.best("score", answerable=False).tolist() == [1.0]
    by_words = evaluate(QUESTIONS, lambda text, k: [Hit(3.0, chunk, None) for chunk in chunks])
    assert by_words.best("score", answerable=False).tolist() == [3.0]
    assert by_words.best("cosine", answerable=False).size == 0


def test_a_search_that_finds_nothing_scores_nothing() -> None:
    evaluation = evaluate(QUESTIONS, Ranking([]))
    assert {evaluation.mean(metric) for metric in METRICS} == {0.0}
    assert evaluation.best("score", answerable=True).tolist() == [0, 0, 0]


def test_latency_is_of_the_search_alone_with_the_model_loaded(chunks: list[Chunk]) -> None:
    ranking = Ranking(chunks)
    delays = iter([0.4, 0.0, 0.1])

    def search(question: str, k: int) -> list[Hit]:
        time.sleep(next(delays))
        return ranking(question, k)

    steps = []

    def report(done: int, total: int) -> None:
        time.sleep(0.4)
        steps.append((done, total))

    evaluation = evaluate([BY_FILE, BY_LINES], search, depth=7, report=report)
    quick, slow = evaluation.seconds
    assert quick < 0.1 <= slow < 0.4
    assert steps == [(1, 2), (2, 2)]
    assert ranking.asked == [("by file", 7), ("by file", 7), ("by lines", 7)]


def test_no_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="no questions"):
        evaluate([], Ranking([]))


def test_a_comparison_is_of_the_second_to_the_first_question_by_question(
    chunks: list[Chunk],
) -> None:
    first = evaluate(QUESTIONS, Ranking(chunks))
    second = evaluate(QUESTIONS, Ranking(chunks[1:]))
    # Reciprocal ranks: 1/2 and 1 become 1 and 1; the questions without files stay out.
    interval = compare(first, second, "file_mrr")
    assert (interval.difference, interval.low, interval.high) == (0.25, 0.0, 0.5)
    backwards = compare(second, first, "file_mrr")
    assert (backwards.difference, backwards.low, backwards.high) == (-0.25, -0.5, 0.0)
    with pytest.raises(ValueError, match="of the same questions"):
        compare(first, evaluate(QUESTIONS[:2], Ranking(chunks)), "file_mrr")
    with pytest.raises(ValueError, match="at least one difference"):
        compare(evaluate([BY_FILE], Ranking([])), evaluate([BY_FILE], Ranking([])), "line_hit@1")


def test_the_order_of_the_questions_changes_no_result(make_chunk: MakeChunk) -> None:
    chunks = [make_chunk(path=f"{n}.py") for n in range(10)]
    questions = [Question(str(n), f"{n}", files=(f"{n % 13}.py",)) for n in range(97)]
    results = set()
    for seed in range(10):
        random.Random(seed).shuffle(questions)
        forward = evaluate(questions, Ranking(chunks))
        backward = evaluate(questions, Ranking(chunks[::-1]))
        means = (forward.mean("file_mrr"), forward.mean("file_ndcg@10"))
        results.add((means, compare(forward, backward, "file_ndcg@10")))
    assert len(results) == 1


def test_gold_that_the_index_lacks_is_found(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    whole = Question(
        "0", "there", lines=(GoldLines("limits/bucket.py", 32, 99),), files=("limits/bucket.py",)
    )
    moved = Question("1", "moved", files=("README.md", "limits/bukket.py"))
    short = Question("2", "short", lines=(GoldLines("README.md", 15, 20),), files=("README.md",))
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder) as index:
        assert index.file_text("limits", "README.md").count("\n") == 13
        assert missing_gold([whole, moved, NOT_THERE, BY_ANSWER, short], index) == [
            (moved, "limits/bukket.py"),
            (short, "README.md:15-20"),
        ]


def test_an_index_is_measured_through_its_own_search(
    tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    question = Question(
        "1",
        "take tokens from the token bucket",
        files=("limits/bucket.py",),
        lines=(GoldLines("limits/bucket.py", 17, 23),),
        answer="def take",
    )
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder) as index:
        evaluation = evaluate([question], lambda text, k: index.search(text, k, mode="lexical"))
        hits = index.search(question.query, 50, mode="lexical")
    assert evaluation.mean("file_recall@1") == evaluation.mean("line_hit@1") == 1
    assert evaluation.mean("answer_in_context@1") == 1
    assert [(found.path, found.start_line) for found in evaluation.found[0]] == [
        (hit.chunk.path, hit.chunk.start_line) for hit in hits
    ]
    assert np.isfinite(evaluation.seconds).all()
