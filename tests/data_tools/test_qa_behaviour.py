"""Tests tell what is expected: by their names, and by plain values that they assert."""

from pathlib import Path

from tests.data_tools.qa_mining import answers, mine, write

CODE = """\
def parse_size(text, unit=1):
    return int(text) * unit


def parse_all(texts):
    return [parse_size(text) for text in texts]
"""
TEST = """\
import pytest
from sizes import parse_size, parse_all


def test_parse_size_ignores_blanks_around():
    assert parse_size(" 12 ") == 12
    assert parse_size("12", unit=1024) == 12288


def test_parse_size_of_words():
    with pytest.raises(ValueError):
        parse_size("twelve")


def test_parse_all_of_several(monkeypatch):
    monkeypatch.setattr("sizes.parse_size", len)
    assert parse_all(["one", "two"]) == [3, 3]


def test_other():
    text = "7"
    assert parse_size(text) == 7
"""


def test_statements_and_plain_values_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "repo", {"sizes.py": CODE, "tests/test_sizes.py": TEST})
    says = "as a test in `tests/test_sizes.py` says."
    assert answers(mine(folder, "test").pairs) == {
        "What do the tests check of `parse_size`?": "Parse size ignores blanks around "
        "(`test_parse_size_ignores_blanks_around`), in `tests/test_sizes.py`.",
        'What does `parse_size(" 12 ")` give?': f"It gives `12`, {says}",
        'What does `parse_size("12", unit=1024)` give?': f"It gives `12288`, {says}",
        'What does `parse_size("twelve")` give?': f"It raises `ValueError`, {says}",
    }
