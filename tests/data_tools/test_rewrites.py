"""Statements and headings as questions, and the verbs in them."""

import pytest

from data_tools.rewrites import ask_docstring, ask_heading
from data_tools.verbs import find_verb, past_participle, third_person, verb_of_gerund

ALL_TEMPLATES = 200  # sentences that differ in a number: each template is chosen for some


def forms(sentence: str, noun: str) -> set[str]:
    """Every question that a statement can become; {} is the number that makes them differ."""
    asked = (ask_docstring(sentence.format(n), noun=noun) for n in range(ALL_TEMPLATES))
    return {(q or "").replace(str(n), "N") for n, q in enumerate(asked)}


@pytest.mark.parametrize(
    ("sentence", "noun", "questions"),
    [
        (
            "Save a checkpoint to box{}",
            "function",
            {
                "How do I save a checkpoint to boxN?",
                "Which function saves a checkpoint to boxN?",
                "Where is a checkpoint saved to boxN?",
            },
        ),
        (
            "Reads the keys of box{} and returns them",
            "method",
            {
                "How do I read the keys of boxN and return them?",
                "Which method reads the keys of boxN and returns them?",
            },
        ),
        (
            "Writes the keys to box{}",
            "method",
            {
                "How do I write the keys to boxN?",
                "Which method writes the keys to boxN?",
                "Where are the keys written to boxN?",
            },
        ),
        (
            "Returns the key of box{}",
            "function",
            {"How do I get the key of boxN?", "Which function returns the key of boxN?"},
        ),
        (
            "Return True if box{} is open, False otherwise",
            "function",
            {"How do I check whether boxN is open?", "Which function tells whether boxN is open?"},
        ),
        (
            "Whether box{} is open (or was)",
            "method",
            {"How do I check whether boxN is open?", "Which method tells whether boxN is open?"},
        ),
        ("The number of keys in box{}", "method", {"How do I get the number of keys in boxN?"}),
        ("A box that holds key{}", "class", {"Which class is a box that holds keyN?"}),
        (
            "Base class for boxes of key{}",
            "class",
            {"Which class is the base class for boxes of keyN?"},
        ),
        ("A class that holds key{} only", "class", {"Which class holds keyN only?"}),
        ("A trait for boxes of key{}", "trait", {"Which trait is for boxes of keyN?"}),
        ("Raised when box{} is empty", "class", {"Which exception is raised when boxN is empty?"}),
        (
            "Stores the keys of box{}",
            "struct",
            {"Which struct stores the keys of boxN?", "What stores the keys of boxN?"},
        ),
    ],
)
def test_a_statement_becomes_questions(sentence: str, noun: str, questions: set[str]) -> None:
    assert forms(sentence, noun) == questions


@pytest.mark.parametrize(
    "sentence",
    [
        "Boxes are opened by their keys",  # no verb first
        "Open our box with the key",
        "Return early without a key",
        "Initialized by the box itself",
        "Open " + "the box " * 20,
    ],
)
def test_what_fits_no_template_gives_no_question(sentence: str) -> None:
    assert ask_docstring(sentence, noun="function") is None


def test_the_same_statement_always_gives_the_same_question() -> None:
    sentence = "Save a checkpoint to disk"
    assert ask_docstring(sentence, noun="function") == ask_docstring(sentence, noun="function")


@pytest.mark.parametrize(
    ("title", "question"),
    [
        ("Saving a Model to Disk", "How do I save a model to disk?"),
        ("Launching an AWS Instance", "How do I launch an AWS instance?"),
        ("Run the tests", "How do I run the tests?"),
        ("How to open the box", "How do I open the box?"),
        ("How to open the box?", "How do I open the box?"),
        ("Why is my box empty ?", "Why is my box empty?"),
        ("Pull Request Process", None),
        ("Test coverage reports", None),
        ("Save interval units", None),
        ("Save models to disk", "How do I save models to disk?"),
        ("Logging and tracing calls", None),
        ("Overview", None),
    ],
)
def test_a_heading_that_says_how_becomes_a_question(title: str, question: str | None) -> None:
    assert ask_heading(title) == question


@pytest.mark.parametrize(
    ("verb", "third", "past"),
    [
        ("save", "saves", "saved"),
        ("copy", "copies", "copied"),
        ("deploy", "deploys", "deployed"),
        ("push", "pushes", "pushed"),
        ("process", "processes", "processed"),
        ("fix", "fixes", "fixed"),
        ("write", "writes", "written"),
        ("log", "logs", "logged"),
        ("cache", "caches", "cached"),
    ],
)
def test_verbs_are_inflected_and_recognised(verb: str, third: str, past: str) -> None:
    assert third_person(verb) == third
    assert past_participle(verb) == past
    assert find_verb([verb, "the", "box"]) == (verb, False)
    assert find_verb([third, "the", "box"]) == (verb, True)


@pytest.mark.parametrize("words", ["The box", "Logs of the box", "If the box", "Opened the box"])
def test_what_is_no_verb_is_not_taken_for_one(words: str) -> None:
    assert find_verb(words.split()) is None


def test_gerunds_are_undone() -> None:
    assert [verb_of_gerund(word) for word in ("Saving", "running", "String")] == [
        "save", "run", None,
    ]  # fmt: skip
