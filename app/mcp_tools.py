"""What coding agents can ask of an index: the four tools of the MCP server.

An agent reads the docstrings here, so they say when to use a tool and what comes back. Nothing
can be changed through them, and only indexed files are read: paths lead nowhere else.
"""

import logging
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import anyio.from_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from app.answer import answer
from app.answer_log import logged
from app.events import Answer, Delta, Event, EvidenceFound
from app.mcp_results import (
    CitedAnswer,
    CitedLines,
    FoundPassages,
    IndexedRepositories,
    IndexedRepository,
    Lines,
    Passage,
)
from data_tools.chunk import Chunk
from data_tools.errors import CodeQAError
from data_tools.text import split_lines
from retrieval.citations import format_citation
from retrieval.index import CodeIndex

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

log = logging.getLogger(__name__)

MAX_PASSAGES = 20  # about 12,000 tokens, half of what agents take of one tool
MAX_LINES = 500
MAX_CHARS = 40_000
PROGRESS_WORDS = 20  # of an answer, between two reports

Passages = Annotated[
    int, Field(ge=1, le=MAX_PASSAGES, description="How many passages at most, best first.")
]
InRepository = Annotated[
    str | None,
    Field(description="Only this repository, named as by list_repositories; default: all."),
]
InLanguage = Annotated[
    str | None, Field(description="Only this language, such as python, typescript or markdown.")
]
InPath = Annotated[
    str | None, Field(description="Only paths that match, as in .gitignore: src/**/*.py")
]
Question = Annotated[
    str,
    Field(description="A question in plain words, a name, or an error message as it was shown."),
]


class CodeTools:
    """The tools; each call sees the newest generation of the index. Safe from several threads."""

    def __init__(self, index: CodeIndex, chat: "BaseChatModel | None" = None) -> None:
        """Answer from an index.

        :param chat: what writes the answers of `ask`; None quotes.
        """
        self._index = index
        self._chat = chat

    def search_code(
        self,
        question: Question,
        k: Passages = 8,
        repository: InRepository = None,
        language: InLanguage = None,
        path: InPath = None,
    ) -> FoundPassages:
        """Find the lines of code or documentation that answer a question.

        Use it before grepping or opening files, when you do not know where something is: it finds
        by meaning and by words, in all indexed repositories at once. Read around a passage with
        read_lines.
        """
        index = self._newest()
        hits = index.search(
            question, k, repos=_only(repository), languages=_only(language), path_glob=path
        )
        passages = tuple(
            Passage(
                repository=hit.chunk.repo,
                commit=hit.chunk.commit,
                path=hit.chunk.path,
                start_line=hit.chunk.start_line,
                end_line=hit.chunk.end_line,
                language=hit.chunk.language,
                symbol=hit.chunk.symbol,
                score=round(hit.score, 6),
                url=hit.url,
                text=hit.chunk.text,
            )
            for hit in hits
        )
        return FoundPassages(passages=passages, words_only=not index.vectors_ready)

    def read_lines(
        self,
        repository: Annotated[str, Field(description="Its name, as search_code returns it.")],
        path: Annotated[str, Field(description="Of the file within the repository.")],
        start_line: Annotated[int, Field(ge=1, description="First line, from 1.")] = 1,
        end_line: Annotated[
            int | None, Field(ge=1, description=f"Last line, inclusive; at most {MAX_LINES} lines.")
        ] = None,
    ) -> Lines:
        """Read lines of an indexed file, numbered, as they were at the indexed commit.

        Where not all fit, ask again from the line after the last one returned.
        """
        index = self._newest()
        try:
            record = index.repository(repository)
        except KeyError:
            names = ", ".join(known.name for known in index.manifest.repositories)
            raise ToolError(
                f"no repository is named {repository!r}: choose from: {names}"
            ) from None
        try:
            lines = split_lines(index.file_text(repository, path))
        except KeyError:
            raise ToolError(
                f"{repository} has no indexed file {path!r}: find paths with search_code"
            ) from None
        if start_line > len(lines):
            raise ToolError(f"{path} has {len(lines):,} lines: start_line must be one of them")
        if end_line is not None and end_line < start_line:
            raise ToolError("end_line must not be before start_line")
        end_line = min(end_line or len(lines), len(lines), start_line + MAX_LINES - 1)
        numbered = _number(lines[start_line - 1 : end_line], start_line)
        end_line = start_line + len(numbered) - 1
        lines_shown = Chunk(repository, record.commit, path, start_line, end_line, "", "", "")
        return Lines(
            repository=repository,
            commit=record.commit,
            path=path,
            start_line=start_line,
            end_line=end_line,
            total_lines=len(lines),
            url=index.link(lines_shown),
            text="\n".join(numbered),
        )

    def ask(
        self,
        question: Question,
        context: Context,
        repository: InRepository = None,
        language: InLanguage = None,
        path: InPath = None,
    ) -> CitedAnswer:
        """Answer a question about the indexed repositories, each statement with the lines it is of.

        Use it for how and why; where you only need to know where, search_code is quicker.
        """
        events = answer(
            self._newest(),
            question,
            chat=self._chat,
            repos=_only(repository),
            languages=_only(language),
            path_glob=path,
        )
        progress = _Progress(context)
        with closing(logged(events, question)) as events:  # a client that gives up stops the model
            for event in events:
                anyio.from_thread.check_cancelled()
                progress.tell(event)
                if isinstance(event, Answer):
                    return _cite(event)
        raise AssertionError("unreachable")

    def list_repositories(self) -> IndexedRepositories:
        """List what can be searched: repositories, their commits, languages and sizes."""
        index = self._newest()
        return IndexedRepositories(
            repositories=tuple(
                IndexedRepository(
                    name=record.name,
                    location=record.location,
                    ref=record.ref,
                    commit=record.commit,
                    web_url=record.web_url,
                    files=record.files,
                    skipped=record.skipped,
                    languages=dict(index.languages(record.name)),
                )
                for record in index.manifest.repositories
            ),
            passages=len(index),
            indexed_at=datetime.fromtimestamp(index.manifest.created_at, UTC).isoformat(
                timespec="seconds"
            ),
        )

    def warm_up(self) -> None:
        """Load the embedding model, so that the first question does not wait for it."""
        with suppress(CodeQAError):  # the first question will say it
            if self._index.vectors_ready:
                self._index.embedder.embed(["warm up"])

    def _newest(self) -> CodeIndex:
        try:
            self._index = self._index.newest()
        except CodeQAError as error:  # what was open before still answers
            log.warning("a newer index cannot be read: %s", error)
        return self._index


