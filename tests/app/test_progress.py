"""Progress on stderr: bars and steps for a person, plain lines for a log file."""

import io
import sys

import pytest

from app.progress import ProgressBar
from retrieval import Progress


class Terminal(io.StringIO):
    """Standard error where a person looks at it."""

    def isatty(self) -> bool:
        return True


STEPS = (
    Progress("clone", message="opening limits"),
    Progress("clone", message="cloning: 50% of 1,000,000 objects"),
    Progress("notice", message="note this"),
    Progress("read", 1),
    Progress("read", 2),
    Progress("lexical", 0, 9),
    Progress("lexical", 9, 9),
    Progress("lexical-ready", 9, 9),
    Progress("embed", 0, 9),
    Progress("embed", 9, 9),
)


def show(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressBar() as bar:
        for step in STEPS:
            bar(step)
    return stream.getvalue()


def test_a_log_file_gets_a_line_for_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(io.StringIO(), monkeypatch).splitlines() == [
        "opening limits",
        "note this",
        "words can be searched now; embedding goes on",
    ]


def test_a_terminal_gets_bars_that_reach_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(Terminal(), monkeypatch)
    assert "reading files: 2 files" in text
    assert "indexing words: 100%" in text
    assert "embedding chunks: 100%" in text and "9/9" in text
    assert text.endswith("\n")


def test_a_step_of_a_clone_is_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    text = show(Terminal(), monkeypatch)
    assert "cloning: 50% of 1,000,000 objects\x1b[K\rnote this\x1b[K\n" in text
