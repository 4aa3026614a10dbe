"""How far repositories are behind: never waited for, remembered, honest about failures."""

import time
from pathlib import Path

from app.freshness import Freshness
from app.repositories_html import ASKING, Behind
from retrieval.generations import RepositoryRecord
from retrieval.index import CodeIndex
from tests.fakes import FakeEncoder
from tests.git_repositories import commit_files


def record_of(repository: Path, folder: Path) -> RepositoryRecord:
    with CodeIndex.build([str(repository)], folder, embedder=FakeEncoder()) as index:
        return index.manifest.repositories[0]


def settled(freshness: Freshness, record: RepositoryRecord) -> Behind:
    for _ in range(600):
        if (found := freshness.behind(record)) != ASKING and not freshness.asking:
            return found
        time.sleep(0.02)
    raise AssertionError("no answer came")


def test_commits_are_counted_in_the_background_and_remembered(
    tiny_repo: Path, tmp_path: Path
) -> None:
    record = record_of(tiny_repo, tmp_path / "index")
    commit_files(tiny_repo, {"a.py": "a = 1\n"})
    freshness = Freshness()
    assert freshness.behind(record) == ASKING
    assert settled(freshness, record) == 1
    commit_files(tiny_repo, {"b.py": "b = 1\n"})
    assert freshness.behind(record) == 1  # asked a moment ago
    assert settled(Freshness(), record) == 2


def test_a_repository_that_is_gone_is_said_to_be(tiny_repo: Path, tmp_path: Path) -> None:
    record = record_of(tiny_repo, tmp_path / "index")
    tiny_repo.rename(tmp_path / "elsewhere")
    found = settled(Freshness(), record)
    assert isinstance(found, str)
    assert "\n" not in found
