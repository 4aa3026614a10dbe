"""`codeqa status`: what an index holds, what was skipped and why, how far behind it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from retrieval import CodeIndex, Progress
from retrieval.index import index_repositories
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import Content, MakeRepo, commit_files, head_of


@pytest.fixture
def odd_repo(make_repo: MakeRepo) -> Path:
    """A repository with files that are skipped, each for a reason of its own."""
    skipped: dict[str, Content] = {
        "logo.png": b"\x89PNG",
        "icon.png": b"\x89PNG",
        "big.json": "[" + "1,\n" * 60_000 + "1]",
        "huge.json": "[" + "2,\n" * 70_000 + "2]",
        "node_modules/left-pad/index.js": "module.exports = 1\n",
        "empty.py": "",
    }
    return make_repo({**TINY_FILES, **skipped}, "odd")


def index_at(repos: list[str], folder: Path) -> None:
    index_repositories(repos, folder, embedder=FakeEncoder())


def status_of(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["status", "--index", str(folder), "--json", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    status: dict[str, Any] = json.loads(captured.out)
    return status


def test_json_tells_all_that_is_known(
    odd_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_at([f"{odd_repo}@main"], tmp_path / "index")
    status = status_of(tmp_path / "index", capsys)
    assert list(status) == ["format", "embedder", "chunks", "vectors", "created_at", "repositories"]
    assert status["embedder"] == "fake-encoder"
    assert status["chunks"] == status["vectors"] > 0
    [repository] = status["repositories"]
    assert repository == {
        "name": "odd",
        "location": str(odd_repo),
        "ref": "main",
        "commit": head_of(odd_repo),
        "files": len(TINY_FILES),
        "chunks": status["chunks"],
        "languages": {"python": 3, "markdown": 2, "typescript": 1, "yaml": 1},
        "skipped": {
            "not a known text format (.png)": 2,
            "oversized": 2,
            "vendored (node_modules/)": 1,
            "empty": 1,
        },
        "redacted": {},
        "behind": 0,
    }


def test_text_tells_it_to_a_person(
    odd_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_at([str(odd_repo)], tmp_path / "index")
    assert main(["status", "--index", str(tmp_path / "index")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"odd @ {head_of(odd_repo)[:12]}  {odd_repo}"
    assert lines[1].startswith("  7 files, ")
    assert lines[1].endswith(" chunks: python 3, markdown 2, typescript 1, yaml 1")
    assert lines[2] == "  up to date"
    assert "  skipped 2: oversized" in lines
    assert "  skipped 1: vendored (node_modules/)" in lines
    assert "chunks, with vectors, by fake-encoder, made 20" in lines[-1]


def test_every_skipped_file_is_listed_when_asked_for(
    odd_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_at([str(odd_repo)], tmp_path / "index")
    assert main(["status", "--index", str(tmp_path / "index"), "--skipped", "--offline"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  skipped big.json: oversized (180,003 bytes, limit 100,000)" in lines
    assert "  skipped empty.py: empty" in lines
    assert len([line for line in lines if line.startswith("  skipped ")]) == 6
    [repository] = status_of(tmp_path / "index", capsys, "--skipped")["repositories"]
    assert len(repository["skipped_files"]) == 6


def test_a_remote_that_moved_on_is_counted_in_commits(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_at([tiny_repo.as_uri()], tmp_path / "index")
    [repository] = status_of(tmp_path / "index", capsys)["repositories"]
    assert (repository["behind"], repository["location"]) == (0, tiny_repo.as_uri())
    commit_files(tiny_repo, {"a.py": "a = 1\n"})
    commit_files(tiny_repo, {"a.py": "a = 2\n"})
    [repository] = status_of(tmp_path / "index", capsys)["repositories"]
    assert repository["behind"] == 2
    assert main(["status", "--index", str(tmp_path / "index")]) == 0
    assert "  2 commits behind\n" in capsys.readouterr().out
    [repository] = status_of(tmp_path / "index", capsys, "--offline")["repositories"]
    assert repository["behind"] is None


def test_a_local_repository_that_moved_on_is_counted_too(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_at([str(tiny_repo)], tmp_path / "index")
    commit_files(tiny_repo, {"a.py": "a = 1\n"})
    assert main(["status", "--index", str(tmp_path / "index")]) == 0
    assert "  1 commit behind\n" in capsys.readouterr().out


def test_a_pinned_commit_is_never_behind_and_a_plain_folder_has_no_commits(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = f"{tiny_repo.as_uri()}@{head_of(tiny_repo)}"
    shutil.copytree(tiny_repo, tmp_path / "plain", ignore=shutil.ignore_patterns(".git"))
    index_at([pinned, str(tmp_path / "plain")], tmp_path / "index")
    commit_files(tiny_repo, {"a.py": "a = 1\n"})
    remote, plain = status_of(tmp_path / "index", capsys)["repositories"]
    assert (remote["behind"], plain["behind"], plain["commit"]) == (0, None, "worktree")


def test_a_remote_that_cannot_be_reached_is_no_failure(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_at([tiny_repo.as_uri()], tmp_path / "index")
    shutil.move(tiny_repo, tmp_path / "elsewhere")
    assert main(["status", "--index", str(tmp_path / "index")]) == 0
    assert "  how far behind is not known: file://" in capsys.readouterr().out
    [repository] = status_of(tmp_path / "index", capsys)["repositories"]
    assert "does not exist" in repository["behind"]


def test_an_index_without_vectors_says_so(
    tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "embed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CodeIndex.build([str(tiny_repo)], tmp_path / "i", embedder=FakeEncoder(), report=stop)
    assert main(["status", "--index", str(tmp_path / "i")]) == 0
    assert "words alone, vectors are not made yet" in capsys.readouterr().out
    assert status_of(tmp_path / "i", capsys)["vectors"] == 0


def test_what_was_redacted_is_said_by_kind_and_file_and_never_shown(
    make_repo: MakeRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "gh" + "p_" + "aZ3kP9qL" * 5
    files = {f"client{number}.py": f'TOKEN = "{token}"\n' for number in range(22)}
    index_at([str(make_repo(files))], tmp_path / "index")
    [repository] = status_of(tmp_path / "index", capsys)["repositories"]
    assert repository["redacted"] == {path: {"GitHub token": 1} for path in files}
    assert main(["status", "--index", str(tmp_path / "index")]) == 0
    printed = capsys.readouterr().out
    assert "  22 secrets redacted (GitHub token: 22) in 22 files:\n" in printed
    assert "    client0.py (GitHub token: 1)\n" in printed
    assert "    and 2 files more; see --json\n" in printed
    assert token not in printed
