"""Signatures are read as they are written, in six languages; so are docstrings of parameters."""

from pathlib import Path

import pytest

from data_tools.qa_parameters import Meaning, read_meanings
from data_tools.text import split_lines
from tests.data_tools.qa_mining import answers, mine, write

PYTHON = """\
class Limiter:
    def __init__(self, rate: float, *, capacity: "int | None" = None, **options: str) -> None:
        pass

    def take(
        self,
        amount=1.0,
    ) -> bool:
        return True


def plain():
    pass


def close(limiter) -> None:
    pass
"""


def ask(tmp_path: Path, name: str, text: str) -> dict[str, str]:
    return answers(mine(write(tmp_path / "repo", {name: text}), "signature").pairs)


def test_python_s_parameters_defaults_and_returns_are_answered(tmp_path: Path) -> None:
    assert ask(tmp_path, "limits.py", PYTHON) == {
        "Which parameters does the constructor of `Limiter` take?": "It takes three parameters: "
        '`rate` (`float`), `capacity` (`"int | None"`, default `None`) and `**options` (`str`).',
        "What is the default of `capacity` in `Limiter`?": "`capacity` defaults to `None`.",
        "Which parameters does `Limiter.take` take?": "It takes one parameter: `amount` "
        "(default `1.0`).",
        "What is the default of `amount` in `Limiter.take`?": "`amount` defaults to `1.0`.",
        "What type does `Limiter.take` return?": "It returns `bool`.",
        "Which parameters does `close` take?": "It takes one parameter: `limiter`.",
        "What type does `close` return?": "`None`: it returns nothing.",
    }


@pytest.mark.parametrize(
    ("name", "text", "listed", "returned"),
    [
        (
            "a.ts",
            "export async function take(amount: number, wait?: boolean, tries = 3, "
            "...rest: string[]): Promise<void> {}\n",
            "four parameters: `amount` (`number`), `wait` (`boolean`), `tries` (default `3`) and "
            "`...rest` (`string[]`)",
            "Promise<void>",
        ),
        ("a.js", "function take(a, b = 2) {}\n", "two parameters: `a` and `b` (default `2`)", ""),
        (
            "a.go",
            "package a\n\nfunc take(a, b int, c ...string) (int, error) { return 0, nil }\n",
            "three parameters: `a` (`int`), `b` (`int`) and `...c` (`string`)",
            "(int, error)",
        ),
        (
            "a.rs",
            "fn take(a: u32, b: &str) -> Result<(), E> { Ok(()) }\n",
            "two parameters: `a` (`u32`) and `b` (`&str`)",
            "Result<(), E>",
        ),
        (
            "A.java",
            "class A {\n  int take(String a, final int b) { return 1; }\n}\n",
            "two parameters: `a` (`String`) and `b` (`int`)",
            "int",
        ),
    ],
)
def test_other_languages_are_read_too(
    tmp_path: Path, name: str, text: str, listed: str, returned: str
) -> None:
    found = ask(tmp_path, name, text)
    title = "`A.take`" if name == "A.java" else "`take`"
    assert found[f"Which parameters does {title} take?"] == f"It takes {listed}."
    expected = f"It returns `{returned}`." if returned else None
    assert found.get(f"What type does {title} return?") == expected


def test_a_receiver_is_no_parameter(tmp_path: Path) -> None:
    text = "impl T { fn f(&self, a: u32) {} fn g(&mut self) {} }\n"
    found = ask(tmp_path, "a.rs", text)
    assert found == {"Which parameters does `T.f` take?": "It takes one parameter: `a` (`u32`)."}


def test_patterns_are_left_out_rather_than_told_wrong(tmp_path: Path) -> None:
    assert not ask(tmp_path, "a.js", "function take({ a, b }, c) {}\n")


def test_the_evidence_is_the_signature_alone(tmp_path: Path) -> None:
    pairs = mine(write(tmp_path / "repo", {"limits.py": PYTHON}), "signature").pairs
    spans = {(e.start_line, e.end_line) for pair in pairs for e in pair.evidence}
    assert spans == {(2, 2), (5, 8), (16, 16)}


def test_both_forms_of_documented_parameters_are_read() -> None:
    text = '''\
    """Take tokens.

    :param amount: how many are taken,
        at most all of them.
    :param x: short.

    Args:
        wait (bool, optional): Whether to wait for more. Default: ``False``.
        tries: how often it is
            tried at most:
        unclear: see the other one.

    Returns:
        taken: the number of tokens taken.
    """
'''
    assert list(read_meanings(split_lines(text))) == [
        Meaning("amount", "How many are taken, at most all of them.", 2, 2),
        Meaning("wait", "Whether to wait for more.", 7, 1),
        Meaning("tries", "How often it is tried at most.", 8, 2),
    ]
