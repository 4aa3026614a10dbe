"""What the viewer is given: lines of indexed files, a window at a time, and links to them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from app.file_view import MAX_LINES, file_router
from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, head_of, make_repository, run_git

LONG = "".join(f"value_{number} = {number}\n" for number in range(1, 1_001))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {"src/long.py": LONG, "evil.md": "<script>alert(1)</script>\n", ".env": "TOKEN=1\n"}
    folder = make_repository(tmp_path / "limits", files)
    run_git(folder, "remote", "add", "origin", "https://github.com/ada/limits.git")
    run_git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    (folder / "untracked.py").write_text("secret = 1\n")
    return folder


@pytest.fixture
def workspace(repository: Path) -> Workspace:
    index = repository.parent / "index"
    CodeIndex.build([str(repository)], index, embedder=FakeEncoder()).close()
    return Workspace(index, [str(repository)], FakeEncoder())


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(file_router(workspace))
    with TestClient(app) as client:
        yield client


@pytest.fixture
def get(client: TestClient, repository: Path) -> Any:  # noqa: ANN401
    def ask(route: str, path: str, start: int, end: int, **other: str) -> Response:
        place = {"repo": "limits", "path": path, "commit": head_of(repository), **other}
        return client.get(f"/page/{route}", params={**place, "start": start, "end": end})

    return ask


def test_a_window_of_lines_is_highlighted(get) -> None:
    found = get("file", "src/long.py", 500, 502).json()
    assert (found["start"], found["end"], found["total"]) == (500, 502, 1_000)
    assert len(found["lines"]) == 3
    assert "value_500" in found["lines"][0]
    assert "hl-mi" in found["lines"][0]
    assert not found["prose"]


@pytest.mark.parametrize(
    ("asked", "given"),
    [((990, 5_000), (990, 1_000)), ((1, 5_000), (1, MAX_LINES)), ((9_999, 9_999), (1_000, 1_000))],
)
def test_no_window_is_larger_than_the_file_or_the_bound(get, asked, given) -> None:
    found = get("file", "src/long.py", *asked).json()
    assert (found["start"], found["end"]) == given
    assert len(found["lines"]) == given[1] - given[0] + 1


def test_what_a_file_holds_is_escaped(get) -> None:
    found = get("file", "evil.md", 1, 1).json()
    assert "<script" not in found["lines"][0]
    assert "&lt;script" in found["lines"][0]
    assert found["prose"]


@pytest.mark.parametrize(
    "path", ["untracked.py", "../limits/src/long.py", "/etc/passwd", "src", ".git/config"]
)
def test_nothing_but_indexed_files_is_shown(get, path: str) -> None:
    answer = get("file", path, 1, 10)
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"the index no longer holds {path} of limits"


def test_unknown_repositories_and_lines_that_are_none_are_refused(get) -> None:
    assert get("file", "src/long.py", 1, 1, repo="other").status_code == 404
    assert get("file", "src/long.py", 0, 1).status_code == 422


def test_lines_of_another_commit_are_not_passed_off_as_the_cited_ones(
    get, workspace: Workspace, repository: Path
) -> None:
    before = head_of(repository)
    commit_files(repository, {"src/long.py": "first = 0\n" + LONG})
    workspace.start()
    workspace.wait()
    answer = get("file", "src/long.py", 1, 1, commit=before)
    assert answer.status_code == 410
    assert before[:7] in answer.json()["detail"]
    assert get("file", "src/long.py", 1, 1).json()["total"] == 1_001


def test_any_lines_have_a_permalink(get, repository: Path) -> None:
    found = get("link", "src/long.py", 3, 5).json()
    commit = head_of(repository)
    assert found["url"] == f"https://github.com/ada/limits/blob/{commit}/src/long.py#L3-L5"
    assert found["label"] == "src/long.py#L3-L5"
