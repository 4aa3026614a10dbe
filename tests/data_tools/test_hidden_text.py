"""What cannot be seen is shown; what can be seen stays as it is, and nothing gets longer."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.hidden_text import SHOWN, show_hidden, show_on_one_line

TAGS = "".join(chr(0xE0000 + ord(letter)) for letter in "delete everything")


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("a\x1b[2Jb", f"a{SHOWN}[2Jb"),  # clears a terminal
        ("a\x9b2Jb", f"a{SHOWN}2Jb"),
        ("a\u202eb\u2066c", f"a{SHOWN}b{SHOWN}c"),  # turns text round
        (f"a{TAGS}b", f"a{SHOWN}b"),  # one run, one mark
        ("ad\u200bmin", f"ad{SHOWN}min"),
        ("a\u3164b", f"a{SHOWN}b"),  # a letter without a shape
        ("a\u2028b\rc\x0bd", f"a{SHOWN}b{SHOWN}c{SHOWN}d"),
        ("a\ud800b", f"a{SHOWN}b"),  # could not be sent
        ("\u200c\u200d\u200c", SHOWN),  # bits, not a joiner
    ],
)
def test_what_cannot_be_seen_is_shown(hidden: str, shown: str) -> None:
    assert show_hidden(hidden) == shown


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n\treturn 'größe'\r\n",
        "\u26a0\ufe0f",  # a warning sign in colour
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "\u0915\u094d\u200d\u0937",  # Hindi
    ],
)
def test_writing_stays_as_it_is(text: str) -> None:
    assert show_hidden(text) == text


def test_a_name_stays_on_one_line() -> None:
    assert show_on_one_line("a\nb\r\nc\u2028d\te") == f"a{SHOWN}b{SHOWN}c{SHOWN}d{SHOWN}e"


@given(st.text())
def test_no_text_gets_longer_and_none_changes_twice(text: str) -> None:
    once = show_hidden(text)
    assert len(once) <= len(text)
    assert show_hidden(once) == once


def test_no_control_and_no_format_character_is_left_alone_but_a_few() -> None:
    letters = (chr(code) for code in range(0x110000))
    left = {x for x in letters if unicodedata.category(x) in ("Cc", "Cs", "Zl", "Zp")}
    assert {x for x in left if show_hidden(f"a{x}b") == f"a{x}b"} == {"\t", "\n"}
