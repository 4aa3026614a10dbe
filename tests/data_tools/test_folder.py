"""Reading a plain folder."""

import os
from pathlib import Path

import pytest

from data_tools.folder import Folder
from data_tools.limits import MAX_DEPTH
from data_tools.sources import WORKTREE, Repository, SkippedFile, SourceFile, open_source
from tests.git_repositories import Content, write_files
from tests.permissions import not_as_root


def read(folder: Path | str) -> tuple[list[str], dict[str, str]]:
    """The paths that are kept, and those that are skipped with the reason."""
    files = list(Folder(Repository("code", str(folder), None, WORKTREE)).files())
    kept = [file.path for file in files if isinstance(file, SourceFile)]
    return kept, {file.path: file.reason for file in files if isinstance(file, SkippedFile)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder beside the test's caches."""
    (tmp_path / "code").mkdir()
    return tmp_path / "code"


def test_a_plain_folder_is_read_as_it_is_now_in_the_order_of_paths(folder: Path) -> None:
    write_files(folder, {"b.py": "b\n", "a/z.py": "z\n", "a.py": "a\n", "a-b.md": "# Ab\n"})
    snapshot = open_source(str(folder))
    assert isinstance(snapshot, Folder)
    assert snapshot.repository == Repository("code", str(folder), None, "worktree")
    assert snapshot.notice is None
    paths = [file.path for file in snapshot.files()]
    assert paths == ["a-b.md", "a.py", "a/z.py", "b.py"] == sorted(paths)


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({".gitignore": "*.md\n"}, ["a.py", "docs/b.py", "docs/deep/d.py"]),
        ({".gitignore": "docs/\n"}, ["a.py", "c.md"]),
        ({".gitignore": "/docs/deep\n*.md\n!c.md\n"}, ["a.py", "c.md", "docs/b.py"]),
        (
            {".gitignore": "*.py\n", "docs/.gitignore": "!b.py\n"},
            ["c.md", "docs/b.py", "docs/e.md"],
        ),
        ({"docs/.gitignore": "*\n"}, ["a.py", "c.md"]),
        ({".codeqaignore": "**/deep/**\n*.md\n"}, ["a.py", "docs/b.py"]),
        (
            {".gitignore": "*.md\n", ".codeqaignore": "!c.md\n"},
            ["a.py", "c.md", "docs/b.py", "docs/deep/d.py"],
        ),
        ({".gitignore": "!\n\\\n\ufeff*.md\n"}, ["a.py", "docs/b.py", "docs/deep/d.py"]),
        ({".gitignore": b"\xff\xfe\n*.md\n"}, ["a.py", "docs/b.py", "docs/deep/d.py"]),
        (
            {"docs/.codeqaignore": "*\n"},
            ["a.py", "c.md", "docs/b.py", "docs/deep/d.py", "docs/e.md"],
        ),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, dict) else "",
)
def test_ignore_files_are_honoured_as_git_does(
    folder: Path, rules: dict[str, Content], kept: list[str]
) -> None:
    names = ("a.py", "c.md", "docs/b.py", "docs/deep/d.py", "docs/e.md")
    write_files(folder, dict.fromkeys(names, "x = 1\n") | rules)
    paths, skipped = read(folder)
    assert paths == kept
    ignored = {path for path, reason in skipped.items() if reason.startswith("ignored by")}
    gone = {name for name in names if name not in kept}
    assert all(any(name.startswith(path) for path in ignored) for name in gone)


def test_nothing_outside_is_read_through_links(folder: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "outside", {"secret.py": "password = 1\n"})
    (folder / "file.py").symlink_to(tmp_path / "outside" / "secret.py")
    (folder / "folder").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    (folder / ".gitignore").symlink_to(tmp_path / "outside" / "secret.py")
    (folder / "a.py").write_text("x = 1\n")
    kept, skipped = read(folder)
    assert kept == ["a.py"]
    assert set(skipped) == {"file.py", "folder", "loop", ".gitignore"}
    assert set(skipped.values()) == {"symbolic link"}


def test_special_files_are_listed_and_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    os.mkfifo(folder / ".gitignore")
    (folder / "a.py").write_text("x = 1\n")
    kept, skipped = read(folder)
    assert kept == ["a.py"]
    assert skipped["pipe.py"] == "not a regular file"


def test_what_is_closed_to_us_is_listed() -> None:
    with not_as_root() as folder:
        write_files(folder, {"a.py": "x\n", "closed.py": "x\n", "shut/b.py": "x\n"})
        write_files(folder, {"c/d.py": "x\n", "c/.gitignore": "*\n"})
        for name in ("closed.py", "shut", "c/.gitignore"):
            (folder / name).chmod(0)
        kept, skipped = read(folder)
        (folder / "shut").chmod(0o700)
    assert kept == ["a.py", "c/d.py"]
    assert skipped["closed.py"] == skipped["shut/"] == "cannot be read (Permission denied)"


def test_names_that_are_no_printable_text_are_listed_in_ascii(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.py")).write_text("x\n")
    (folder / "a\nb.py").write_text("x\n")
    (folder / "ü.py").write_text("x\n")
    kept, skipped = read(folder)
    assert kept == ["ü.py"]
    assert set(skipped) == {"caf\\udce9.py", "a\\nb.py"}


def test_folders_nested_too_deep_are_left_out(folder: Path) -> None:
    deep = folder.joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    (deep / "a.py").write_text("x\n")
    (deep.parent / "b.py").write_text("x\n")
    kept, skipped = read(folder)
    assert kept == ["d/" * MAX_DEPTH + "b.py"]
    assert skipped == {"d/" * (MAX_DEPTH + 1): f"nested more than {MAX_DEPTH} folders deep"}


def test_vendored_folders_are_listed_but_not_entered(folder: Path) -> None:
    write_files(folder, {"node_modules/x/i.js": "x\n", ".git/config": "x\n", "a.py": "x\n"})
    write_files(folder, {".gitignore": "node_modules\n"})
    kept, skipped = read(folder)
    assert kept == ["a.py"]
    assert skipped["node_modules/"] == "vendored (node_modules/)"
    assert skipped[".git/"] == "vendored (.git/)"


def test_the_folder_inside_a_repository_is_a_plain_folder(folder: Path) -> None:
    write_files(folder, {"sub/a.py": "x\n"})
    (folder / ".git").mkdir()
    assert open_source(str(folder / "sub")).repository.commit == WORKTREE
