"""Sections of documentation as questions."""

import pytest

from data_tools.sections import Section, find_sections
from data_tools.sources import SourceFile
from data_tools.text import split_lines

BODY = "The box has a lid, and the lid has a lock; turn the key until it clicks.\n"


def sections(text: str, path: str = "docs/box.md", language: str = "markdown") -> list[Section]:
    return list(find_sections(SourceFile("repo", "c" * 40, path, language, text, "0" * 64)))


def test_a_heading_that_says_how_is_asked_and_masked() -> None:
    (section,) = sections(f"# Box\n\n## Opening the Lid Twice\n\n{BODY}\n{BODY}\n")
    assert section.query == "How do I open the lid twice?"
    assert section.outline == "Box › Opening the Lid Twice"
    assert (section.start_line, section.end_line) == (5, 7)
    assert section.masked_lines == (3, 4 - 1)


def test_another_heading_is_asked_for_with_its_parent() -> None:
    (section,) = sections(f"# Checkpointing\n## Save Interval\n{BODY}")
    assert section.query == "checkpointing save interval"


def test_a_parent_that_the_heading_repeats_is_said_once() -> None:
    (section,) = sections(f"# Save Interval\n## Save Interval Units\n{BODY}")
    assert section.query == "save interval units"


def test_the_first_sentence_stands_in_for_a_heading_that_says_nothing() -> None:
    (section,) = sections(f"# Overview\n\nA box keeps what is put\ninto it. {BODY}")
    assert section.query == "A box keeps what is put into it"
    assert section.masked_lines == (3, 4)
    assert (section.start_line, section.end_line) == (3, 4)


def test_underlines_and_overlines_belong_to_the_heading() -> None:
    text = f"=================\nHow to open a lid\n=================\n\n{BODY}"
    (section,) = sections(text, "docs/box.rst", "restructuredtext")
    assert section.query == "How do I open a lid?"
    assert section.masked_lines == (1, 3)
    text = f"How to open a lid\n-----------------\n\n{BODY}"
    (section,) = sections(text, "docs/box.rst", "restructuredtext")
    assert section.masked_lines == (1, 2)
    first, last = section.start_line, section.end_line
    assert "".join(split_lines(text)[first - 1 : last]) == BODY


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("CHANGELOG.md", f"# How to open a lid\n{BODY}"),
        ("docs/whatsnew/1.2.md", f"# How to open a lid\n{BODY}"),
        ("LICENSE.md", f"# How to open a lid\n{BODY}"),
        ("docs/box.md", "# How to open a lid\nTurn the key.\n"),
        ("docs/box.md", f"## Attribution of the box\n{BODY}"),
        ("docs/box.md", f"# Overview\n    {BODY}"),
        ("docs/box.md", BODY),
    ],
)
def test_what_answers_nothing_is_left_out(path: str, text: str) -> None:
    assert sections(text, path) == []
