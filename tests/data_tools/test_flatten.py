"""A repository as a folder of text files and a manifest."""

import hashlib
import json
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from data_tools.errors import SourceError, StorageError
from data_tools.flatten import MANIFEST, REPORT_EVERY, flatten
from tests.git_repositories import MakeRepo, commit_entries, commit_files, head_of, write_files
from tests.permissions import not_as_root


def manifest(folder: Path) -> list[dict[str, Any]]:
    """The lines of a manifest."""
    return [json.loads(line) for line in (folder / MANIFEST).read_text("utf-8").splitlines()]


def contents(out: Path) -> dict[str, str]:
    """Every file below `out`, but for the lock."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(out)): path.read_text("utf-8") for path in files}


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_repository_becomes_text_files_and_a_manifest(tiny_repo: Path, tmp_path: Path) -> None:
    (report,) = flatten([str(tiny_repo)], tmp_path / "out")
    folder = tmp_path / "out" / "limits"
    assert report.folder == folder
    lines = manifest(folder)
    assert [line["path"] for line in lines] == [
        "CHANGELOG.md",
        "README.md",
        "config/limits.yaml",
        "limits/bucket.py",
        "limits/middleware.py",
        "tests/test_bucket.py",
        "web/client.ts",
    ]
    source = tiny_repo / "limits" / "bucket.py"
    assert (folder / "limits" / "bucket.py.txt").read_bytes() == source.read_bytes()
    assert lines[3] == {
        "repo": "limits",
        "commit": head_of(tiny_repo),
        "path": "limits/bucket.py",
        "language": "python",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "lines": source.read_text().count("\n"),
        "bytes": source.stat().st_size,
    }
    assert (report.files, report.skipped) == (7, 0)
    assert report.lines == sum(line["lines"] for line in lines)
    assert report.bytes == sum(line["bytes"] for line in lines)
    assert report.notice is None


def test_what_is_skipped_is_listed_with_the_reason(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo({"a.py": "x\n", "logo.png": b"\x89PNG", "b.py": b"\0", "vendor/c.go": "x\n"})
    commit_files(repo, {"crlf.py": "ü = 1\r\n".encode("latin-1")})
    (report,) = flatten([str(repo)], tmp_path / "out")
    assert [line for line in manifest(report.folder) if "reason" in line] == [
        {"path": "b.py", "reason": "binary"},
        {"path": "logo.png", "reason": "not a known text format (.png)"},
        {"path": "vendor/c.go", "reason": "vendored (vendor/)"},
    ]
    assert (report.folder / "crlf.py.txt").read_bytes() == "ü = 1\n".encode()
    assert (report.files, report.skipped, report.bytes) == (2, 3, 9)


def test_no_path_of_a_repository_leads_out_or_onto_the_manifest(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"a.py": "x\n"})
    names = ["../../evil.py", "/evil.py", "..", "a//b.py", "x" * 254 + ".py", "ok.py", "ok.py"]
    commit_entries(repo, [("100644", name, f"{n} = 1\n") for n, name in enumerate(names)])
    (report,) = flatten([str(repo)], tmp_path / "out")
    assert set(contents(tmp_path / "out")) == {"repo/manifest.jsonl", "repo/ok.py.txt"}
    assert not list(tmp_path.rglob("evil*"))
    reasons = {line["path"]: line["reason"] for line in manifest(report.folder) if "reason" in line}
    assert set(reasons) == set(names)
    assert reasons["../../evil.py"] == "its path is unsafe or not printable text"
    assert reasons["x" * 254 + ".py"] == "cannot be written as text (File name too long)"
    assert reasons["ok.py"] == "listed twice or out of order"


def test_a_folder_in_the_place_of_a_text_file_costs_that_file_alone(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo(
        {
            "manifest.jsonl/a.py": "x\n",
            "manifest.jsonl2/a.py": "x\n",
            "README": "x\n",
            "README.txt/b.md": "x\n",
        }
    )
    (report,) = flatten([str(repo)], tmp_path / "out")
    reasons = {line["path"] for line in manifest(report.folder) if "reason" in line}
    assert reasons == {"manifest.jsonl/a.py", "README.txt/b.md"}
    assert (report.folder / "README.txt").read_text() == "x\n"


def test_a_second_run_replaces_the_first_whole(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo({"a.py": "v = 1\n", "b.py": "x\n"})
    flatten([str(repo)], tmp_path / "out")
    (repo / "b.py").unlink()
    commit_files(repo, {"a.py": "v = 2\n"})
    flatten([str(repo)], tmp_path / "out")
    found = contents(tmp_path / "out")
    assert found.pop("repo/manifest.jsonl")
    assert found == {"repo/a.py.txt": "v = 2\n"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"repo", ".lock"}


def test_repositories_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    for owner in "ab":
        write_files(tmp_path / owner / "limits", {"x.py": f"{owner} = 1\n"})
    specs = [str(tmp_path / owner / "limits") for owner in "aba"]
    reports = flatten(specs, tmp_path / "out")
    assert [report.folder.name for report in reports] == ["limits", "b-limits"]
    assert contents(tmp_path / "out")["b-limits/x.py.txt"] == "b = 1\n"


def test_two_versions_of_a_repository_are_both_written(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo({"a.py": "v = 1\n"})
    first = head_of(repo)
    commit_files(repo, {"a.py": "v = 2\n"})
    reports = flatten([f"{repo}@{first}", f"{repo}@main"], tmp_path / "out")
    texts = [(report.folder / "a.py.txt").read_text() for report in reports]
    assert texts == ["v = 1\n", "v = 2\n"]


@pytest.mark.parametrize("kind", ["folder", "file", "link", "empty folder"])
def test_what_is_no_flattened_repository_is_never_replaced(
    make_repo: MakeRepo, tmp_path: Path, kind: str
) -> None:
    repo, out = make_repo({"a.py": "x\n"}), tmp_path / "out"
    out.mkdir()
    if kind == "folder":
        write_files(out / "repo", {"thesis.tex": "years of work\n"})
    elif kind == "file":
        (out / "repo").write_text("years of work\n")
    elif kind == "link":
        write_files(tmp_path / "elsewhere", {MANIFEST: "", "thesis.tex": "years of work\n"})
        (out / "repo").symlink_to(tmp_path / "elsewhere")
    else:
        (out / "repo").mkdir()
    before = contents(out) | contents(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="not a flattened repository, so it is not replaced"):
        flatten([str(repo)], out)
    assert contents(out) | contents(tmp_path / "elsewhere") == before


def test_nothing_is_written_when_one_of_several_cannot_be_opened(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"a.py": "x\n"})
    with pytest.raises(SourceError, match="does not exist"):
        flatten([str(repo), str(tmp_path / "nowhere")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_repository_without_text_is_an_error_and_leaves_what_was_there(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"a.py": "x\n", "logo.png": "x"})
    flatten([str(repo)], tmp_path / "out")
    before = contents(tmp_path / "out")
    (repo / "a.py").unlink()
    commit_files(repo, {"b.png": "x"})
    with pytest.raises(SourceError, match=r"holds no text \(2 files were skipped\)"):
        flatten([str(repo)], tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"repo", ".lock"}


@pytest.mark.parametrize("what", ["text", "manifest"])
def test_a_full_disk_leaves_what_was_there(make_repo: MakeRepo, tmp_path: Path, what: str) -> None:
    repo = make_repo({"a.py": "x\n"})
    flatten([str(repo)], tmp_path / "out")
    before = contents(tmp_path / "out")
    if what == "text":
        commit_files(repo, {"large.py": "x = 1\n" * 20_000})
    else:
        commit_files(repo, {f"{number:03}.py": "x\n" for number in range(400)})
    with (
        files_limited_to(50_000),
        pytest.raises(StorageError, match="the disk is full: .* MB are free"),
    ):
        flatten([str(repo)], tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"repo", ".lock"}


def test_a_folder_that_is_closed_to_us_is_named() -> None:
    with not_as_root() as folder:
        write_files(folder, {"code/a.py": "x\n", "out/keep": ""})
        (folder / "out").chmod(0o500)
        with pytest.raises(StorageError, match=f"cannot write to {folder}/out"):
            flatten([str(folder / "code")], folder / "out")
        with pytest.raises(StorageError, match=f"cannot write to {folder}/out/new"):
            flatten([str(folder / "code")], folder / "out" / "new")
        (folder / "out").chmod(0o700)
    with pytest.raises(StorageError, match="cannot write to /dev/null/out"):
        flatten([os.fspath(Path(__file__).parent)], Path("/dev/null/out"))


def test_a_run_that_was_killed_is_cleaned_up_by_the_next(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo, out = make_repo({"a.py": "v = 2\n"}), tmp_path / "out"
    write_files(out / ".repo.new", {"half.py.txt": "x\n"})
    write_files(out / ".repo.old", {MANIFEST: "", "a.py.txt": "v = 1\n"})
    flatten([str(repo)], out)
    assert {path.name for path in out.iterdir()} == {"repo", ".lock"}
    assert (out / "repo" / "a.py.txt").read_text() == "v = 2\n"


def test_what_was_moved_aside_comes_back_if_the_next_run_fails(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo, out = make_repo({"logo.png": "x"}), tmp_path / "out"
    write_files(out / ".repo.old", {MANIFEST: "", "a.py.txt": "v = 1\n"})
    with pytest.raises(SourceError, match="holds no text"):
        flatten([str(repo)], out)
    assert contents(out) == {f"repo/{MANIFEST}": "", "repo/a.py.txt": "v = 1\n"}


def test_two_runs_cannot_write_at_once_and_readers_see_whole_folders(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo, out = make_repo({f"{n}.py": "x\n" for n in range(REPORT_EVERY + 1)}), tmp_path / "out"
    flatten([str(repo)], out)
    seen: list[int] = []
    refused: list[str] = []

    def look(line: str) -> None:
        assert line == f"repo: {REPORT_EVERY} files written"
        seen.append(len(manifest(out / "repo")))
        try:
            flatten([str(repo)], out)
        except StorageError as error:
            refused.append(str(error))

    thread = threading.Thread(target=flatten, args=([str(repo)], out), kwargs={"report": look})
    thread.start()
    thread.join()
    assert seen == [REPORT_EVERY + 1]
    assert len(refused) == 1
    assert "another process is writing" in refused[0]


def test_uncommitted_changes_are_told(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo({"a.py": "x\n"})
    write_files(repo, {"b.py": "x\n"})
    (report,) = flatten([str(repo)], tmp_path / "out")
    assert report.notice is not None
    assert "1 new or changed file is not committed" in report.notice
