"""Whoever reads while an index is switched, sees one generation wholly, and no error."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.answer import EvidenceFound, Step, answer
from app.workspace import Workspace
from retrieval.index import CodeIndex, index_repositories
from retrieval.search import Hit
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files, head_of, make_repository
from tests.torture.conftest import Cases, Tally
from tests.torture.faults import ROOT
from tests.torture.switch_steps import edition_files, read_editions, read_until, renewed, reopened

PARTS = "How are tokens taken by take_1? And how does take_7 take tokens out of the bucket?"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "editions", edition_files(0))


@contextmanager
def reading(folder: Path, way: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that reads the index until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.torture.switch_steps", str(folder), way],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_processes_and_threads_that_read_during_switches_see_no_mix(
    repository: Path, tmp_path: Path, cases: Cases, tally: Tally
) -> None:
    folder, model, stop = tmp_path / "index", FakeEncoder(), threading.Event()
    index_repositories([str(repository)], folder, embedder=model)
    commits = {head_of(repository): "0"}
    with (
        closing(CodeIndex.open(folder, embedder=model)) as first,
        ThreadPoolExecutor(2) as threads,
        reading(folder, "reopened") as one,
        reading(folder, "renewed") as other,
    ):
        readers = [threads.submit(read_until, stop, way(folder)) for way in (reopened, renewed)]
        try:
            for edition in range(1, cases(4, 80) + 1):
                commits[commit_files(repository, edition_files(edition))] = str(edition)
                index_repositories((), folder, embedder=model)
        finally:
            stop.set()
        seen: Counter[tuple[str, str]] = sum((each.result() for each in readers), Counter())
        for process in (one, other):
            output, _ = process.communicate()
            assert process.returncode == 0
            for commit, editions, count in json.loads(output):
                seen[commit, editions] += count
        # Its files were removed many switches ago; it goes on with what it has open.
        assert read_editions(first) == (next(iter(commits)), {"0"})
    assert all(commits[commit] == editions for commit, editions in seen)
    generations = len({commit for commit, _ in seen})
    assert generations > 2
    tally("readers during a switch", reads=seen.total(), generations=generations, mixed=0)


def test_answers_during_switches_are_of_one_generation(
    repository: Path, tmp_path: Path, cases: Cases, tally: Tally
) -> None:
    other = make_repository(tmp_path / "other", {"other.py": "take_1 = 'tokens'\n"})
    folder, stop = tmp_path / "index", threading.Event()
    index_repositories([str(repository), str(other)], folder, embedder=FakeEncoder())
    workspace = Workspace(folder, embedder=FakeEncoder())

    def ask() -> int:
        answers = 0
        while not stop.is_set():
            index = workspace.index()
            assert index
            hits: list[Hit] = []
            for event in answer(index, PARTS, strategy="sub-questions"):
                if isinstance(event, EvidenceFound | Step):
                    hits += event.hits
            assert len({hit.chunk.commit for hit in hits if hit.chunk.repo == "editions"}) == 1
            read_editions(index)
            answers += 1
        return answers

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        try:
            for edition in range(1, cases(2, 40) + 1):
                commit_files(repository, edition_files(edition))
                workspace.remove("other") if edition % 2 else workspace.add(str(other))
                workspace.update()
                workspace.wait()
                assert workspace.report and workspace.report.problem is None
        finally:
            stop.set()
        answers = sum(each.result() for each in asking)
    tally("answers during a switch", answers=answers, mixed=0)
