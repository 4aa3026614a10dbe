"""The rows of an evaluation are right: two models of known answers, side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data_tools.documents import open_corpus
from data_tools.errors import LanguageModelError
from data_tools.progress import Progress
from retrieval.prompt import REFUSAL, answer_messages
from tests.fakes import MakeChunk
from tests.tiny_model import make_tiny_model
from training.answering import Prompt
from training.bits_per_byte import TextScore
from training.evaluate_model import Material, ModelEvaluation, Row, evaluate_models
from training.evaluation_questions import CONTEXTS, Asked
from training.evaluation_texts import HeldOut
from training.local_model import LocalModel


@dataclass
class KnownModel:
    """Answers as it is told to, by the words a prompt ends with; a coin a byte for any text."""

    name: str
    answers: dict[str, str]
    bits: float | None = 1.0
    is_identified: bool = True
    context_tokens: int | None = None
    window: int = 100
    fails_after: int = 1_000
    asked: list[str] = field(default_factory=list)
    scored: int = 0
    is_open: bool = False
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = f"known-{self.name}"

    def plan(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return [[number] for number in range(len(prompts))]

    def answer(self, prompts: Sequence[Prompt]) -> list[str | None]:
        self.is_open = True
        found: list[str | None] = []
        for prompt in prompts:
            if len(self.asked) >= self.fails_after:
                raise LanguageModelError("the server went away")
            self.asked.append(prompt[-1]["content"])
            ends = [answer for end, answer in self.answers.items() if self.asked[-1].endswith(end)]
            found.append(ends[0] if ends else None)
        return found

    def score(self, texts: Sequence[str]) -> list[TextScore] | None:
        if self.bits is None:
            return None
        self.scored += len(texts)
        sizes = [len(text.encode()) for text in texts]
        return [TextScore(size * self.bits * math.log(2), size, size) for size in sizes]

    def close(self) -> None:
        self.is_open = False


def ignore(progress: Progress) -> None:
    """Show nothing."""


@pytest.fixture
def asked(make_chunk: MakeChunk) -> dict[str, list[Asked]]:
    """Three pairs in their own form, of which one has no answer, and two in each context."""
    passages = (make_chunk("x\n" * 9, path="a.py"), make_chunk("y\n" * 9, path="b.py"))

    def ask(id: str, gold: str, *, shown: bool = True, absent: bool = False) -> Asked:
        messages = answer_messages(id, passages) if shown else [{"role": "user", "content": id}]
        evidence = () if absent else (passages[0],)
        return Asked(id, tuple(messages), gold, passages if shown else (), evidence, absent)  # type: ignore[arg-type]

    pairs = [
        ask("first", "It refills [1:L1-L2]."),
        ask("second", "By rate [1:L3]."),
        ask("third", REFUSAL, absent=True),
    ]
    in_context = {context: pairs[:2] for context in CONTEXTS}
    in_context["no_context"] = [
        ask("first", "It refills.", shown=False),
        ask("second", "By rate.", shown=False),
    ]
    return {"pairs": pairs, **in_context}


@pytest.fixture
def base() -> KnownModel:
    """A model that answers with other words, cites what was not shown, and never refuses."""
    return KnownModel(
        "base",
        {"first": "It stops [3].", "second": "Rate [2:L1], 1 [1:L90].", "third": "It stops [1]."},
        bits=4.0,
    )


@pytest.fixture
def tuned() -> KnownModel:
    """A model that is right but for one question, which it refuses."""
    return KnownModel(
        "tuned",
        {"first": "It refills [1:L2].", "second": f"{REFUSAL} No.", "third": REFUSAL},
        bits=1.0,
    )


def find(evaluation: ModelEvaluation, part: str, metric: str) -> Row:
    [row] = [row for row in evaluation.rows if (row.part, row.metric) == (part, metric)]
    return row


def test_the_table_of_contexts_and_models_is_right(
    asked: dict[str, list[Asked]], base: KnownModel, tuned: KnownModel, tmp_path: Path
) -> None:
    material = Material(asked=asked)
    evaluation = evaluate_models(tuned, base, material, report=ignore, cache=tmp_path)
    assert (evaluation.model, evaluation.base) == ("tuned", "base")
    # Base: "it stops" for "it refills" has F1 1/2, "rate 1" for "by rate" 1/2.
    # Tuned: the first is right; "passages do not say no" has no word of "by rate".
    for context in ("pairs", *CONTEXTS):
        row = find(evaluation, context, "token_f1")
        assert (row.n, row.base, row.tuned) == (2, 0.5, 0.5), context
        row = find(evaluation, context, "exact_match")
        assert (row.n, row.base, row.tuned, row.difference) == (2, 0.0, 0.5, 0.5)
        assert (row.low, row.high) == (0, 1)
        assert find(evaluation, context, "contains").tuned == 0.5
    parts = {row.part for row in evaluation.rows}
    assert parts == {"pairs", *CONTEXTS}
    no_context = {row.metric for row in evaluation.rows if row.part == "no_context"}
    assert no_context == {"exact_match", "contains", "token_f1"}  # nothing could be cited


def test_citations_and_refusals_are_counted(
    asked: dict[str, list[Asked]], base: KnownModel, tuned: KnownModel, tmp_path: Path
) -> None:
    material = Material(asked=asked)
    evaluation = evaluate_models(tuned, base, material, report=ignore, cache=tmp_path)
    # Of the base's four citations, [2:L1] and [1] are in the passages; the tuned wrote one.
    row = find(evaluation, "pairs", "citation_validity")
    assert (row.n, row.base, row.tuned) == (3, 0.5, 1.0)
    row = find(evaluation, "pairs", "cites_gold")
    assert (row.n, row.base, row.tuned) == (2, 0.0, 0.5)
    row = find(evaluation, "pairs", "refusal_precision")
    assert (row.n, row.base, row.tuned, row.difference) == (2, None, 0.5, None)
    row = find(evaluation, "pairs", "refusal_recall")
    assert (row.n, row.base, row.tuned, row.difference) == (1, 0.0, 1.0, 1.0)


def test_the_corrected_score_counts_half_for_the_answer_among_other_words(tmp_path: Path) -> None:
    answers = ("EarlyStopper", "EarlyStopper", "LRMonitor")
    said = dict(zip("abc", ("the EarlyStopper", "It is EarlyStopper", "SpeedMonitor"), strict=True))
    questions = [
        Asked(end, ({"role": "user", "content": end},), gold)
        for end, gold in zip("abc", answers, strict=True)
    ]
    material = Material(asked={"questions:names": questions})
    model = KnownModel("model", said)
    evaluation = evaluate_models(model, None, material, report=ignore, cache=tmp_path)
    row = find(evaluation, "questions:names", "corrected_score")
    assert row.tuned == pytest.approx((1 + 0.5) / 3)
    assert (row.base, row.difference, row.low) == (None, None, None)
    assert row.tuned_interval is not None


def test_prompts_too_long_for_one_model_count_for_neither(
    asked: dict[str, list[Asked]], base: KnownModel, tuned: KnownModel, tmp_path: Path
) -> None:
    del base.answers["second"]
    material = Material(asked={"pairs": asked["pairs"]})
    evaluation = evaluate_models(tuned, base, material, report=ignore, cache=tmp_path)
    assert evaluation.left_out == {"pairs": 1}
    row = find(evaluation, "pairs", "token_f1")
    assert (row.n, row.base, row.tuned) == (1, 0.5, 1.0)


def test_every_prompt_is_asked_once_and_models_do_not_stay_loaded(
    asked: dict[str, list[Asked]], tuned: KnownModel, tmp_path: Path
) -> None:
    evaluate_models(tuned, None, Material(asked=asked), report=ignore, cache=tmp_path)
    assert len(tuned.asked) == len(set(tuned.asked)) == 5
    assert not tuned.is_open


def test_an_evaluation_that_broke_off_goes_on_and_ends_the_same(
    asked: dict[str, list[Asked]], base: KnownModel, tuned: KnownModel, tmp_path: Path
) -> None:
    material = Material(asked=asked)
    tuned.fails_after = 3
    with pytest.raises(LanguageModelError):
        evaluate_models(tuned, base, material, report=ignore, cache=tmp_path / "broken")
    again = KnownModel("tuned", tuned.answers)
    went_on = evaluate_models(again, base, material, report=ignore, cache=tmp_path / "broken")
    assert len(tuned.asked) + len(again.asked) == 5 == len(base.asked)
    at_once = evaluate_models(again, base, material, report=ignore, cache=tmp_path / "other")
    assert went_on == at_once


def test_what_was_answered_is_forgotten_on_demand_and_if_weights_are_not_known(
    asked: dict[str, list[Asked]], tuned: KnownModel, tmp_path: Path
) -> None:
    material = Material(asked=asked)
    for fresh, total in ((False, 5), (False, 5), (True, 10)):
        evaluate_models(tuned, None, material, report=ignore, cache=tmp_path, fresh=fresh)
        assert len(tuned.asked) == total
    tuned.is_identified = False
    evaluate_models(tuned, None, material, report=ignore, cache=tmp_path)
    evaluate_models(tuned, None, material, report=ignore, cache=tmp_path)
    assert len(tuned.asked) == 15


def test_bits_per_byte_are_over_all_bytes(
    base: KnownModel, tuned: KnownModel, tmp_path: Path
) -> None:
    for name, text in (("short", "é"), ("long", "word " * 100)):
        (tmp_path / f"{name}.txt").write_text(text)
    documents = open_corpus("txt", [str(tmp_path)]).documents
    material = Material(HeldOut(documents, ()), documents[:1])
    evaluation = evaluate_models(tuned, base, material, report=ignore, cache=tmp_path / "cache")
    row = find(evaluation, "held_out_files", "bits_per_byte")
    assert row.n == 2
    assert [row.base, row.tuned, row.low, row.high] == pytest.approx([4, 1, -3, -3])
    assert find(evaluation, "replay", "bits_per_byte").n == 1
    evaluate_models(tuned, base, material, report=ignore, cache=tmp_path / "cache")
    assert tuned.scored == 2  # the short text is the same in both parts, and known the second time


def test_a_model_that_tells_no_probabilities_is_said_to(
    base: KnownModel, tuned: KnownModel, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("text")
    tuned.bits = None
    material = Material(replay=open_corpus("txt", [str(tmp_path)]).documents)
    evaluation = evaluate_models(tuned, base, material, report=ignore, cache=tmp_path / "cache")
    assert evaluation.rows == ()
    [note] = evaluation.notes
    assert note.startswith("tuned tells no probabilities")


def test_a_model_in_this_process_stands_beside_the_unigrams_of_its_tokenizer(
    tmp_path: Path,
) -> None:
    (tmp_path / "held.txt").write_text("aab\n" * 20)
    (tmp_path / "trained.txt").write_text("ab\n" * 400)
    held, trained = open_corpus("txt", [str(tmp_path)]).documents
    model = LocalModel(str(make_tiny_model(tmp_path / "model")), max_tokens=4)
    material = Material(HeldOut((held,), (trained,)))
    evaluation = evaluate_models(model, None, material, report=ignore, cache=tmp_path / "cache")
    row = find(evaluation, "held_out_files", "unigram_bits_per_byte")
    share = 401 / (1200 + len(model.tokenizer))  # of each of the three bytes
    assert row.tuned == pytest.approx(-math.log2(share))
    assert find(evaluation, "held_out_files", "bits_per_byte").tuned == pytest.approx(8, abs=0.2)
