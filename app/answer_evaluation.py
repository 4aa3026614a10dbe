"""`codeqa eval answers`: a question set through the whole app, and what its answers are worth.

Every question is asked as in the chat: searched, judged, answered by each model (or quoted), and
its citations checked. What models and the judge said is kept until the evaluation ends, so that
one that was stopped goes on; then it is forgotten, since a server may serve another model under
the same name tomorrow. Quotations are made anew each time.
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.answer_report import Answered, describe, list_answers
from app.answer_table import print_answers
from app.commands import print_json
from app.evaluation import count_missing, keep_telling, write_whole
from app.recorded_answers import AnswerRecord, record_answer
from data_tools.errors import ConfigError, LanguageModelError, QuestionSetError, StorageError
from data_tools.progress import Progress, ReportProgress
from retrieval.index import CodeIndex
from retrieval.questions import Question, read_questions

if TYPE_CHECKING:
    from app.judge import Duel
    from app.models import Models
    from training.answer_cache import AnswerCache

QUOTATIONS = "quotations"  # what answers without a model is called
REFERENCE = "the reference"
MAX_FAILURES = 3  # in a row: the model is down, and the questions are not at fault


def run_eval_answers(options: argparse.Namespace) -> None:
    """Ask, measure, print, and write what was asked for.

    :raises CodeQAError: the set, the index, a model or the judge cannot be used.
    """
    from app.models import open_models
    from app.progress import ProgressBar

    _check(options)
    specs = options.llm or ["none"]
    with CodeIndex.open(options.index) as index, contextlib.ExitStack() as stack:
        questions = _choose_questions(options, index)
        missing = count_missing(
            options.questions, questions, {options.index: index}, allowed=options.allow_missing
        )
        models = open_models(specs, names=options.model or (), timeout_s=options.timeout)
        bar = stack.enter_context(ProgressBar())
        if not index.vectors_ready:
            bar.say(f"{options.index}: by words alone, vectors are not made yet")
        index.search(questions[0].query)  # loads the embedding model, which is no answer's time
        caches = {
            name: _open_cache(options, ["answers", *specs, name])
            for name in _names(options, models)
        }
        answered = [
            Answered(
                name or QUOTATIONS,
                tuple(_ask_all(index, questions, name, models, cache, options, bar)),
            )
            for name, cache in caches.items()
        ]
        judged, replies = _judge(questions, answered, options, bar)
        report = describe(options, questions, answered) | {"missing": missing, "judged": judged}
    if options.per_question:
        write_whole(Path(options.per_question), list_answers(questions, answered))
    if options.out:
        write_whole(Path(options.out), [json.dumps(report, indent=2).encode() + b"\n"])
    if options.json:
        print_json(report)
    else:
        print_answers(report)
    for cache in (*caches.values(), replies):
        if cache is not None:
            cache.forget()


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anything is loaded."""
    if options.judge_model and not options.judge:
        raise ConfigError("--judge-model chooses among a judge's models; give its --judge URL too")
    for file in (options.out, options.per_question):
        if file and not Path(file).parent.is_dir():
            raise StorageError(f"there is no folder {Path(file).parent}; make it first")


def _choose_questions(options: argparse.Namespace, index: CodeIndex) -> list[Question]:
    """Read the set, leave out what is not measured, and choose among the rest."""
    from training.evaluation_questions import sample

    questions = read_questions(Path(options.questions))
    if options.max_answer_files:
        questions = keep_telling(questions, index, options.max_answer_files)
    questions = sample(questions, options.limit, (question.query for question in questions))
    if not any(question.answerable for question in questions):
        raise QuestionSetError("no answerable question is left; raise --limit")
    return questions


def _names(options: argparse.Namespace, models: "Models") -> Iterator[str | None]:
    """Yield what is measured; None are quotations."""
    if "none" in (options.llm or ["none"]):
        yield None
    yield from options.model or models.names


def _open_cache(options: argparse.Namespace, parts: Sequence[str | None]) -> "AnswerCache | None":
    """Open what a model said so far; None where there is no model."""
    from training.answer_cache import AnswerCache, default_folder, hash_key

    if parts[-1] is None:
        return None
    cache = AnswerCache(default_folder(), f"answers-{hash_key(*parts)}")
    if options.fresh:
        cache.forget()
    return cache


