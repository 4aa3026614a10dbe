"""Git repositories made by hand for tests, whatever git configuration the machine has."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

FIRST_COMMIT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MINUTE_S = 60  # between two commits
ROLES = ("AUTHOR", "COMMITTER")

Content = str | bytes


class MakeRepo(Protocol):
    """Makes a repository that holds one commit; type of the fixture `make_repo`."""

    def __call__(self, files: Mapping[str, Content], name: str = "repo") -> Path:
        """Return its folder.

        :param files: path → content.
        """


def run_git(folder: Path, *arguments: str, stdin: bytes = b"", when: int = 0) -> str:
    """Run git and return what it prints.

    :param when: time of a commit, in seconds after the first one's.
    """
    time = f"{int(FIRST_COMMIT.timestamp()) + when} +0000"
    person = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": time}
    environment = {f"GIT_{role}_{key}": value for role in ROLES for key, value in person.items()}
    result = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode().strip()


def write_files(folder: Path, files: Mapping[str, Content]) -> None:
    """Write files below `folder`."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def make_repository(folder: Path, files: Mapping[str, Content]) -> Path:
    """Make a repository that holds one commit."""
    folder.mkdir(parents=True)
    run_git(folder, "init", "--quiet", "--initial-branch=main")
    commit_files(folder, files, "First")
    return folder


def commit_files(folder: Path, files: Mapping[str, Content], message: str = "Next") -> str:
    """Write files and commit them, a minute after the commit before; return the new SHA."""
    write_files(folder, files)
    run_git(folder, "add", "--all", "--force")
    made = len(run_git(folder, "rev-list", "--all").split())
    run_git(folder, "commit", "--quiet", "--message", message, when=made * MINUTE_S)
    return head_of(folder)


def head_of(folder: Path, name: str = "HEAD") -> str:
    """Return the SHA of a branch or tag."""
    return run_git(folder, "rev-parse", name)


def commit_entries(folder: Path, entries: Sequence[tuple[str, str, Content]]) -> str:
    """Commit a tree that `git add` would refuse; return the SHA.

    :param entries: (mode, path, content); for mode 160000 the content is a commit's SHA. A path
        is one name: slashes in it are no folders.
    """
    tree = b""
    for mode, path, content in sorted(entries, key=lambda entry: entry[1].encode()):
        if mode == "160000":
            sha = str(content)
        else:
            data = content.encode() if isinstance(content, str) else content
            sha = run_git(folder, "hash-object", "-w", "--stdin", stdin=data)
        tree += mode.encode() + b" " + path.encode() + b"\0" + bytes.fromhex(sha)
    options = ("hash-object", "-w", "-t", "tree", "--literally", "--stdin")
    commit = run_git(folder, "commit-tree", "-m", "By hand", run_git(folder, *options, stdin=tree))
    run_git(folder, "update-ref", "HEAD", commit)
    return commit
