"""Docstrings become answers, and questions for what they document."""

from pathlib import Path

import pytest

from data_tools.qa_docstrings import mark_code
from tests.data_tools.qa_mining import answers, mine, write

CODE = '''\
class Limiter:
    """A gate that lets few requests through."""

    def take(self, amount):
        """Remove tokens from the `bucket` of a client.

        More about it.
        """

    def reset(self):
        """Fill the bucket again and forget the clients."""

    def on_refused(self):
        """Called whenever a request was refused."""


class LimitError(Exception):
    """Raised when a client asks too often."""


def _count_all():
    """Return the number of clients."""
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "repo", {"limits.py": CODE})


def test_a_docstring_answers_in_the_grammar_of_its_question(folder: Path) -> None:
    assert answers(mine(folder, "docstring").pairs) == {
        "What is `Limiter`?": "It is a gate that lets few requests through.",
        "What does `Limiter.take` do?": "It removes tokens from the `bucket` of a client.",
        "What is `Limiter.reset` for?": "To fill the bucket again and forget the clients.",
        "What is `Limiter.on_refused` for?": "It is called whenever a request was refused.",
        "What is `LimitError` for?": "It is raised when a client asks too often.",
        "What does `_count_all` do?": "It returns the number of clients.",
    }


def test_the_evidence_is_the_name_and_the_first_paragraph(folder: Path) -> None:
    pairs = mine(folder, "docstring").pairs
    spans = {pair.question: [(e.start_line, e.end_line) for e in pair.evidence] for pair in pairs}
    assert spans["What does `Limiter.take` do?"] == [(4, 5)]
    assert spans["What is `LimitError` for?"] == [(17, 18)]


def test_asked_the_other_way_round_the_answer_names_the_definition_and_its_class(
    folder: Path,
) -> None:
    found = answers(mine(folder, "lookup").pairs)
    assert found["Which exception is raised when a client asks too often?"] == (
        "The class `LimitError`, in `limits.py`."
    )
    (number,) = (answer for question, answer in found.items() if "number of clients" in question)
    assert "`_count_all`" in number and "Use" not in number
    (take,) = (
        pair for pair in mine(folder, "lookup").pairs if "`take` of `Limiter`" in pair.answer
    )
    assert [(e.start_line, e.end_line) for e in take.evidence] == [(1, 1), (4, 5)]


def test_a_symbol_of_several_files_is_asked_about_with_its_file(tmp_path: Path) -> None:
    files = {
        f"{name}.py": f'def main():\n    """Print what clients of kind {name} may ask."""\n'
        for name in "ab"
    }
    found = answers(mine(write(tmp_path / "repo", files), "docstring").pairs)
    assert set(found) == {"What does `main` in `a.py` do?", "What does `main` in `b.py` do?"}


def test_a_symbol_that_a_file_defines_twice_is_not_asked_about(tmp_path: Path) -> None:
    text = 'def f(a):\n    """Save the first of all settings."""\n\n\n' * 2
    assert not mine(write(tmp_path / "repo", {"a.py": text}), "docstring", "lookup").pairs


@pytest.mark.parametrize(
    ("docstring", "marked"),
    [
        ("Use ``take`` of it.", "Use `take` of it"),
        ("Make a :class:`~limits.Limiter` anew.", "Make a `Limiter` anew"),
        ("Say `what is meant` by it.", "Say what is meant by it"),
    ],
)
def test_names_marked_as_code_stay_marked(docstring: str, marked: str) -> None:
    assert mark_code(marked.replace("`", ""), docstring) == marked
