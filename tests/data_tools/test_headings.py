"""Sections of prose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.headings import split_sections
from data_tools.text import split_lines


def titles(text: str, language: str) -> list[tuple[int, str]]:
    """First line, 1-based, and title of each section."""
    return [(start + 1, title) for start, _, title in split_sections(split_lines(text), language)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "# A\nx\n## B\ny\n### C\n## D\n",
            [(1, "A"), (3, "A › B"), (5, "A › B › C"), (6, "A › D")],
        ),
        ("intro\n\n# A\n", [(1, ""), (3, "A")]),
        ("# A #\n# C#\n# D ##\n", [(1, "A"), (2, "C#"), (3, "D")]),
        ("#hash\n#\n####### seven\n    # indented\n", [(1, "")]),
        ("   ## A\n", [(1, "A")]),
        ("A\n===\nx\n\nB\n---\ny\n", [(1, "A"), (5, "A › B")]),
        ("a paragraph\nof two lines\n---\n", [(1, "")]),
        ("- item\n---\n\n> quote\n---\n\n| a |\n---\n", [(1, "")]),
        ("x\n\n---\n\ny\n", [(1, "")]),
        ("```\n# no\n```\n# yes\n", [(1, ""), (4, "yes")]),
        ("````md\n```\n# no\n```\n````\n# yes\n", [(1, ""), (6, "yes")]),
        ("```\n```python\n# no\n```\n# yes\n", [(1, ""), (5, "yes")]),
        ("~~~\n```\n# no\n~~~\n# yes\n", [(1, ""), (5, "yes")]),
        ("```\n# never closed\n", [(1, "")]),
        ("---\ntitle: A\n# comment\n---\n# B\n", [(1, ""), (5, "B")]),
        ("+++\n# comment\n+++\n# B\n", [(1, ""), (4, "B")]),
        ("---\n# B\n", [(1, ""), (2, "B")]),
        ("---\ntitle: A\n---\nB\n===\n", [(1, ""), (4, "B")]),
        ("## B\n# A\n", [(1, "B"), (2, "A")]),
        ("# " + "long " * 50 + "\n", [(1, ("long " * 16).strip())]),
        (
            "# A [b](http://c) ![d](e)\n## [![F](g)](h) <a name='i'></a>\n",
            [(1, "A b d"), (2, "A b d › F")],
        ),
        ("# Vec<T> in `[a](b)` < 3\n", [(1, "Vec<T> in `a` < 3")]),
        ("<!--\n```\n# no\n```-->\n# yes\n", [(1, ""), (5, "yes")]),
        ("", []),
    ],
)
def test_markdown(text: str, expected: list[tuple[int, str]]) -> None:
    assert titles(text, "markdown") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A\n=\n\n", [(1, "")]),
        (
            "Guide\n=====\nx\n\nInstall\n-------\ny\n\nUse\n---\n",
            [(1, "Guide"), (5, "Guide › Install"), (9, "Guide › Use")],
        ),
        ("=====\nGuide\n=====\n\nUse\n===\n", [(1, "Guide"), (5, "Guide › Use")]),
        ("=======\n Guide\n=======\n", [(1, "Guide")]),
        (
            "First\n~~~~~\n\nSecond\n^^^^^^\n\nThird\n~~~~~\n",
            [(1, "First"), (4, "First › Second"), (7, "Third")],
        ),
        ("Title too long for it\n====\n", [(1, "")]),
        ("a paragraph\nof two lines\n------------\n", [(1, "")]),
        ("=====  =====\na      b\n=====  =====\n", [(1, "")]),
        ("  indented\n----------\n", [(1, "")]),
    ],
)
def test_restructuredtext(text: str, expected: list[tuple[int, str]]) -> None:
    assert titles(text, "restructuredtext") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("= Guide\nx\n\n== Install\ny\n", [(1, "Guide"), (4, "Guide › Install")]),
        ("----\n== no\n----\n== yes\n", [(1, ""), (4, "yes")]),
        ("====\n== no\n----\n====\n== yes\n", [(1, ""), (5, "yes")]),
        ("```ruby\n== no\n```\n== yes\n", [(1, ""), (4, "yes")]),
        ("== \n=x\n", [(1, "")]),
    ],
)
def test_asciidoc(text: str, expected: list[tuple[int, str]]) -> None:
    assert titles(text, "asciidoc") == expected


def test_plain_text_has_no_headings() -> None:
    assert titles("# A\n\nB\n===\n", "text") == [(1, "")]


LINES = st.lists(
    st.sampled_from(["# A\n", "## B\n", "A\n", "===\n", "---\n", "```\n", "\n", " x\n", "~~~~\n"])
    | st.text(max_size=8).map(lambda text: text.replace("\n", "") + "\n")
)


@given(LINES, st.sampled_from(["markdown", "restructuredtext", "asciidoc", "text", "jupyter"]))
def test_sections_cover_every_line_once(lines: list[str], language: str) -> None:
    sections = split_sections(lines, language)
    rows = [row for start, end, _ in sections for row in range(start, end)]
    assert rows == list(range(len(lines)))


def test_a_substitution_of_restructuredtext_is_no_part_of_a_title() -> None:
    lines = ["|:rocket:| Launch\n", "=================\n", "\n", "|logo|\n", "======\n"]
    assert [title for _, _, title in split_sections(lines, "restructuredtext")] == [
        "Launch",
        "|logo|",
    ]
