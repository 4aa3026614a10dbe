"""A follow-up question stands alone after it is rewritten by rule."""

import pytest

from app.followup import stand_alone
from retrieval.prompt import Turn

SAVING = [Turn("How do I set the save interval for checkpoints?", "With `save_interval`.")]


@pytest.mark.parametrize(
    ("question", "rewrite"),
    [
        ("and how do I resume from one?", "how do I resume from checkpoints?"),
        ("Where is it written?", "Where is checkpoints written?"),
        ("what about S3?", "S3 (checkpoints)?"),
        ("why?", "why (checkpoints)?"),
    ],
)
def test_a_follow_up_gets_the_topic_of_the_last_question(question: str, rewrite: str) -> None:
    assert stand_alone(question, SAVING) == rewrite


@pytest.mark.parametrize(
    "question",
    [
        "What is ALiBi?",
        "Which callback stops training early?",
        "EarlyStopper arguments?",
        "what does the trainer do",
    ],
)
def test_a_question_that_stands_alone_is_left_as_it_is(question: str) -> None:
    assert stand_alone(question, SAVING) == question


def test_the_first_question_is_left_as_it_is() -> None:
    assert stand_alone("and it?", []) == "and it?"


def test_a_topic_is_carried_through_a_chain_of_follow_ups() -> None:
    second = stand_alone("and how do I resume from one?", SAVING)
    third = stand_alone("can I delete them?", [*SAVING, Turn(second, "With `load_path`.")])
    assert third == "can I delete checkpoints?"
