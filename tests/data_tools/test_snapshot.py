"""A commit read from git's objects: exactly what it holds, and nothing runs.

This file is long because each way a repository can act when read has a test of its own.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.errors import SourceError
from data_tools.limits import MAX_FILES, RepositoryLimits
from data_tools.snapshot import GitSnapshot, open_local
from data_tools.sources import SkippedFile, Snapshot, SourceFile, open_source
from tests.git_repositories import (
    FIRST_COMMIT,
    MakeRepo,
    commit_entries,
    commit_files,
    head_of,
    run_git,
    write_files,
)
from tests.permissions import NOBODY

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def kept(snapshot: Snapshot) -> dict[str, str]:
    """The text of each file that is kept."""
    return {file.path: file.text for file in snapshot.files() if isinstance(file, SourceFile)}


def skipped(snapshot: Snapshot) -> dict[str, str]:
    """The reason for each file that is not."""
    return {file.path: file.reason for file in snapshot.files() if isinstance(file, SkippedFile)}


def test_a_repository_is_pinned_at_its_head(tiny_repo: Path) -> None:
    snapshot = open_source(str(tiny_repo))
    repository = snapshot.repository
    assert (repository.name, repository.location) == ("limits", str(tiny_repo))
    assert (repository.ref, repository.commit) == (None, head_of(tiny_repo))
    assert repository.committed_at == int(FIRST_COMMIT.timestamp())
    assert repository.web_url is None
    files = list(snapshot.files())
    assert [file.path for file in files] == sorted(file.path for file in files)
    assert {file.language for file in files if isinstance(file, SourceFile)} == {
        "markdown",
        "python",
        "typescript",
        "yaml",
    }


def test_what_is_not_committed_is_not_seen_but_told(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "old = 1\n", "b.py": "b = 1\n", ".gitignore": "*.log\n"})
    assert open_source(str(repo)).notice is None
    (repo / "a.py").write_text("new = 1\n")
    snapshot = open_source(str(repo))
    assert kept(snapshot)["a.py"] == "old = 1\n"
    assert snapshot.notice is not None
    assert snapshot.notice.startswith("1 new or changed file is not committed")
    write_files(repo, {"c.py": "c = 1\n", "debug.log": "x\n"})
    run_git(repo, "rm", "--quiet", "b.py")
    snapshot = open_source(str(repo))
    assert set(kept(snapshot)) == {"a.py", "b.py"}
    assert snapshot.notice is not None
    assert snapshot.notice.startswith("3 new or changed files are not committed")


def test_branches_tags_and_commits_are_found(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "v = 1\n"})
    first = head_of(repo)
    run_git(repo, "tag", "light")
    run_git(repo, "tag", "--annotate", "--message", "One", "core@1.0")
    run_git(repo, "switch", "--quiet", "--create", "fix/a-b")
    second = commit_files(repo, {"a.py": "v = 2\n"})
    run_git(repo, "switch", "--quiet", "main")
    for ref, commit in {
        "main": first,
        "light": first,
        "core@1.0": first,
        "fix/a-b": second,
        second: second,
        second[:8]: second,
    }.items():
        repository = open_source(f"{repo}@{ref}").repository
        assert (repository.ref, repository.commit) == (ref, commit)
    assert kept(open_source(f"{repo}@fix/a-b")) == {"a.py": "v = 2\n"}


@pytest.mark.parametrize("ref", ["nowhere", "0" * 40, "abcdef0", "v1.0"])
def test_a_ref_that_is_not_there_is_named(make_repo: MakeRepo, ref: str) -> None:
    repo = make_repo({"a.py": "x\n"})
    with pytest.raises(SourceError, match=f"no branch, tag or commit '{ref}'"):
        open_source(f"{repo}@{ref}")


@pytest.mark.parametrize(
    "ref", ["--upload-pack=x", "-x", "a..b", "a b", "HEAD~1", "HEAD^", "a:b", "main@{1}", "a\\b"]
)
def test_what_is_no_ref_never_reaches_git(make_repo: MakeRepo, ref: str) -> None:
    repo = make_repo({"a.py": "x\n"})
    with pytest.raises(SourceError, match="not a branch, tag or commit"):
        open_local(repo, ref, name="repo")


def test_a_tag_of_a_file_is_no_commit(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "x\n"})
    run_git(repo, "tag", "key", "HEAD:a.py")
    with pytest.raises(SourceError, match="no branch, tag or commit 'key'"):
        open_source(f"{repo}@key")


def test_an_empty_repository_says_what_to_do(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "empty")
    with pytest.raises(SourceError, match="commit something first"):
        open_source(str(tmp_path / "empty"))


def test_bare_repositories_worktrees_and_odd_names_are_read(
    make_repo: MakeRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAY", "elsewhere")
    repo = make_repo({"a.py": "x\n"}, "$PAY roll: ü")
    run_git(repo, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    commit_files(tmp_path / "side", {"b.py": "x\n"})
    run_git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    assert set(kept(open_source(str(repo)))) == {"a.py"}
    assert set(kept(open_source(str(tmp_path / "side")))) == {"a.py", "b.py"}
    bare = open_source(str(tmp_path / "bare.git"))
    assert (bare.repository.name, bare.notice) == ("bare", None)
    assert set(kept(bare)) == {"a.py"}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda repo: (repo / ".git" / "HEAD").unlink(),
        lambda repo: (repo / ".git" / "config").write_text("[core\n"),
        lambda repo: run_git(repo, "config", "extensions.later", "1"),
        lambda repo: shutil.rmtree(repo / ".git" / "objects"),
    ],
    ids=["no HEAD", "broken config", "newer format", "no objects"],
)
def test_a_broken_repository_is_an_error_even_inside_another(
    make_repo: MakeRepo,
    break_it: Callable[[Path], object],
) -> None:
    outer = make_repo({"outer.py": "x\n"})
    run_git(outer, "init", "--quiet", "inner")
    commit_files(outer / "inner", {"inner.py": "x\n"})
    run_git(outer / "inner", "config", "core.repositoryFormatVersion", "1")
    break_it(outer / "inner")
    with pytest.raises(SourceError) as caught:
        list(open_source(str(outer / "inner")).files())
    assert str(outer / "inner") in str(caught.value)


def test_a_missing_or_damaged_object_is_an_error_not_an_empty_file(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "a\n", "b.py": "b = 1\n"})
    sha = head_of(repo, "HEAD:b.py")
    blob = repo / ".git" / "objects" / sha[:2] / sha[2:]
    blob.chmod(0o600)
    for damage in (b"", b"x"):
        blob.write_bytes(damage)
        with pytest.raises(SourceError, match="damaged or a partial clone"):
            list(open_source(str(repo)).files())
    blob.unlink()
    with pytest.raises(SourceError, match="damaged or a partial clone"):
        list(open_source(str(repo)).files())
    tree = head_of(repo, "HEAD^{tree}")
    (repo / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(SourceError, match="damaged or a partial clone"):
        list(open_source(f"{repo}@main").files())


def test_links_submodules_and_pointers_are_listed(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "x\n"})
    commit_entries(
        repo,
        [
            ("120000", "link.py", "/etc/passwd"),
            ("160000", "module", "1" * 40),
            ("100644", "model.md", LFS_POINTER),
            ("100755", "run.sh", "echo hello\n"),
        ],
    )
    snapshot = open_source(str(repo))
    assert kept(snapshot) == {"run.sh": "echo hello\n"}
    assert skipped(snapshot) == {
        "link.py": "symbolic link",
        "module": "submodule",
        "model.md": "Git LFS pointer",
    }


@pytest.mark.parametrize(
    "name", ["../evil.py", "/evil.py", "a/../../evil.py", "a\nb.py", "..", "a//b.py"]
)
def test_a_path_that_git_add_would_refuse_is_listed_and_not_read(
    make_repo: MakeRepo, name: str
) -> None:
    repo = make_repo({"a.py": "x\n"})
    commit_entries(repo, [("100644", name, "x = 1\n"), ("100644", "z.py", "x = 1\n")])
    snapshot = open_source(str(repo))
    assert list(kept(snapshot)) == ["z.py"]
    assert skipped(snapshot) == {name: "its path is unsafe or not printable text"}


def test_a_name_that_is_not_utf_8_is_listed(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "x\n"})
    (Path(os.fsdecode(os.fsencode(repo) + b"/caf\xe9.py"))).write_text("x\n")
    commit_files(repo, {"b.py": "x\n"})
    assert set(kept(open_source(str(repo)))) == {"a.py", "b.py", "caf\\xe9.py"}


def test_the_commit_s_own_ignore_file_is_honoured(make_repo: MakeRepo) -> None:
    repo = make_repo(
        {".codeqaignore": "docs/\n*.md\n", "docs/a.py": "x\n", "b.md": "x\n", "c.py": "x\n"}
    )
    (repo / ".codeqaignore").write_text("*.py\n")
    snapshot = open_source(str(repo))
    assert list(kept(snapshot)) == ["c.py"]
    assert skipped(snapshot)["docs/a.py"] == "ignored by .codeqaignore"


def test_a_replaced_object_is_not_taken_for_the_commit_s(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "true = 1\n"})
    first = head_of(repo)
    second = commit_files(repo, {"a.py": "false = 1\n"})
    run_git(repo, "replace", first, second)
    assert kept(open_source(f"{repo}@{first}")) == {"a.py": "true = 1\n"}


def test_nothing_that_a_repository_names_is_run(make_repo: MakeRepo, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> "{canary}"\ncat\n')
    program.chmod(0o755)
    signed = "tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n"
    signed += "gpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\nSigned\n"
    inner = make_repo({"i.py": "x\n", ".gitattributes": "* filter=inner\n"}, "inner")
    repo = make_repo({"a.py": "x\n", ".gitattributes": "* filter=evil diff=evil text=auto\n"})
    run_git(
        repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub"
    )
    commit_files(repo, {"b.py": "x\n"})
    tree = head_of(repo, "HEAD^{tree}")
    data = signed.format(tree=tree).encode()
    commit = run_git(repo, "hash-object", "-w", "-t", "commit", "--stdin", stdin=data)
    run_git(repo, "update-ref", "HEAD", commit)
    for folder in (repo, repo / "sub"):
        for key in (
            "core.fsmonitor",
            "core.pager",
            "core.editor",
            "core.sshCommand",
            "core.gitProxy",
            "core.alternateRefsCommand",
            "diff.external",
            "diff.evil.command",
            "diff.evil.textconv",
            "filter.evil.clean",
            "filter.evil.smudge",
            "filter.evil.process",
            "gpg.program",
            "gpg.openpgp.program",
            "credential.helper",
            "remote.origin.uploadpack",
            "uploadpack.packObjectsHook",
            "alias.rev-parse",
        ):
            run_git(folder, "config", key, str(program))
        for key, value in {
            "log.showSignature": "true",
            "core.hooksPath": str(tmp_path / "hooks"),
            "remote.origin.url": f"file://{inner}",
            "remote.origin.promisor": "true",
            "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
            "extensions.partialClone": "origin",
            "core.repositoryFormatVersion": "1",
        }.items():
            run_git(folder, "config", key, value)
    run_git(repo / "sub", "config", "filter.inner.clean", str(program))
    for hook in ("post-index-change", "reference-transaction", "post-checkout", "fsmonitor"):
        write_files(tmp_path / "hooks", {hook: program.read_text()})
        (tmp_path / "hooks" / hook).chmod(0o755)
    write_files(repo, {"a.py": "changed\n", "sub/i.py": "y\n"})
    blob = head_of(repo, "HEAD:b.py")
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()  # a promise that git would keep
    canary.unlink(missing_ok=True)
    with pytest.raises(SourceError, match="damaged or a partial clone"):
        list(open_source(str(repo)).files())
    assert not canary.exists(), canary.read_text()
    write_files(repo, {"b.py": "x\n"})
    run_git(
        repo,
        "-c",
        "core.fsmonitor=false",
        "-c",
        f"core.hooksPath={os.devnull}",
        "hash-object",
        "-w",
        "--no-filters",
        "b.py",
    )
    assert {"a.py", "b.py"} <= set(kept(open_source(str(repo))))
    assert not canary.exists(), canary.read_text()


def test_a_tree_that_lists_without_end_is_given_up(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "x\n"})
    sha, kind = head_of(repo, "HEAD:a.py"), "100644 blob"
    for _ in range(9):  # 10 ** 9 files
        lines = "".join(f"{kind} {sha}\t{name}.py\n" for name in range(10))
        sha, kind = run_git(repo, "mktree", stdin=lines.encode()), "040000 tree"
    commit = run_git(repo, "commit-tree", "-m", "Bomb", sha)
    snapshot = open_local(repo, commit, name="bomb")
    assert snapshot.limits.files == MAX_FILES
    with pytest.raises(SourceError, match="more than 1,000 files"):
        list(replace(snapshot, limits=RepositoryLimits(files=1_000)).files())


def test_reading_inside_a_git_hook_reads_what_was_asked_for(
    make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = make_repo({"ours.py": "x\n"}), make_repo({"other.py": "x\n"}, "other")
    for name, value in {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
        "GIT_OBJECT_DIRECTORY": str(other / ".git" / "objects"),
    }.items():
        monkeypatch.setenv(name, value)
    snapshot = open_source(str(ours))
    assert list(kept(snapshot)) == ["ours.py"]
    assert snapshot.notice is None


def test_settings_that_the_user_passes_in_the_environment_still_hold(
    make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo({"a.py": "x\n"})
    (repo / "local.py").write_text("x\n")
    (repo / "excluded").write_text("local.py\nexcluded\n")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(repo / "excluded"))
    assert open_source(str(repo)).notice is None


def test_a_work_tree_that_is_elsewhere_does_not_stop_the_commit_from_being_read(
    make_repo: MakeRepo, tmp_path: Path
) -> None:
    repo = make_repo({"a.py": "x\n"})
    run_git(repo, "config", "core.worktree", str(tmp_path / "gone"))
    assert list(kept(open_source(str(repo)))) == ["a.py"]


def test_a_repository_of_another_user_says_how_to_trust_it(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "x\n"})
    if os.geteuid() != 0:
        pytest.skip("only root may give a repository to another user")
    for path in (repo, repo / ".git"):
        os.chown(path, NOBODY, NOBODY)
    with pytest.raises(SourceError, match=f"git config --global --add safe.directory {repo}"):
        open_source(str(repo))


def test_sha_256_repositories_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    run_git(tmp_path / "new", "init", "--quiet", "--object-format=sha256")
    commit_files(tmp_path / "new", {"a.py": "x\n"})
    with pytest.raises(SourceError, match="SHA-256"):
        open_source(str(tmp_path / "new"))


@pytest.mark.parametrize(
    ("remotes", "page"),
    [
        ({"origin": "git@github.com:acme/limits.git"}, "https://github.com/acme/limits"),
        ({"origin": "https://ada:pw@github.com/acme/limits"}, "https://github.com/acme/limits"),
        ({"a": "/srv/limits", "b": "https://gitlab.com/a/b"}, "https://gitlab.com/a/b"),
        ({"origin": "https://git.example/a/b"}, None),
    ],
)
def test_the_page_is_that_of_a_remote_that_has_the_commit(
    make_repo: MakeRepo, remotes: dict[str, str], page: str | None
) -> None:
    repo = make_repo({"a.py": "x\n"})
    for name, url in remotes.items():
        run_git(repo, "remote", "add", name, url)
    run_git(repo, "config", "remote.half.fetch", "+refs/heads/*:refs/remotes/half/*")
    assert open_source(str(repo)).repository.web_url is None
    for name in remotes:
        run_git(repo, "update-ref", f"refs/remotes/{name}/main", "HEAD")
    assert open_source(str(repo)).repository.web_url == page
    commit_files(repo, {"b.py": "x\n"})
    assert open_source(str(repo)).repository.web_url is None


def test_a_snapshot_outlives_what_is_committed_later(make_repo: MakeRepo) -> None:
    repo = make_repo({"a.py": "v = 1\n"})
    snapshot = open_source(str(repo))
    assert isinstance(snapshot, GitSnapshot)
    commit_files(repo, {"a.py": "v = 2\n"})
    assert kept(snapshot) == {"a.py": "v = 1\n"}
