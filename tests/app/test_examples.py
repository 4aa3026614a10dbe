"""Example questions come from what is indexed, and are worth asking."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.examples import ask_heading, draw_examples
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo

PYTHON = '''\
"""Trainers."""

import os


def main() -> None:
    """Run."""
    EarlyStopper()


class EarlyStopper:
    """Stops when the loss has not fallen.

    It counts the epochs since the best one.
    """


class _Hidden:
    """Not for users."""


class Undocumented(EarlyStopper):
    pass


def count_epochs(
    stopper: EarlyStopper,
) -> int:
    """Count the epochs since the best one."""
    return 0


def get_stopper() -> EarlyStopper:
    """Return one."""
'''


def draw(folder: Path, *repositories: Path, count: int = 4) -> list[str]:
    specs = [str(repository) for repository in repositories]
    with CodeIndex.build(specs, folder, embedder=FakeEncoder()) as index:
        return draw_examples(index, count)


def test_a_repository_gives_questions_of_several_kinds(make_repo: MakeRepo, tmp_path: Path) -> None:
    files: Mapping[str, str] = {
        "README.md": "# Trainer\n\nTrains.\n\n## Saving Checkpoints Early\n\nCall it.\n",
        "train/stop.py": PYTHON,
        "tests/test_stop.py": 'class TestEarlyStopping:\n    """Tests it."""\n',
    }
    assert draw(tmp_path / "index", make_repo(files, "trainer")) == [
        "What is trainer for?",
        "How do I save checkpoints early?",
        "What does EarlyStopper do?",
        "How does count_epochs work?",
    ]


def test_other_languages_have_examples_too(make_repo: MakeRepo, tmp_path: Path) -> None:
    files = {
        "limit.go": "package limit\n\n// RateLimiter limits.\ntype x int\n\n"
        "// NewLimiter makes one.\nfunc NewLimiter() int {\n\treturn 1\n}\n",
        "retry.ts": "/** Waits, then asks again. */\nexport class RetryPolicy {\n  n = 1;\n}\n",
    }
    questions = draw(tmp_path / "index", make_repo(files))
    assert questions == ["What does RetryPolicy do?", "How does NewLimiter work?"]


def test_several_repositories_take_turns(make_repo: MakeRepo, tmp_path: Path) -> None:
    one = make_repo({"README.md": "# One\n", "stop.py": PYTHON}, "one")
    two = make_repo({"README.md": "# Two\n"}, "two")
    questions = draw(tmp_path / "index", one, two)
    assert questions[0] == "What is one for?"
    assert "What is two for?" in questions


def test_the_same_index_gives_the_same_questions(tiny_repo: Path, tmp_path: Path) -> None:
    first = draw(tmp_path / "first", tiny_repo)
    assert first == draw(tmp_path / "second", tiny_repo)
    assert first[0] == "What is limits for?"
    assert "What does RateLimitMiddleware do?" in first
    assert draw(tmp_path / "first", tiny_repo, count=1) == first[:1]


def test_a_repository_with_nothing_to_ask_about_gives_no_junk(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    assert draw(tmp_path / "index", make_repo({"a.yaml": "a: 1\n", "b.py": "x = 1\n"})) == []


@pytest.mark.parametrize(
    ("heading", "question"),
    [
        ("Saving Checkpoints to S3", "How do I save checkpoints to S3?"),
        ("How to write a checker", "How do I write a checker?"),
        ("2. Running the tests", "How do I run the tests?"),
        ("Use PyTorch with Composer", "How do I use PyTorch with composer?"),
        ("`Loading` [checkpoints](x.md) again", "How do I load checkpoints again?"),
        ("Installation", "How do I install limits?"),
        ("Quick Start", "How do I get started with limits?"),
        ("How are decisions made ?", "How are decisions made?"),
        ("Build the documentation", "How do I build the documentation?"),
    ],
)
def test_headings_that_say_how_become_questions(heading: str, question: str) -> None:
    asked = ask_heading(heading, "limits")
    assert asked is not None
    assert asked[0] == question


@pytest.mark.parametrize(
    "heading",
    [
        "",
        "API",
        "Build environment API",
        "Using Sphinx with...",
        "Saving and Loading Checkpoints",
        "Bug fixes",
        "<img src='x'> Use the thing",
        "Adding",
        "Why?",
        "Using a heading that goes on and on and on until nobody reads it",
    ],
)
def test_other_headings_do_not(heading: str) -> None:
    assert ask_heading(heading, "limits") is None
