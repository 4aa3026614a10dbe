"""What kind of question it is, by its wording."""

import pytest

from retrieval.question_kind import WEIGHTS, Kind, Weights, question_kind, question_words

QUESTIONS: dict[str, Kind] = {
    "EarlyStopper": "name",
    "`early_stopper`": "name",
    "Trainer.fit": "name",
    "run()": "name",
    "std::vector": "name",
    "Trainer": "name",
    "trainer": "term",
    "What is ALiBi?": "term",
    "what is the trainer": "term",
    "ValueError: k must be at least 1, not 0": "error",
    "Traceback (most recent call last):\n  File x": "error",
    "error: cannot borrow `x` as mutable": "error",
    "thread 'main' panicked at src/main.rs:3": "error",
    "Which class stops training early?": "code",
    "Where is the checkpoint interval implemented?": "code",
    "why does save_interval round the batch count down": "code",
    "How do I install it on Windows machines?": "usage",
    "how to configure the embedding provider": "usage",
    "How does training resume after a crash?": "other",
    "smart merging of single line declarations into blocks": "other",
}


@pytest.mark.parametrize(("question", "kind"), QUESTIONS.items())
def test_the_wording_tells_the_kind(question: str, kind: Kind) -> None:
    assert question_kind(question) == kind


def test_every_kind_has_weights_and_an_unknown_wish_changes_nothing() -> None:
    assert set(QUESTIONS.values()) == set(WEIGHTS)
    assert WEIGHTS["other"] == Weights(dense=0.5, prose=1.0, definition=1.0)


def test_the_words_of_a_question_are_names_in_lower_case() -> None:
    words = question_words("How does Trainer.fit call _run_epoch, and why is it so?")
    assert words == {"trainer", "fit", "call", "_run_epoch"}


def test_short_and_common_words_are_no_names() -> None:
    assert question_words("is it in the ui?") == frozenset()
