"""The index behind the page: nothing, then words, then everything; never less than before."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from app.workspace import MAX_JOBS, Status, Workspace
from data_tools.errors import BusyError, IndexDamagedError, SourceError
from retrieval import CodeIndex, Progress
from retrieval.generations import CURRENT
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, head_of, make_repository


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
    everything = workspace.index()
    assert everything and everything.search("TokenBucket", k=1)[0].cosine is not None
    assert words.search("TokenBucket", k=1)[0].cosine is None  # what answers goes on as it began
    words.close()
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
    assert index.repository("limits").commit == first
    newest = workspace.index()
    assert newest and newest.repository("limits").commit == head_of(tiny_repo)
    index.close()
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


@pytest.fixture
def workspace(tiny_repo: Path, tmp_path: Path) -> Iterator[Workspace]:
    """One whose index holds the repository `limits`."""
    build([tiny_repo], tmp_path / "index")
    workspace = open_workspace(tmp_path / "index")
    yield workspace
    workspace.wait(60)
    close(workspace)


def names_in(workspace: Workspace) -> list[str]:
    index = workspace.index()
    return [record.name for record in index.manifest.repositories] if index else []


def test_a_repository_is_added_updated_and_removed(workspace: Workspace, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "stars", {"a.py": "quasar = 1\n", "b.bin": b"\0\1"})
    workspace.add(str(other))
    workspace.wait(60)
    report = workspace.report
    assert names_in(workspace) == ["limits", "stars"]
    assert report is not None and report.problem is None
    assert [(r.name, r.files, r.skipped) for r in report.records] == [("stars", 1, 1)]
    assert report.embedded == 1
    workspace.update("stars")
    workspace.wait(60)
    assert workspace.report is not None and not workspace.report.records
    commit_files(other, {"c.py": "pulsar = 2\n"})
    workspace.update()
    workspace.wait(60)
    assert workspace.report is not None
    assert [(r.name, r.files) for r in workspace.report.records] == [("stars", 2)]
    workspace.remove("limits")
    workspace.wait(60)
    assert names_in(workspace) == ["stars"]


def test_jobs_wait_for_one_another_and_none_is_done_twice(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        make_repository(tmp_path / name, {f"{name}.py": f"{name} = 1\n"})
    held, go_on = threading.Event(), threading.Event()
    encoder = FakeEncoder()

    class Held(FakeEncoder):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            held.set()
            assert go_on.wait(60)
            return encoder.embed(texts)

    monkeypatch.setattr(workspace, "_embedder", Held())
    for name in ("one", "two", "two"):
        workspace.add(str(tmp_path / name))
    assert held.wait(60)
    assert [job.what.rpartition("/")[2] for job in workspace.jobs] == ["one", "two"]
    assert workspace.status.building
    go_on.set()
    workspace.wait(60)
    assert workspace.jobs == ()
    assert names_in(workspace) == ["limits", "one", "two"]


def test_only_so_many_jobs_wait(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tmp_path / "one", {"one.py": "one = 1\n"})
    held, go_on = threading.Event(), threading.Event()

    class Held(FakeEncoder):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            held.set()
            assert go_on.wait(60)
            raise SourceError("no more of this")

    monkeypatch.setattr(workspace, "_embedder", Held())
    workspace.add(str(tmp_path / "one"))
    assert held.wait(60)
    for number in range(MAX_JOBS - 1):
        workspace.add(str(tmp_path / f"missing-{number}"))
    with pytest.raises(BusyError, match="wait already: ask again in 30 s"):
        workspace.add(str(tmp_path / "missing"))
    with pytest.raises(BusyError):
        workspace.update("limits")
    workspace.add(str(tmp_path / "missing-3"))  # waits already
    assert len(workspace.jobs) == MAX_JOBS
    go_on.set()
    workspace.wait(60)
    assert workspace.jobs == ()
    workspace.update("limits")
    workspace.wait(60)


def test_a_cancelled_job_leaves_the_index_as_it_was(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{n}.py": f"value_{n} = {n}\n" for n in range(20)}
    make_repository(tmp_path / "stars", files)

    class Cancels(FakeEncoder):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            workspace.cancel()
            return super().embed(texts)

    monkeypatch.setattr(workspace, "_embedder", Cancels())
    workspace.add(str(tmp_path / "stars"))
    workspace.wait(60)
    assert names_in(workspace) == ["limits"]
    assert workspace.report is not None
    assert "was cancelled; the index is as it was" in str(workspace.report.problem)
    assert workspace.status.error is None
    monkeypatch.setattr(workspace, "_embedder", FakeEncoder())
    workspace.add(str(tmp_path / "stars"))
    workspace.wait(60)
    assert names_in(workspace) == ["limits", "stars"]


def test_what_cannot_be_done_is_said_before_it_is_begun(
    workspace: Workspace, tiny_repo: Path
) -> None:
    with pytest.raises(SourceError, match="the index holds no repository 'moon'"):
        workspace.remove("moon")
    with pytest.raises(SourceError, match="add another one first"):
        workspace.remove("limits")
    with pytest.raises(SourceError, match="the index holds no repository 'moon'"):
        workspace.update("moon")
    for local in (str(tiny_repo), f"file://{tiny_repo}", "~"):
        with pytest.raises(SourceError, match="folders of the server cannot be added"):
            workspace.add(local, remote_only=True)
    with pytest.raises(SourceError, match="not a repository"):
        workspace.add("--upload-pack=touch")
    assert workspace.report is None


@pytest.mark.usefixtures("private_allowed")
def test_credentials_of_an_address_are_told_to_nobody(workspace: Workspace) -> None:
    workspace.add("https://ada:s3cret@127.0.0.1:9/ada/stars.git@main")
    workspace.wait(60)
    report = workspace.report
    assert report is not None and report.problem is not None
    assert report.job.what == "Adding https://127.0.0.1:9/ada/stars.git@main"
    assert "s3cret" not in report.problem
