"""Lines of indexed files, for whoever looks beyond the passages of an answer.

The page's viewer (`file_view.js`) asks for a window of lines at a time, so that a file of ten
thousand lines opens as fast as one of ten. Only files of the index are shown, as they were
indexed: nothing is read from a repository's folder.
"""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from app.highlight import highlight_lines
from app.workspace import Workspace
from data_tools.chunk import Chunk
from data_tools.languages import BY_NAME, Kind, detect_language
from data_tools.text import split_lines
from retrieval.index import CodeIndex

MAX_LINES = 400  # of one answer

Name = Annotated[str, Query(min_length=1, max_length=500)]
Path = Annotated[str, Query(min_length=1, max_length=4_096)]
Line = Annotated[int, Query(ge=1, le=10_000_000)]


def file_router(workspace: Workspace) -> APIRouter:
    """Make the routes that the viewer asks; errors are JSON with a `detail` of one line."""
    router = APIRouter(prefix="/page", include_in_schema=False)

    @router.get("/file")
    def file(repo: Name, path: Path, commit: Name, start: Line, end: Line) -> dict[str, Any]:
        """Return lines `start` to `end`, as many as there are of them, at most `MAX_LINES`.

        `lines` holds safe HTML for each; `total` counts those of the file; `prose` tells whether
        long ones are to be folded.
        """
        text = _read(workspace.index(), repo, path, commit)
        language = detect_language(path)
        name = language.name if language else "text"
        total = len(split_lines(text))
        first = min(start, total)
        last = min(max(end, first), total, first + MAX_LINES - 1)
        return {
            "lines": highlight_lines(text, name)[first - 1 : last],
            "start": first,
            "end": last,
            "total": total,
            "prose": name not in BY_NAME or BY_NAME[name].kind is not Kind.CODE,
        }

    @router.get("/link")
    def link(repo: Name, path: Path, commit: Name, start: Line, end: Line) -> dict[str, Any]:
        """Return the permalink of lines as `url`, None where there is none, and a `label`."""
        index = workspace.index()
        _read(index, repo, path, commit)
        assert index is not None
        lines = f"L{start}" if start == end else f"L{start}-L{end}"
        chunk = Chunk(repo, commit, path, start, end, "", "", "")
        return {"url": index.link(chunk), "label": f"{path}#{lines}"}

    return router


def _read(index: CodeIndex | None, repo: str, path: str, commit: str) -> str:
    try:
        if index is None:
            raise KeyError(repo)
        record = index.repository(repo)
        text = index.file_text(repo, path)
    except KeyError:
        raise HTTPException(404, f"the index no longer holds {path} of {repo}") from None
    if record.commit != commit:
        raise HTTPException(
            410,
            f"{repo} was indexed anew since: lines are those of {record.commit[:7]} now, "
            f"no longer of {commit[:7]}",
        )
    return text
