"""Commits and the definitions they changed."""

from pathlib import Path

import pytest

from data_tools.docstrings import Definition, find_definitions
from data_tools.history import MAX_FILES, MAX_TYPE_LINES, clean_subject, find_changes
from data_tools.snapshot import GitSnapshot
from data_tools.sources import SourceFile, open_source
from tests.git_repositories import MakeRepo, commit_files, run_git

BEFORE = (
    "class Box:\n    def open(self):\n        return 1\n\n    def shut(self):\n        return 2\n"
)
AFTER = BEFORE.replace("return 2", "return 3")


def changes(folder: Path, limit: int = 100) -> dict[str, list[str]]:
    snapshot = open_source(str(folder))
    assert isinstance(snapshot, GitSnapshot)
    definitions: dict[str, list[Definition]] = {
        file.path: find_definitions(file)
        for file in snapshot.files()
        if isinstance(file, SourceFile)
    }
    found = find_changes(snapshot, definitions, limit=limit)
    return {each.subject: [definition.symbol for definition in each.definitions] for each in found}


def test_a_subject_leads_to_the_innermost_definition_it_changed(make_repo: MakeRepo) -> None:
    folder = make_repo({"box.py": BEFORE})
    commit_files(folder, {"box.py": AFTER}, "Shut the box with a louder click (#12)")
    assert changes(folder) == {"Shut the box with a louder click": ["Box.shut"]}


def test_lines_moved_since_do_not_mislead(make_repo: MakeRepo) -> None:
    folder = make_repo({"box.py": BEFORE})
    commit_files(folder, {"box.py": AFTER}, "Shut the box with a louder click")
    commit_files(folder, {"box.py": "import os\n" * 9 + AFTER}, "Another")
    assert changes(folder) == {"Shut the box with a louder click": ["Box.shut"]}


def test_what_is_gone_from_the_snapshot_is_not_found(make_repo: MakeRepo) -> None:
    folder = make_repo({"box.py": BEFORE})
    commit_files(folder, {"box.py": AFTER}, "Shut the box with a louder click")
    commit_files(
        folder, {"box.py": AFTER.replace("shut", "close")}, "Rename shut to close, at last"
    )
    assert "Shut the box with a louder click" not in changes(folder)


def test_removed_lines_count_for_the_function_they_stood_in(make_repo: MakeRepo) -> None:
    folder = make_repo(
        {"box.py": BEFORE.replace("return 1", "a = 1\n        b = 2\n        return 1")}
    )
    commit_files(folder, {"box.py": BEFORE}, "Open without counting the lids")
    assert changes(folder) == {"Open without counting the lids": ["Box.open"]}


def test_a_small_class_changed_outside_its_methods_counts_itself(make_repo: MakeRepo) -> None:
    large = "class Crate:\n" + "    a = 1\n" * MAX_TYPE_LINES
    folder = make_repo({"box.py": BEFORE, "crate.py": large})
    changed = {
        "box.py": BEFORE.replace("class Box:", "class Box(Lid):"),
        "crate.py": large + "    b = 2\n",
    }
    commit_files(folder, changed, "Give boxes and crates a lid")
    assert changes(folder) == {"Give boxes and crates a lid": ["Box"]}


def test_commits_that_touch_many_files_and_merges_are_left_out(make_repo: MakeRepo) -> None:
    folder = make_repo({"box.py": BEFORE})
    many = {f"lid{number}.py": "a = 1\n" for number in range(MAX_FILES)}
    commit_files(folder, {"box.py": AFTER} | many, "Shut all boxes and their lids")
    run_git(folder, "checkout", "--quiet", "-b", "side", "HEAD~1")
    commit_files(folder, {"other.py": "def lid():\n    return 1\n"}, "Give the box another lid")
    run_git(folder, "checkout", "--quiet", "main")
    run_git(folder, "merge", "--quiet", "--no-ff", "-m", "Shut the lid of this box", "side")
    assert changes(folder) == {"Give the box another lid": ["lid"]}


def test_a_shallow_clone_gives_what_it_has(make_repo: MakeRepo, tmp_path: Path) -> None:
    folder = make_repo({"box.py": BEFORE})
    commit_files(folder, {"box.py": AFTER}, "Shut the box with a louder click")
    commit_files(
        folder, {"box.py": AFTER.replace("return 1", "return 4")}, "Open the box by a crack"
    )
    run_git(tmp_path, "clone", "--quiet", "--depth=2", f"file://{folder}", "shallow")
    assert changes(tmp_path / "shallow") == {"Open the box by a crack": ["Box.open"]}
    assert changes(folder, limit=1) == {"Open the box by a crack": ["Box.open"]}


@pytest.mark.parametrize(
    ("subject", "cleaned"),
    [
        ("Shut the box twice (#12)", "Shut the box twice"),
        ("fix(lid): shut the box twice, fixes #3", "shut the box twice"),
        ("[lid] Shut the `box` twice.", "Shut the box twice"),
        ("Merge branch 'main' of the box", None),
        ("Bump lid from 1.0 to 2.0", None),
        ("Release 1.2 of the box", None),
        ("Shut the box", None),
        ("Apply the lid before the box is shut", "Apply the lid before the box is shut"),
        ("Shut the box " * 99, None),
        ("Put an <em> around the box", None),
        ("Shut the box twice \udcff again", None),
        ("Fix lint in all of the boxes", None),
        ("Shut the box with a louder click and…", None),
    ],
)
def test_subjects_are_cleaned_and_housekeeping_is_refused(
    subject: str, cleaned: str | None
) -> None:
    assert clean_subject(subject) == cleaned


def test_a_subject_used_twice_is_left_out(make_repo: MakeRepo) -> None:
    folder = make_repo({"box.py": BEFORE})
    commit_files(folder, {"box.py": AFTER}, "Shut the box again, but better")
    commit_files(folder, {"box.py": BEFORE}, "Shut the box again, but better")
    assert changes(folder) == {}


def test_no_program_that_the_repository_names_is_run(make_repo: MakeRepo, tmp_path: Path) -> None:
    folder = make_repo({"box.py": BEFORE, ".gitattributes": "*.py diff=evil\n"})
    commit_files(folder, {"box.py": AFTER}, "Shut the box with a louder click")
    mark = tmp_path / "ran"
    for key in ("diff.evil.textconv", "diff.evil.command", "diff.external", "gpg.program"):
        run_git(folder, "config", key, f"sh -c 'touch {mark}'")
    run_git(folder, "config", "log.showSignature", "true")
    assert changes(folder) == {"Shut the box with a louder click": ["Box.shut"]}
    assert not mark.exists()
