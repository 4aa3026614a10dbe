"""Source code becomes lines of safe, highlighted HTML."""

import re
from html import unescape

import pytest

from app.highlight import MAX_CHARS, MAX_LINE_CHARS, highlight_lines, highlight_passage
from data_tools.hidden_text import show_hidden
from data_tools.languages import LANGUAGES
from data_tools.text import split_lines
from tests.fakes import MakeChunk


def plain(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


CODE = '\n\n# <b>\n"""a\nb"""\r\n\tx = "é\x0c" & 1  \n\n'


@pytest.mark.parametrize("language", [language.name for language in LANGUAGES] + ["no-such"])
def test_every_language_gives_each_line_as_it_is(language: str) -> None:
    lines = highlight_lines(CODE, language)
    shown = split_lines(show_hidden(CODE))
    assert [plain(line) for line in lines] == [line.rstrip("\r\n") for line in shown]
    assert all("<b>" not in line for line in lines)


def test_each_line_closes_its_own_tags() -> None:
    for line in highlight_lines('x = """one\ntwo\nthree"""\n', "python"):
        assert line.count("<span") == line.count("</span>") > 0


@pytest.mark.parametrize("code", ["x = '<'\n" * (MAX_CHARS // 4), "'<'" * MAX_LINE_CHARS])
def test_code_that_is_too_long_stays_plain(code: str) -> None:
    assert "<" not in highlight_lines(code, "python")[0]


def test_empty_code_has_no_lines() -> None:
    assert highlight_lines("", "python") == ()


def test_a_passage_from_inside_a_docstring_is_highlighted_as_one(make_chunk: MakeChunk) -> None:
    file_text = '"""One.\n\nTwo if three.\n"""\nx = 1\n'
    chunk = make_chunk("Two if three.\n", start_line=3)
    assert "hl-k" not in highlight_passage(chunk, file_text)[0]
    assert "hl-k" in highlight_passage(chunk, "")[0]  # by itself it looks like code


def test_a_passage_of_a_file_that_has_changed_stands_alone(make_chunk: MakeChunk) -> None:
    chunk = make_chunk("x = 1\n", start_line=2)
    lines = highlight_passage(chunk, "a\nsomething else\n")
    assert [plain(line) for line in lines] == ["x = 1"]
