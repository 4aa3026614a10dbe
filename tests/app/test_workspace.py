"""The index behind the page: nothing, then words, then everything; never less than before."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.workspace import Status, Workspace
from data_tools.errors import IndexDamagedError
from retrieval import CodeIndex, Progress
from retrieval.generations import CURRENT
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, head_of


class Steps:
    """Watches a build, and holds it at one stage until it is let go."""

    def __init__(self, hold_at: str = "") -> None:
        self.hold_at = hold_at
        self.held, self.go_on = threading.Event(), threading.Event()
        self.stages: list[str] = []

    def __call__(self, progress: Progress) -> None:
        self.stages.append(progress.stage)
        if progress.stage == self.hold_at and not self.held.is_set():
            self.held.set()
            assert self.go_on.wait(60)


@contextmanager
def held_at(workspace: Workspace, stage: str) -> Iterator[Steps]:
    """Start a build and hold it at a stage while in the block; then wait for its end."""
    steps = Steps(stage)
    workspace.start(steps)
    try:
        assert steps.held.wait(60)
        yield steps
    finally:
        steps.go_on.set()
        workspace.wait(60)


def open_workspace(folder: Path, *repos: Path) -> Workspace:
    return Workspace(folder, [str(repo) for repo in repos], FakeEncoder())


def close(workspace: Workspace) -> None:
    index = workspace.index()
    assert index is not None
    index.close()


def test_a_page_has_nothing_then_words_then_everything(tiny_repo: Path, tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "index", tiny_repo)
    assert workspace.status == Status("nothing", building=False)
    assert workspace.index() is None
    with held_at(workspace, "lexical"):
        status = workspace.status
        assert (status.ready, status.building, status.error) == ("nothing", True, None)
        assert status.progress is not None and status.progress.stage == "lexical"
    close(workspace)


def test_words_are_searched_while_the_vectors_are_made(tiny_repo: Path, tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "index", tiny_repo)
    with held_at(workspace, "lexical-ready"):
        assert (workspace.status.ready, workspace.status.building) == ("words", True)
        words = workspace.index()
        assert words is not None
        assert words.search("TokenBucket", k=1)[0].cosine is None
    assert workspace.status.ready == "everything"
    assert not workspace.status.building and workspace.status.error is None
    assert workspace.index() is words  # the same object, gone on to the new generation
    assert words.search("TokenBucket", k=1)[0].cosine is not None
    close(workspace)


def build(repos: Sequence[Path], folder: Path) -> None:
    CodeIndex.build([str(repo) for repo in repos], folder, embedder=FakeEncoder()).close()


def test_without_repositories_what_is_there_is_opened_and_nothing_is_built(
    tiny_repo: Path, tmp_path: Path
) -> None:
    build([tiny_repo], tmp_path / "index")
    workspace = open_workspace(tmp_path / "index")
    assert workspace.status == Status("everything", building=False)
    workspace.start()
    workspace.wait()
    assert workspace.status == Status("everything", building=False)
    close(workspace)
    assert Workspace(tmp_path / "none").index() is None


def test_the_old_index_answers_while_a_new_one_is_made(tiny_repo: Path, tmp_path: Path) -> None:
    folder, first = tmp_path / "index", head_of(tiny_repo)
    build([tiny_repo], folder)
    commit_files(tiny_repo, {"new.py": "quasar = 1\n"})
    workspace = open_workspace(folder, tiny_repo)
    index = workspace.index()
    assert index is not None
    with held_at(workspace, "embed"):
        assert (workspace.status.ready, workspace.status.building) == ("everything", True)
        assert index.repository("limits").commit == first
    assert index.repository("limits").commit == head_of(tiny_repo)
    close(workspace)


def test_a_failed_build_keeps_the_old_index_and_says_why(tiny_repo: Path, tmp_path: Path) -> None:
    build([tiny_repo], tmp_path / "index")
    workspace = open_workspace(tmp_path / "index", tmp_path / "nowhere")
    before = workspace.index()
    workspace.start()
    workspace.wait(60)
    status = workspace.status
    assert (status.ready, status.building) == ("everything", False)
    assert status.error is not None and "nowhere does not exist" in status.error
    assert workspace.index() is before
    close(workspace)


def test_a_failed_first_build_says_why_and_may_be_tried_again(
    tiny_repo: Path, tmp_path: Path
) -> None:
    late = tmp_path / "late"
    workspace = open_workspace(tmp_path / "index", late)
    workspace.start()
    workspace.wait(60)
    assert workspace.status.ready == "nothing"
    assert workspace.status.error is not None
    tiny_repo.rename(late)
    with held_at(workspace, "clone"):
        assert workspace.status.error is None
    assert workspace.status.ready == "everything"
    close(workspace)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_build_that_breaks_off_does_not_leave_the_page_waiting(
    tiny_repo: Path, tmp_path: Path
) -> None:
    class Panic(BaseException):
        """What a library written in Rust raises: no Exception."""

    def watch(progress: Progress) -> None:
        if progress.stage == "lexical-ready":
            raise Panic("at the disco")

    workspace = open_workspace(tmp_path / "index", tiny_repo)
    workspace.start(watch)
    workspace.wait(60)
    assert (workspace.status.ready, workspace.status.building) == ("words", False)
    assert workspace.status.error == "indexing stopped; look at the terminal"
    close(workspace)


def test_a_damaged_index_is_refused_unless_it_is_to_be_made_anew(
    tiny_repo: Path, tmp_path: Path
) -> None:
    build([tiny_repo], tmp_path / "index")
    (tmp_path / "index" / CURRENT).write_text("garbage")
    with pytest.raises(IndexDamagedError):
        Workspace(tmp_path / "index")
    workspace = open_workspace(tmp_path / "index", tiny_repo)
    assert workspace.index() is None
    workspace.start()
    workspace.wait(60)
    assert workspace.status.ready == "everything"
    close(workspace)
