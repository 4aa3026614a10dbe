"""A base and a tuned embedding model side by side, on questions that neither was trained on.

Both are measured through the product's own search, by meaning alone and with the words, over the
same masked repositories. Intervals are paired: each question's difference counts. A tuned model is
worse, and refused, if meaning alone finds no more than before, or if the whole search finds
clearly less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_tools.progress import Progress, ReportProgress
from retrieval.evaluate import Evaluation, evaluate
from retrieval.index import CodeIndex
from retrieval.metrics import Values, bootstrap_interval
from retrieval.questions import Question
from retrieval.search import Hit, SearchMode

MODES: tuple[SearchMode, ...] = ("dense", "hybrid")
NDCG = "file_ndcg@10"
METRICS = (NDCG, "file_recall@10", "file_mrr")
ALL = "all"  # the row over every repository; a question counts the same wherever it is from

Measured = Mapping[tuple[str, SearchMode], Evaluation]  # by repository and mode


@dataclass(frozen=True)
class Row:
    """One metric of both models; `low` and `high` are the difference's 95 % interval.

    :param repo: name of the repository, or `ALL`.
    """

    repo: str
    mode: SearchMode
    metric: str
    questions: int
    base: float
    tuned: float
    difference: float
    low: float
    high: float


def measure(
    index: CodeIndex,
    questions: Mapping[str, Sequence[Question]],
    report: ReportProgress,
) -> dict[tuple[str, SearchMode], Evaluation]:
    """Ask an index the questions of each of its repositories, which is searched alone."""
    total = len(MODES) * sum(map(len, questions.values()))
    done = 0
    measured = {}
    for repo, asked in questions.items():
        for mode in MODES:

            def search(
                question: str, k: int, repo: str = repo, mode: SearchMode = mode
            ) -> list[Hit]:
                return index.search(question, k, repos=[repo], mode=mode)

            measured[repo, mode] = evaluate(asked, search)
            done += len(asked)
            report(Progress("measure", done, total))
    return measured


def compare_models(base: Measured, tuned: Measured) -> list[Row]:
    """Compare two models on the same questions: over all, and by repository if there are more."""
    repos = list(dict.fromkeys(repo for repo, _ in base))
    rows = []
    for repo in [*(repos if len(repos) > 1 else ()), ALL]:
        chosen = repos if repo == ALL else [repo]
        for mode in MODES:
            for metric in METRICS:
                values = [_values(model, chosen, mode, metric) for model in (base, tuned)]
                interval = bootstrap_interval(values[1] - values[0])
                rows.append(
                    Row(
                        repo,
                        mode,
                        metric,
                        values[0].size,
                        float(values[0].mean()),
                        float(values[1].mean()),
                        interval.difference,
                        interval.low,
                        interval.high,
                    )
                )
    return rows


def _values(model: Measured, repos: Sequence[str], mode: SearchMode, metric: str) -> Values:
    return np.concatenate([model[repo, mode].values[metric] for repo in repos])


def is_better(rows: Sequence[Row]) -> bool:
    """Tell whether the tuned model may replace the base.

    :return: dense nDCG@10 over all questions is higher, and hybrid nDCG@10 not clearly lower.
    """
    found = {row.mode: row for row in rows if row.repo == ALL and row.metric == NDCG}
    return found["dense"].difference > 0 and not found["hybrid"].high < 0
