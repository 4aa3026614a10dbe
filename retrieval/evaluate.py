"""Measure a search on a question set, and compare two searches question by question.

What is searched is a function, so that an index, a part of one or another system can be measured
alike. Printing is not done here; see `app.evaluation`.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from data_tools.text import count_lines
from retrieval.metrics import (
    Interval,
    Values,
    bootstrap_interval,
    holds_answer,
    line_gains,
    ndcg,
    overlap,
    recall,
    reciprocal_rank,
)
from retrieval.questions import Question
from retrieval.search import Hit

if TYPE_CHECKING:
    from retrieval.index import CodeIndex

DEPTH = 50  # chunks asked for: enough to rank 20 files
RANKS = (1, 3, 5, 10, 20)
NDCG_RANK = 10
FILE_METRICS = (*(f"file_recall@{k}" for k in RANKS), f"file_ndcg@{NDCG_RANK}", "file_mrr")
LINE_METRICS = (*(f"line_hit@{k}" for k in RANKS), f"line_ndcg@{NDCG_RANK}")
ANSWER_METRICS = tuple(f"answer_in_context@{k}" for k in RANKS)
METRICS = (*FILE_METRICS, *LINE_METRICS, *ANSWER_METRICS)

Search = Callable[[str, int], Sequence[Hit]]
ReportQuestion = Callable[[int, int], None]  # done, total


@dataclass(frozen=True)
class FoundLines:
    """A hit without its text: an evaluation may hold tens of thousands."""

    repo: str
    path: str
    start_line: int
    end_line: int
    score: float
    cosine: float | None


@dataclass(frozen=True)
class Evaluation:
    """What a search found for each question, and how good that is.

    :param found: for each question, best first.
    :param values: metric → shape (n_questions,), in [0, 1]; NaN where a question has no gold of
        that sort, or no answer in the repository.
    :param seconds: shape (n_questions,): what each search took.
    """

    questions: tuple[Question, ...]
    found: tuple[tuple[FoundLines, ...], ...]
    values: Mapping[str, Values]
    seconds: Values

    def count(self, metric: str) -> int:
        """Count the questions that a metric is measured on."""
        return int(np.isfinite(self.values[metric]).sum())

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the questions it is measured on; NaN for none."""
        values = self.values[metric]
        return _mean(values[np.isfinite(values)])

    def best(self, attribute: str, *, answerable: bool) -> Values:
        """Return the largest `score` or `cosine` among each question's hits, 0 without hits.

        :return: shape (n,), of the questions that are (or are not) answerable; those whose hits
            have no cosine are left out.
        """
        tops = []
        for question, hits in zip(self.questions, self.found, strict=True):
            values = [getattr(hit, attribute) for hit in hits]
            if question.answerable is answerable and None not in values:
                tops.append(max(values, default=0.0))
        return np.array(tops, np.float64)


def evaluate(
    questions: Sequence[Question],
    search: Search,
    *,
    depth: int = DEPTH,
    report: ReportQuestion | None = None,
) -> Evaluation:
    """Search for every question, and measure what was found.

    :param search: from a question and a number of chunks to hits, best first. It is called once
        more beforehand, so that loading a model is not counted as latency.
    :param depth: chunks asked for; files are ranked by their first chunk among these.
    :param report: called after each question with how many are done, and how many there are.
    :raises ValueError: there are no questions.
    :raises CodeQAError: whatever `search` raises.
    """
    if not questions:
        raise ValueError("there are no questions to evaluate")
    search(questions[0].query, depth)
    found, rows = [], []
    seconds = np.empty(len(questions))
    for number, question in enumerate(questions):
        start = time.perf_counter()
        hits = search(question.query, depth)
        seconds[number] = time.perf_counter() - start
        rows.append(_measure(question, hits))
        found.append(tuple(map(_without_text, hits)))
        if report:
            report(number + 1, len(questions))
    values = {
        metric: np.array([row.get(metric, math.nan) for row in rows], np.float64)
        for metric in METRICS
    }
    return Evaluation(tuple(questions), tuple(found), values, seconds)


def _without_text(hit: Hit) -> FoundLines:
    chunk = hit.chunk
    return FoundLines(
        chunk.repo, chunk.path, chunk.start_line, chunk.end_line, hit.score, hit.cosine
    )


def _measure(question: Question, hits: Sequence[Hit]) -> dict[str, float]:
    """Return every metric that a question has gold for."""
    chunks = [hit.chunk for hit in hits]
    values: dict[str, float] = {}
    if question.files:
        ranked = list(dict.fromkeys(chunk.path for chunk in chunks))
        gains = _file_gains(question)
        values |= {f"file_recall@{k}": recall(ranked, question.files, k) for k in RANKS}
        values["file_mrr"] = reciprocal_rank([path in gains for path in ranked])
        values[f"file_ndcg@{NDCG_RANK}"] = ndcg(
            [gains.get(path, 0.0) for path in ranked], [*gains.values()], NDCG_RANK
        )
    if question.lines:
        flags = [any(overlap(chunk, span) for span in question.lines) for chunk in chunks]
        values |= {f"line_hit@{k}": float(any(flags[:k])) for k in RANKS}
        values[f"line_ndcg@{NDCG_RANK}"] = ndcg(
            line_gains(chunks, question.lines), [span.grade for span in question.lines], NDCG_RANK
        )
    if question.answer is not None:
        texts = [chunk.text for chunk in chunks[: max(RANKS)]]
        flags = [holds_answer(question.answer, text) for text in texts]
        values |= {f"answer_in_context@{k}": float(any(flags[:k])) for k in RANKS}
    return values


def _file_gains(question: Question) -> dict[str, float]:
    """Return path → gain: the best grade among its gold lines; 1 for a file named alone."""
    gains = dict.fromkeys(question.files, 1.0)
    for span in question.lines:
        gains[span.path] = max(gains.get(span.path, 1.0), float(span.grade))
    return gains


def compare(first: Evaluation, second: Evaluation, metric: str) -> Interval:
    """Say by how much the second evaluation is better, with a 95 % interval.

    Paired: each question's difference counts, and the questions are what is resampled.

    :param metric: one of `METRICS`.
    :raises ValueError: they are not of the same questions in the same order, or no question has
        a value.
    """
    if first.questions != second.questions:
        raise ValueError("only evaluations of the same questions can be compared")
    differences = second.values[metric] - first.values[metric]
    return bootstrap_interval(differences[np.isfinite(differences)])


def missing_gold(questions: Sequence[Question], index: "CodeIndex") -> list[tuple[Question, str]]:
    """Find gold that an index cannot return: it is then of another commit or repository.

    :return: each question concerned, and the first of its paths that no repository of the index
        holds, or of its lines that lie beyond the end of the file.
    """
    paths = {path for question in questions for path in question.files}
    last_lines = {path: _last_line(index, path) for path in paths}
    missing = []
    for question in questions:
        absent = [path for path in question.files if not last_lines[path]]
        absent += [
            f"{span.path}:{span.start_line}-{span.end_line}"
            for span in question.lines
            if span.start_line > last_lines[span.path] > 0
        ]
        if absent:
            missing.append((question, absent[0]))
    return missing


def _last_line(index: "CodeIndex", path: str) -> int:
    """Count the lines of a file, in the repository where it is longest; 0 if none has it."""
    counts = [0]
    for repository in index.manifest.repositories:
        with contextlib.suppress(KeyError):
            counts.append(count_lines(index.file_text(repository.name, path)))
    return max(counts)


def _mean(values: Values) -> float:
    """Sum without regard to order, so that sorting the questions changes nothing."""
    return math.fsum(values) / values.size if values.size else math.nan
