"""Measure a language model, and beside it the one it was made from, on the same material.

Models are loaded one after the other, so that one of them fits where only one does. What was
answered and scored is kept as it comes: the same evaluation started again goes on, and gives what
it would have given. Prompts that are too long for one of the models count for neither.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_tools.documents import Document, read_document
from data_tools.progress import Progress, ReportProgress
from training.answer_cache import AnswerCache, default_folder, hash_key
from training.answering import AnsweringModel
from training.bits_per_byte import TextScore, UnigramModel
from training.evaluation_questions import Asked
from training.evaluation_texts import HeldOut
from training.local_model import LocalModel
from training.model_metrics import (
    Comparison,
    Tally,
    bits_per_byte,
    compare_tallies,
    contains,
    count_citations,
    exact_match,
    is_refusal,
    tally_refusals,
    token_f1,
)
from training.retriever_card import own_commit

HELD_OUT = "held_out_files"
REPLAY = "replay"
BITS_PER_BYTE = "bits_per_byte"
UNIGRAM = "unigram_bits_per_byte"
SCORED_AT_ONCE = 8  # texts, before they are kept
CLOSE = 0.5  # what an answer counts that holds the right one among other words

Tallies = dict[str, Tally]  # by metric


@dataclass(frozen=True)
class Material:
    """What models are measured on.

    :param held_out: files that were not trained on, and those that were.
    :param replay: text that is no code of the repository.
    :param asked: prompts by part.
    """

    held_out: HeldOut | None = None
    replay: Sequence[Document] = ()
    asked: Mapping[str, Sequence[Asked]] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, Sequence[Document]]:
        """The documents that are scored, by part."""
        held_out = self.held_out.held_out if self.held_out else ()
        return {
            part: found for part, found in ((HELD_OUT, held_out), (REPLAY, self.replay)) if found
        }


@dataclass(frozen=True)
class Row:
    """One metric of both models; None where there is no base, or nothing to divide by.

    :param n: items that count in it.
    :param low: of the 95 % interval of `difference`; `high` likewise.
    :param base_interval: 95 % interval of `base`; `tuned_interval` likewise.
    """

    part: str
    metric: str
    n: int
    base: float | None
    tuned: float | None
    difference: float | None
    low: float | None
    high: float | None
    base_interval: tuple[float, float] | None
    tuned_interval: tuple[float, float] | None


@dataclass(frozen=True)
class ModelEvaluation:
    """How good a model is.

    :param commit: of codeqa itself, where it runs from a repository.
    :param left_out: part → prompts that were too long for a model.
    :param notes: what was not measured, and why.
    :param weights_sha256: of the model or, if it has one, its adapter; None where it is served.
    """

    model: str
    base: str | None
    commit: str | None
    rows: tuple[Row, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    weights_sha256: str | None = None


@dataclass(frozen=True)
class _Measured:
    """What one model said; `scores` and `unigrams` lack what it does not tell."""

    answers: Mapping[str, list[str | None]]
    scores: Mapping[str, list[TextScore]]
    unigrams: Mapping[str, list[TextScore]]


def evaluate_models(
    tuned: AnsweringModel,
    base: AnsweringModel | None,
    material: Material,
    *,
    report: ReportProgress,
    cache: Path | None = None,
    fresh: bool = False,
) -> ModelEvaluation:
    """Measure one model, or two side by side.

    :param base: what `tuned` was made from.
    :param cache: folder for what was answered; by default in the user's cache.
    :param fresh: forget what was answered before.
    :raises CodeQAError: a model fails, or a text is gone.
    """
    models = [model for model in (base, tuned) if model is not None]
    caches = [AnswerCache(cache or default_folder(), model.fingerprint) for model in models]
    measured = []
    for model, kept in zip(models, caches, strict=True):
        if fresh:
            kept.forget()
        measured.append(_measure(model, material, kept, report))
        model.close()
    rows: list[Row] = []
    left_out: dict[str, int] = {}
    notes: list[str] = []
    for part in material.texts:
        rows += _score_rows(part, measured)
        notes += [
            f"{model.name} tells no probabilities of a text's tokens: no bits per byte of {part}"
            for model, found in zip(models, measured, strict=True)
            if part not in found.scores
        ]
    for part, asked in material.asked.items():
        kept_items, answers = _keep_answered(asked, [found.answers[part] for found in measured])
        if len(kept_items) < len(asked):
            left_out[part] = len(asked) - len(kept_items)
        tallies = [_tally_answers(part, kept_items, said) for said in answers]
        rows += make_rows(part, tallies)
    for model, kept in zip(models, caches, strict=True):
        if not model.is_identified:
            kept.forget()
    return ModelEvaluation(
        model=tuned.name,
        base=base.name if base else None,
        commit=own_commit(),
        rows=tuple(rows),
        left_out=left_out,
        notes=tuple(notes),
        weights_sha256=tuned.weights_hash if isinstance(tuned, LocalModel) else None,
    )


def _measure(
    model: AnsweringModel, material: Material, cache: AnswerCache, report: ReportProgress
) -> _Measured:
    known = f", {len(cache):,} results known from before" if len(cache) else ""
    report(Progress("notice", message=f"measuring {model.name}{known}"))
    scores, unigrams = {}, {}
    for part, documents in material.texts.items():
        found = _score(model, documents, cache, report)
        if found is not None:
            scores[part] = found
    if material.held_out and isinstance(model, LocalModel):
        unigrams[HELD_OUT] = _score_unigrams(model, material.held_out, cache)
    return _Measured(_answer(model, material.asked, cache, report), scores, unigrams)


def _answer(
    model: AnsweringModel,
    asked: Mapping[str, Sequence[Asked]],
    cache: AnswerCache,
    report: ReportProgress,
) -> dict[str, list[str | None]]:
    """Ask every distinct prompt once.

    Batches are those of all prompts, whatever is known already: the numbers in a batch hang a
    little on what else is in it, and an evaluation that goes on must give the same answers.
    """
    prompts = {hash_key(each.messages): each.messages for part in asked.values() for each in part}
    keys = list(prompts)
    done = 0
    for batch in model.plan(list(prompts.values())) if keys else ():
        chosen = [keys[number] for number in batch]
        if not all(key in cache for key in chosen):
            answers = model.answer([prompts[key] for key in chosen])
            cache.add(dict(zip(chosen, answers, strict=True)))
        done += len(batch)
        report(Progress("answer", done, len(keys)))
    return {
        part: [cache[hash_key(each.messages)] for each in items] for part, items in asked.items()
    }


def _score(
    model: AnsweringModel,
    documents: Sequence[Document],
    cache: AnswerCache,
    report: ReportProgress,
) -> list[TextScore] | None:
    """Score every document; None if the model cannot."""
    keys = [hash_key("score", model.window, document.sha256) for document in documents]
    for start in range(0, len(documents), SCORED_AT_ONCE):
        group = range(start, min(start + SCORED_AT_ONCE, len(documents)))
        missing = [at for at in group if keys[at] not in cache]
        if missing:
            scores = model.score([read_document(documents[at]) for at in missing])
            if scores is None:
                return None
            _keep(cache, [keys[at] for at in missing], scores)
        report(Progress("score", group.stop, len(documents)))
    return [TextScore(*cache[key]) for key in keys]


def _score_unigrams(model: LocalModel, files: HeldOut, cache: AnswerCache) -> list[TextScore]:
    """Score the held-out files by how frequent their tokens are in those that were trained on."""
    digest = hashlib.sha256("".join(each.sha256 for each in files.trained).encode()).hexdigest()
    keys = [hash_key("unigram", digest, each.sha256) for each in files.held_out]
    if not all(key in cache for key in keys):
        unigrams = UnigramModel(model.tokenize, len(model.tokenizer), files.trained_texts())
        _keep(cache, keys, [unigrams.score(read_document(each)) for each in files.held_out])
    return [TextScore(*cache[key]) for key in keys]


def _keep(cache: AnswerCache, keys: Sequence[str], scores: Sequence[TextScore]) -> None:
    values = [[score.nats, score.tokens, score.size_bytes] for score in scores]
    cache.add(dict(zip(keys, values, strict=True)))


def _score_rows(part: str, measured: Sequence[_Measured]) -> Iterator[Row]:
    """Make the rows of bits per byte, and of the unigram models of both tokenizers."""
    for metric, found in (
        (BITS_PER_BYTE, [each.scores.get(part) for each in measured]),
        (UNIGRAM, [each.unigrams.get(part) for each in measured]),
    ):
        tallies = [_tally_scores(scores) for scores in found if scores is not None]
        if len(tallies) == len(measured):
            yield from make_rows(part, [{metric: tally} for tally in tallies])


def _tally_scores(scores: Sequence[TextScore]) -> Tally:
    sizes = [max(score.size_bytes, 1) for score in scores]
    bits = [
        bits_per_byte(score.nats, size) * size for score, size in zip(scores, sizes, strict=True)
    ]
    return Tally.share_of(bits, sizes)


def _keep_answered(
    asked: Sequence[Asked], answers: Sequence[Sequence[str | None]]
) -> tuple[list[Asked], list[list[str]]]:
    """Leave out what one of the models could not be asked."""
    kept = [at for at in range(len(asked)) if all(said[at] is not None for said in answers)]
    return [asked[at] for at in kept], [[said[at] or "" for at in kept] for said in answers]


def _tally_answers(part: str, asked: Sequence[Asked], answers: Sequence[str]) -> Tallies:
    """Measure a model's answers to one part's prompts by every metric that they allow."""
    pairs = [
        (each, answer) for each, answer in zip(asked, answers, strict=True) if not each.is_absent
    ]
    tallies: Tallies = {}
    if pairs:
        exact = [exact_match(each.gold, answer) for each, answer in pairs]
        held = [contains(each.gold, answer) for each, answer in pairs]
        tallies["exact_match"] = Tally.mean_of(exact)
        tallies["contains"] = Tally.mean_of(held)
        tallies["token_f1"] = Tally.mean_of([token_f1(each.gold, said) for each, said in pairs])
        if part.startswith("questions:"):
            scores = [max(one, CLOSE * other) for one, other in zip(exact, held, strict=True)]
            tallies["corrected_score"] = Tally.mean_of(scores)
    if any(each.passages for each in asked):
        counts = [
            count_citations(answer, each.passages, each.gold_lines)
            for each, answer in zip(asked, answers, strict=True)
        ]
        tallies["citation_validity"] = Tally.share_of(
            [count.valid for count in counts], [count.written for count in counts]
        )
        if any(each.gold_lines for each in asked):
            tallies["cites_gold"] = Tally.share_of(
                [float(count.cites_gold) for count in counts],
                [float(bool(each.gold_lines) and not each.is_absent) for each in asked],
            )
    if any(each.is_absent for each in asked):
        tallies["refusal_precision"], tallies["refusal_recall"] = tally_refusals(
            [is_refusal(answer) for answer in answers], [each.is_absent for each in asked]
        )
    return tallies


def make_rows(part: str, tallies: Sequence[Tallies]) -> Iterator[Row]:
    """Compare the models' tallies by metric: of base and tuned, or of one model alone."""
    base, tuned = (tallies[0], tallies[1]) if len(tallies) > 1 else (None, tallies[0])
    for metric, tally in tuned.items():
        other = base[metric] if base else None
        counted = tally.weights > 0
        if other:
            counted = counted | (other.weights > 0)
        yield _row(part, metric, int(np.count_nonzero(counted)), compare_tallies(other, tally))


def _row(part: str, metric: str, n: int, found: Comparison) -> Row:
    low, high = found.difference_interval or (None, None)
    return Row(
        part,
        metric,
        n,
        found.base,
        found.tuned,
        found.difference,
        low,
        high,
        found.base_interval,
        found.tuned_interval,
    )
