"""Every promise of SECURITY.md names the test that proves it, and that test is there."""

import ast
import re
from functools import cache
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
RISKS = 12  # what the page is about: addresses, repositories, bombs, secrets, injection, …


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, FUNCTIONS)}


def promises() -> list[str]:
    """The rows of the page's tables, less their heads."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [row for row in rows if "| proof |" not in row]


def test_every_promise_names_a_test() -> None:
    rows = promises()
    assert len(rows) >= RISKS
    assert [row for row in rows if not NAMED.search(row)] == []


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall((ROOT / "SECURITY.md").read_text("utf-8"))
    assert [(file, test) for file, test in named if test and test not in names_in(file)] == []
    assert [file for file, _ in named if not (ROOT / file).is_file()] == []
