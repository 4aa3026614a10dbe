"""`codeqa eval retrieval`: how well an index finds what a question set asks for.

Measures one configuration, or several beside it on the same questions: another way to rank, or
another index, such as one made with a tuned embedding model. How it is measured is in
`retrieval.evaluate`; here it is shown and written.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from app.commands import count, print_json
from app.evaluation_table import print_table
from data_tools.drafts import whole_file
from data_tools.errors import QuestionSetError, StorageError
from retrieval.evaluate import METRICS, Evaluation, compare, evaluate, missing_gold
from retrieval.index import CodeIndex
from retrieval.metrics import separation
from retrieval.questions import Question, read_questions, telling_questions
from retrieval.search import Hit, SearchMode

QUANTILES = (0.1, 0.5, 0.9)  # of the best score of a question
DIGITS = 6


@dataclass(frozen=True)
class Configuration:
    """What is measured: an index, and how it is searched.

    :param folder: of the index, as the user wrote it.
    """

    name: str
    folder: str
    index: CodeIndex
    mode: SearchMode

    def search(self, question: str, k: int) -> list[Hit]:
        """Search as this configuration does."""
        return self.index.search(question, k, mode=self.mode)


def run_eval_retrieval(options: argparse.Namespace) -> None:
    """Measure, print, and write what was asked for.

    :raises QuestionSetError: the set cannot be measured with, or not on these indexes.
    :raises StorageError: a file asked for cannot be written.
    """
    outputs = [Path(file) for file in (options.plot, options.per_question) if file]
    for file in outputs:
        if not file.parent.is_dir():
            raise StorageError(f"there is no folder {file.parent}; make it first")
    questions = read_questions(Path(options.questions))
    with contextlib.ExitStack() as stack:
        configurations = list(_open_configurations(options, stack))
        if options.max_answer_files:
            questions = keep_telling(questions, configurations[0].index, options.max_answer_files)
        indexes = {each.folder: each.index for each in configurations}
        missing = count_missing(
            options.questions, questions, indexes, allowed=options.allow_missing
        )
        evaluations = [_evaluate(configuration, questions) for configuration in configurations]
    report = describe(options.questions, configurations, evaluations) | {"missing": missing}
    if options.per_question:
        write_whole(Path(options.per_question), _question_lines(configurations, evaluations))
    if options.plot:
        from app.recall_picture import draw_recall

        names = [configuration.name for configuration in configurations]
        file = Path(options.plot)
        drawn = draw_recall(dict(zip(names, evaluations, strict=True)), file.suffix[1:])
        write_whole(file, [drawn])
    if options.json:
        print_json(report)
    else:
        print_table(report)


def _open_configurations(
    options: argparse.Namespace, stack: contextlib.ExitStack
) -> Iterator[Configuration]:
    """Open the index, and each that it is measured against."""
    from app.cli_eval import SEARCH_MODES

    first = stack.enter_context(CodeIndex.open(options.index))
    yield Configuration(options.mode, options.index, first, options.mode)
    for other in options.against:
        if other in SEARCH_MODES:
            yield Configuration(other, options.index, first, other)
        else:
            index = stack.enter_context(CodeIndex.open(other))
            yield Configuration(other, other, index, options.mode)


def keep_telling(questions: Sequence[Question], index: CodeIndex, limit: int) -> list[Question]:
    """Leave out questions whose answer stands in no file, or in more than `limit`; say how many.

    :raises QuestionSetError: none is left.
    """
    files: dict[tuple[str, str], list[str]] = {}
    for chunk in index.chunks():
        files.setdefault((chunk.repo, chunk.path), []).append(chunk.text)
    kept = telling_questions(questions, map("".join, files.values()), max_files=limit)
    left_out = len(questions) - len(kept)
    print(
        f"{count(left_out, 'question')} left out: answered in no file, or in more than {limit}",
        file=sys.stderr,
    )
    if not any(question.answerable for question in kept):
        raise QuestionSetError("no question is left; raise --max-answer-files")
    return kept


def count_missing(
    file: str, questions: Sequence[Question], indexes: Mapping[str, CodeIndex], *, allowed: bool
) -> int:
    """Count the questions with gold that an index does not hold.

    :param file: the question set, as the user wrote it.
    :param indexes: by their folders, as the user wrote them.
    :raises QuestionSetError: there are some, and that is not allowed.
    """
    concerned = set()
    for folder, index in indexes.items():
        missing = missing_gold(questions, index)
        if missing and not allowed:
            question, lines = missing[0]
            raise QuestionSetError(
                f"{file}:{question.line_number}: {folder} holds no "
                f"{lines} ({count(len(missing), 'question')} like this); index the commit that "
                "the questions are about, or count them as not found with --allow-missing"
            )
        concerned |= {question.id for question, _ in missing}
    return len(concerned)


def _evaluate(configuration: Configuration, questions: Sequence[Question]) -> Evaluation:
    """Evaluate one configuration under a progress bar."""
    if not configuration.index.vectors_ready:
        print(f"{configuration.folder}: by words alone, vectors are not made yet", file=sys.stderr)
    with tqdm(
        total=len(questions), desc=configuration.name, unit=" questions", disable=None
    ) as bar:
        return evaluate(questions, configuration.search, report=lambda done, total: bar.update())


def describe(
    file: str, configurations: Sequence[Configuration], evaluations: Sequence[Evaluation]
) -> dict[str, Any]:
    """Sum up evaluations of the same questions as one record, as `--json` prints it."""
    questions = evaluations[0].questions
    answerable = sum(question.answerable for question in questions)
    first = evaluations[0]
    measured = [metric for metric in METRICS if first.count(metric)]
    return {
        "questions": file,
        "answerable": answerable,
        "unanswerable": len(questions) - answerable,
        "without_gold": sum(q.answerable and not (q.files or q.answer) for q in questions),
        "configurations": [
            {
                "name": configuration.name,
                "index": configuration.folder,
                "mode": configuration.mode,
                "embedder": configuration.index.manifest.embedder.name,
                "metrics": {
                    metric: {
                        "mean": _rounded(evaluation.mean(metric)),
                        "n": evaluation.count(metric),
                    }
                    for metric in measured
                },
                "latency_ms": {
                    name: _rounded(1e3 * float(np.quantile(evaluation.seconds, level)))
                    for name, level in (("p50", 0.5), ("p99", 0.99))
                },
                "best_hits": _describe_best(evaluation),
            }
            for configuration, evaluation in zip(configurations, evaluations, strict=True)
        ],
        "comparisons": [
            {
                "first": configurations[0].name,
                "second": configuration.name,
                "metrics": {
                    metric: {
                        key: _rounded(value)
                        for key, value in asdict(compare(first, evaluation, metric)).items()
                    }
                    for metric in measured
                },
            }
            for configuration, evaluation in zip(configurations[1:], evaluations[1:], strict=True)
        ],
    }


def _describe_best(evaluation: Evaluation) -> dict[str, Any]:
    """Say how the best hit of unanswerable questions differs from that of answerable ones."""
    described = {}
    for attribute in ("cosine", "score"):
        yes = evaluation.best(attribute, answerable=True)
        no = evaluation.best(attribute, answerable=False)
        if yes.size and no.size:
            described[attribute] = {
                "quantiles": QUANTILES,
                "answerable": [_rounded(value) for value in np.quantile(yes, QUANTILES)],
                "unanswerable": [_rounded(value) for value in np.quantile(no, QUANTILES)],
                "separation": _rounded(separation(yes, no)),
            }
    return described


def _rounded(value: float) -> float:
    return round(float(value), DIGITS) + 0.0  # -0.0 becomes 0.0


def _question_lines(
    configurations: Sequence[Configuration], evaluations: Sequence[Evaluation]
) -> Iterator[bytes]:
    """Write each question's values and hits as a line of JSON, for looking into failures."""
    for configuration, evaluation in zip(configurations, evaluations, strict=True):
        for row, question in enumerate(evaluation.questions):
            values = {metric: float(column[row]) for metric, column in evaluation.values.items()}
            record = {
                "configuration": configuration.name,
                "id": question.id,
                "kind": question.kind,
                "query": question.query,
                "answerable": question.answerable,
                "values": {name: value for name, value in values.items() if value == value},
                "seconds": _rounded(evaluation.seconds[row]),
                "found": [asdict(hit) for hit in evaluation.found[row]],
            }
            yield json.dumps(record).encode() + b"\n"


def write_whole(file: Path, parts: Iterable[bytes]) -> None:
    """Write a file whole or not at all."""
    with whole_file(file) as draft, draft.open("wb") as stream:
        stream.writelines(parts)
