"""What the tools of `app.mcp_tools` return: their schemas are what an agent is told.

An agent reads what repositories hold, so what a person could not see in it is shown to both.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from data_tools.hidden_text import show_hidden


class Result(BaseModel):
    """What a tool returns: its fields' docstrings are part of the schema."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _show_hidden(cls, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, tuple):
            return tuple(map(cls._show_hidden, value))
        return show_hidden(value) if isinstance(value, str) else value


class Passage(Result):
    """Lines of one file, as they were indexed."""

    repository: str
    commit: str
    path: str
    start_line: int
    """1-based."""
    end_line: int
    """Inclusive."""
    language: str
    symbol: str
    """The definitions that the lines belong to; may be empty."""
    score: float
    """Comparable within one search only; higher is better."""
    url: str | None
    """Link to the lines at the commit, where the repository is on a known git host."""
    text: str


class FoundPassages(Result):
    """The passages that answer a question, best first."""

    passages: tuple[Passage, ...]
    words_only: bool
    """The index is still being made: only words were searched, not yet meaning."""


class Lines(Result):
    """Lines of one file, as they were indexed."""

    repository: str
    commit: str
    path: str
    start_line: int
    end_line: int
    """The last line that is returned: fewer than asked for if the file or the limit ends first."""
    total_lines: int
    """Of the whole file."""
    url: str | None
    """Link to the lines at the commit, where the repository is on a known git host."""
    text: str
    """Each line after its number and a tab."""


class CitedLines(Result):
    """Lines that an answer cites; they were checked to be among what was found."""

    marker: str
    """How the answer's text refers to them."""
    repository: str
    path: str
    start_line: int
    end_line: int
    url: str | None
    """Link to the lines at the commit, where the repository is on a known git host."""
    lacks: tuple[str, ...]
    """Names that the statement quotes and these lines do not hold: check such a statement."""


class CitedAnswer(Result):
    """An answer and the lines that prove it."""

    text: str
    """Markdown; a marker such as [1:L10-L20] stands behind what it proves."""
    citations: tuple[CitedLines, ...]
    abstained: bool
    """The repositories do not seem to hold an answer; the text says what was looked for."""
    model: str | None
    """The language model that wrote it; null: it is quoted from the code."""


class IndexedRepository(Result):
    """One repository of the index."""

    name: str
    location: str
    """Where it was read from."""
    ref: str | None
    """The branch, tag or commit asked for; null: the default branch."""
    commit: str
    web_url: str | None
    files: int
    skipped: int
    """Files that are not indexed: binary, generated, vendored or too large ones."""
    languages: dict[str, int]
    """Files by language, most first."""


class IndexedRepositories(Result):
    """What the index holds."""

    repositories: tuple[IndexedRepository, ...]
    passages: int
    """Pieces of files that can be found."""
    indexed_at: str
    """ISO 8601."""
