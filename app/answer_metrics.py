"""What recorded answers are worth: pure functions, no models and no files.

Every metric is a `training.model_metrics.Tally` over all questions of a set, those that it does
not concern with weight 0, so that any two models' can be compared question by question.

The two presets are the two evaluations that support chatbots of this kind have come with: one of
questions that a name answers (`simple`), one of questions that a few sentences answer (`complex`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from app.recorded_answers import AnswerRecord
from retrieval.questions import Question

if TYPE_CHECKING:
    from training.model_metrics import Tally

Preset = Literal["simple", "complex"]
CLOSE = 0.5  # what an answer counts that holds the right name among other words
DIGITS = 6
TOKENS = ("prompt_tokens", "completion_tokens", "calls")
TIMES = ("search_s", "first_token_s", "total_s")


def tally_answers(
    questions: Sequence[Question], records: Sequence[AnswerRecord], *, preset: Preset = "simple"
) -> dict[str, "Tally"]:
    """Measure one model's answers by every metric that the questions allow.

    :param records: in the order of the questions.
    :return: `retrieval_hit`, whether the evidence holds the gold; of questions with an answer
        `exact_match`, `close_match` (its words stand in the answer, one after another),
        `corrected_score` (an exact one counts 1, a close one 0.5, over all questions) and
        `token_f1`, of which a complex set has the last alone; `wrong_refusals` of what can be
        answered, `abstention_precision` and `abstention_recall` where something cannot;
        `citations_as_written` and `citations_as_shown`, the share that points into the evidence
        before and after the check (before it, where the app refused without asking the model do
        not count); `citation_support`, the share whose lines hold the names that the claim
        quotes; `cites_gold`, of questions with lines.
    """
    from training.model_metrics import Tally, contains, exact_match, tally_refusals, token_f1

    pairs = list(zip(questions, records, strict=True))
    named = [question.answer is not None for question in questions]
    answers = [(question.answer or "", record.text) for question, record in pairs]

    def of_answers(scores: Sequence[float]) -> "Tally":
        kept = [score * name for score, name in zip(scores, named, strict=True)]
        return Tally.share_of(kept, named)

    tallies = {
        "retrieval_hit": Tally.share_of(
            [float(bool(record.found)) for record in records],
            [float(record.found is not None) for record in records],
        )
    }
    if preset == "simple":
        exact = [exact_match(gold, said) for gold, said in answers]
        close = [contains(gold, said) for gold, said in answers]
        tallies["exact_match"] = of_answers(exact)
        tallies["close_match"] = of_answers(close)
        scores = [max(one, CLOSE * other) for one, other in zip(exact, close, strict=True)]
        tallies["corrected_score"] = of_answers(scores)
    tallies["token_f1"] = of_answers([token_f1(gold, said) for gold, said in answers])
    answerable = [float(question.answerable) for question in questions]
    tallies["wrong_refusals"] = Tally.share_of(
        [float(record.abstained) * yes for record, yes in zip(records, answerable, strict=True)],
        answerable,
    )
    if not all(answerable):
        tallies["abstention_precision"], tallies["abstention_recall"] = tally_refusals(
            [record.abstained for record in records], [not yes for yes in answerable]
        )
    written = [record.calls > 0 or not record.abstained for record in records]
    valid = [record.valid for record in records]
    tallies["citations_as_written"] = Tally.share_of(
        [good * own for good, own in zip(valid, written, strict=True)],
        [
            (record.valid + record.dropped) * own
            for record, own in zip(records, written, strict=True)
        ],
    )
    tallies["citations_as_shown"] = Tally.share_of(
        [record.valid - record.astray for record in records], valid
    )
    tallies["citation_support"] = Tally.share_of(
        [record.valid - record.doubted for record in records], valid
    )
    tallies["cites_gold"] = Tally.share_of(
        [float(record.cites_gold) for record in records],
        [float(bool(question.lines)) for question in questions],
    )
    return {name: tally for name, tally in tallies.items() if tally.weights.any()}


def describe_answers(tallies: Mapping[str, "Tally"]) -> dict[str, Any]:
    """Describe each metric: its value, a 95 % interval, and the questions it is measured on."""
    from training.model_metrics import compare_tallies

    described = {}
    for metric, tally in tallies.items():
        low, high = compare_tallies(None, tally).tuned_interval or (None, None)
        described[metric] = {
            "value": rounded(tally.figure),
            "low": rounded(low),
            "high": rounded(high),
            "n": int(np.count_nonzero(tally.weights)),
        }
    return described


def describe_differences(
    first: Mapping[str, "Tally"], second: Mapping[str, "Tally"]
) -> dict[str, Any]:
    """Say by how much the second model is better in each metric, with paired 95 % intervals."""
    from training.model_metrics import compare_tallies

    described = {}
    for metric in first.keys() & second.keys():
        found = compare_tallies(first[metric], second[metric])
        low, high = found.difference_interval or (None, None)
        described[metric] = {
            "difference": rounded(found.difference),
            "low": rounded(low),
            "high": rounded(high),
        }
    return {metric: described[metric] for metric in first if metric in described}


def describe_cost(records: Sequence[AnswerRecord]) -> dict[str, Any]:
    """Sum up what answers took: seconds at the middle and at 95 %, tokens and calls on average."""
    described: dict[str, Any] = {"failed": sum(record.problem is not None for record in records)}
    for name in TIMES:
        values = [value for record in records if (value := getattr(record, name)) is not None]
        if values:
            p50, p95 = (rounded(np.quantile(values, level)) for level in (0.5, 0.95))
            described[name] = {"p50": p50, "p95": p95}
    for name in TOKENS:
        values = [value for record in records if (value := getattr(record, name)) is not None]
        described[name] = rounded(np.mean(values)) if values else None
    return described


def rounded(value: float | np.floating[Any] | None) -> float | None:
    """Round to what is worth printing; -0.0 becomes 0.0."""
    return None if value is None else round(float(value), DIGITS) + 0.0