class _Progress:
    """Tells the client how far an answer is, in words; nothing is sent if it did not ask."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._text = ""
        self._told = 0

    def tell(self, event: Event) -> None:
        match event:
            case EvidenceFound(hits):
                places = ", ".join(dict.fromkeys(hit.chunk.path for hit in hits[:3]))
                self._send(0, f"found {len(hits)} passages in {places}" if hits else "found none")
            case Delta(text):
                self._text += text
                words = len(self._text.split())
                if words >= self._told + PROGRESS_WORDS:
                    self._told = words
                    self._send(words, f"wrote {words} words")

    def _send(self, progress: float, message: str) -> None:
        anyio.from_thread.run(self._context.report_progress, progress, None, message)


def _only(name: str | None) -> list[str] | None:
    return None if name is None else [name]


def _number(lines: Sequence[str], first: int) -> list[str]:
    """Number lines, as many as `MAX_CHARS` holds, but at least one."""
    numbered: list[str] = []
    chars = 0
    for number, line in enumerate(lines, start=first):
        text = f"{number}\t{line}".rstrip("\n")
        chars += len(text)
        if numbered and chars > MAX_CHARS:
            break
        numbered.append(text)
    return numbered


def _cite(answer: Answer) -> CitedAnswer:
    lacking = {doubt.citation: doubt.names for doubt in answer.doubts}
    citations = tuple(
        CitedLines(
            marker=format_citation(citation.passage, citation.start_line, citation.end_line),
            repository=citation.repo,
            path=citation.path,
            start_line=citation.start_line,
            end_line=citation.end_line,
            url=citation.url,
            lacks=lacking.get(citation, ()),
        )
        for citation in answer.citations
    )
    return CitedAnswer(
        text=answer.text,
        citations=citations,
        abstained=answer.abstained,
        model=answer.model,
    )
