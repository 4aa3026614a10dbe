"""Matrices of hostile cases: a part of each in `make test`, all of it under `make torture`.

What a matrix came to is printed at the end as a table, which `benchmarks/RESULTS.md` quotes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.torture.faults import Faulty

WHOLE = os.environ.get("CODEQA_TORTURE") == "whole"
HERE = Path(__file__).parent

_rows: list[tuple[str, str]] = []

Tally = Callable[..., None]
Cases = Callable[[int, int], int]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.torture)
            if WHOLE:
                item.add_marker(pytest.mark.timeout(3600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _rows:
        return
    terminalreporter.section(f"torture ({'whole' if WHOLE else 'a part of it'})")
    terminalreporter.write_line("| matrix | what came of it |\n|---|---|")
    for what, came in sorted(_rows):
        terminalreporter.write_line(f"| {what} | {came} |")


@pytest.fixture
def cases() -> Cases:
    """How many cases to try: `cases(reduced, whole)`."""
    return lambda reduced, whole: whole if WHOLE else reduced


@pytest.fixture
def tally() -> Tally:
    """Note what a matrix came to: `tally("kill -9 while indexing", points=200, mixed=0)`."""

    def note(what: str, **counts: object) -> None:
        words = (f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        _rows.append((what, ", ".join(words)))

    return note


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    """A warm process whose runs are killed, or find the disk full, where a test says."""
    with Faulty(tmp_path_factory.mktemp("faults")) as process:
        yield process
