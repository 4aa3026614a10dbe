"""Two models are compared question by question, each repository apart, and the worse is told."""

from pathlib import Path

import numpy as np
import pytest

from retrieval import CodeIndex
from retrieval.evaluate import METRICS, Evaluation
from retrieval.questions import Question
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo
from training.retriever_report import MODES, NDCG, Row, compare_models, is_better, measure


def evaluation(values: list[float]) -> Evaluation:
    """An evaluation in which every metric has these values."""
    questions = tuple(Question(str(n), "why?", ("a.py",)) for n in range(len(values)))
    array = np.array(values)
    return Evaluation(questions, ((),) * len(values), dict.fromkeys(METRICS, array), array)


def rows_for(dense: float, hybrid: float) -> list[Row]:
    """The rows where dense and hybrid search gain so much on each of ten questions."""
    base = {("one", mode): evaluation([0.5] * 10) for mode in MODES}
    tuned = {
        ("one", mode): evaluation([0.5 + gain] * 10)
        for mode, gain in zip(MODES, (dense, hybrid), strict=True)
    }
    return compare_models(base, tuned)


def test_repositories_count_by_their_questions() -> None:
    base = {
        (repo, mode): evaluation([0.0] * n)
        for repo, n in (("one", 1), ("two", 3))
        for mode in MODES
    }
    tuned = {
        (repo, mode): evaluation(values)
        for repo, values in (("one", [1.0]), ("two", [0.2, 0.2, 0.2]))
        for mode in MODES
    }
    rows = {(row.repo, row.mode): row for row in compare_models(base, tuned) if row.metric == NDCG}
    assert [rows[repo, "dense"].questions for repo in ("one", "two", "all")] == [1, 3, 4]
    assert rows["two", "hybrid"].difference == pytest.approx(0.2)
    every = rows["all", "dense"]
    assert every.difference == pytest.approx(0.4)
    assert every.low == pytest.approx(0.2) and every.high > 0.4


@pytest.mark.parametrize(
    ("dense", "hybrid", "better"),
    [(0.1, 0.0, True), (0.1, 0.1, True), (0.0, 0.1, False), (-0.1, 0.1, False), (0.1, -0.1, False)],
)
def test_better_is_more_by_meaning_and_not_clearly_less_in_all(
    dense: float, hybrid: float, better: bool
) -> None:
    assert is_better(rows_for(dense, hybrid)) is better


def test_each_repository_is_asked_its_own_questions_alone(
    make_repo: MakeRepo, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    text = "def take_token(bucket):\n    return bucket.pop()\n"
    repos = [str(make_repo({"a.py": text, "b.py": "x = 1\n"}, name)) for name in ("one", "two")]
    questions = {name: [Question(name, "take token bucket", ("a.py",))] for name in ("one", "two")}
    with CodeIndex.build(repos, tmp_path / "index", embedder=fake_encoder) as index:
        measured = measure(index, questions, lambda _: None)
    assert set(measured) == {(repo, mode) for repo in ("one", "two") for mode in MODES}
    for one in measured.values():
        assert one.mean(NDCG) == 1.0
        assert len(one.found[0]) == 2, "the other repository's chunks should not be found"