def _ask_all(
    index: CodeIndex,
    questions: Sequence[Question],
    name: str | None,
    models: "Models",
    cache: "AnswerCache | None",
    options: argparse.Namespace,
    report: ReportProgress,
) -> Iterator[AnswerRecord]:
    """Ask one model every question that it was not asked yet, `--at-once` at a time.

    :raises LanguageModelError: it fails again and again; what it said is kept.
    """
    chat = models.get(name)
    keys = [_key(index, question, options) for question in questions]
    known = {key: AnswerRecord(**cache[key]) for key in keys if cache is not None and key in cache}
    if known:
        report(Progress("notice", message=f"{name}: {len(known):,} answers known from before"))

    def ask(at: int) -> AnswerRecord:
        return known.get(keys[at]) or record_answer(
            index,
            questions[at],
            chat,
            strategy=options.strategy,
            k=options.k,
            answers_are_names=options.preset == "simple",
        )

    failures = 0
    with _in_order(ask, len(questions), options.at_once) as records:
        for done, record in enumerate(records, start=1):
            failures = failures + 1 if record.problem else 0
            if failures == MAX_FAILURES:
                raise LanguageModelError(
                    f"{name} failed at {failures} questions in a row, the last time so: "
                    f"{record.problem}; then run it again: what was answered is kept"
                )
            if cache is not None and not record.problem and keys[done - 1] not in cache:
                cache.add({keys[done - 1]: asdict(record)})
            report(Progress("ask", done, len(questions)))
            yield record


def _key(index: CodeIndex, question: Question, options: argparse.Namespace) -> str:
    """Hash all that an answer hangs on besides the model."""
    from training.answer_cache import hash_key

    manifest = index.manifest
    contents = sorted(record.content_sha256 for record in manifest.repositories)
    searched = [contents, manifest.embedder.fingerprint, manifest.vectors]
    asked = asdict(question) | {"line_number": 0}
    return hash_key(asked, searched, options.strategy, options.k, options.preset)


@contextlib.contextmanager
def _in_order(
    ask: Callable[[int], AnswerRecord], count: int, at_once: int
) -> Iterator[Iterator[AnswerRecord]]:
    """Call `ask` for each number, some at once; whoever leaves early waits for these alone."""
    pool = ThreadPoolExecutor(at_once)
    try:
        yield pool.map(ask, range(count))
    finally:
        pool.shutdown(cancel_futures=True)


def _judge(
    questions: Sequence[Question],
    answered: Sequence[Answered],
    options: argparse.Namespace,
    report: ReportProgress,
) -> "tuple[list[dict[str, Any]], AnswerCache | None]":
    """Let the judge compare each model with the references, and with the first model."""
    from app.judge import MAX_JUDGE_TOKENS, describe_outcomes, judge_duels

    if not options.judge:
        return [], None
    from training.served_model import ServedModel

    judge = ServedModel(options.judge, options.judge_model, max_tokens=MAX_JUDGE_TOKENS)
    cache = _open_cache(options, ["judge", judge.fingerprint])
    assert cache is not None
    judged = []
    for first, second, duels in _pair_up(questions, answered):
        if duels:
            outcomes = judge_duels(judge, duels, cache, report=report)
            names = {"first_name": first, "second_name": second}
            judged.append(names | describe_outcomes(outcomes))
    judge.close()
    return judged, cache


def _pair_up(
    questions: Sequence[Question], answered: Sequence[Answered]
) -> "Iterator[tuple[str, str, list[Duel]]]":
    """Yield who is compared, and their answers; what a model failed at is left out."""
    from app.judge import Duel

    for each in answered:
        yield (
            REFERENCE,
            each.model,
            [
                Duel(question.query, question.answer, record.text)
                for question, record in zip(questions, each.records, strict=True)
                if question.answer is not None and not record.problem
            ],
        )
    for each in answered[1:]:
        yield (
            answered[0].model,
            each.model,
            [
                Duel(question.query, one.text, other.text)
                for question, one, other in zip(
                    questions, answered[0].records, each.records, strict=True
                )
                if not (one.problem or other.problem)
            ],
        )
