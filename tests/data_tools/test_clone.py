"""Cloning from servers: what is fetched, what is kept, who is told a password.

This file is long because every test needs the same servers, and each fault has its own test.
"""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_tools.clone import cache_folder, count_commits_behind
from data_tools.errors import CodeQAError, SourceError, StorageError
from data_tools.sources import Repository, SourceFile, open_source
from data_tools.storage import storage_errors
from tests.data_tools.git_server import GitServer, serve_git
from tests.git_repositories import (
    FIRST_COMMIT,
    MINUTE_S,
    MakeRepo,
    commit_files,
    head_of,
    make_repository,
    run_git,
    write_files,
)

pytestmark = pytest.mark.usefixtures("private_allowed")

SECRET = "s3cr3t-t0ken-0123456789"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository of three commits, a branch and two tags, to be served."""
    repo = make_repository(tmp_path / "served" / "limits.git", {"a.py": "v = 1\n"})
    run_git(repo, "tag", "--annotate", "--message", "One", "v1")
    commit_files(repo, {"a.py": "v = 2\n"})
    run_git(repo, "tag", "light")
    commit_files(repo, {"a.py": "v = 3\n", "b.py": "b = 1\n"})
    run_git(repo, "branch", "fix/a-b", "HEAD~1")
    return repo


@pytest.fixture
def server(origin: Path) -> Iterator[GitServer]:
    """A server of `origin`."""
    with serve_git(origin.parent) as running:
        yield running


def texts(spec: str) -> dict[str, str]:
    """The text of each file of a repository."""
    files = open_source(spec).files()
    return {file.path: file.text for file in files if isinstance(file, SourceFile)}


def clones() -> list[Path]:
    """The clones in the cache."""
    return sorted((cache_folder() / "repositories").glob("*.git"))


def all_bytes(folder: Path) -> bytes:
    """Names and content of everything below a folder."""
    return b"".join(
        os.fsencode(path) + (path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    )


def test_a_clone_over_http_is_shallow_bare_and_pinned(server: GitServer, origin: Path) -> None:
    snapshot = open_source(server.url("limits.git"))
    repository = snapshot.repository
    assert repository == Repository(
        "limits",
        server.url("limits.git"),
        None,
        head_of(origin),
        int(FIRST_COMMIT.timestamp()) + 2 * MINUTE_S,
    )
    assert snapshot.notice is None
    assert texts(server.url("limits.git")) == {"a.py": "v = 3\n", "b.py": "b = 1\n"}
    (clone,) = clones()
    assert run_git(clone, "rev-list", "--count", repository.commit) == "1"
    assert run_git(clone, "rev-parse", "--is-bare-repository") == "true"
    assert not list(clone.glob("hooks/*"))


def test_progress_is_reported_while_cloning(server: GitServer, origin: Path) -> None:
    commit_files(origin, {f"{number}.py": f"x = {number}\n" for number in range(150)})
    lines: list[str] = []
    open_source(server.url("limits.git"), report=lines.append)
    assert lines[-1] == "cloning: 100% of 154 objects"
    open_source(
        server.url("limits.git") + "@" + head_of(origin, "v1^{commit}")[:9], report=lines.append
    )
    assert "fetching the whole history" in "".join(lines)


@pytest.mark.parametrize(
    ("ref", "text"),
    [("main", "v = 3\n"), ("fix/a-b", "v = 2\n"), ("v1", "v = 1\n"), ("light", "v = 2\n")],
)
@pytest.mark.parametrize("over", ["http", "file"])
def test_branches_and_tags_are_cloned(
    server: GitServer, origin: Path, over: str, ref: str, text: str
) -> None:
    url = server.url("limits.git") if over == "http" else f"file://{origin}"
    assert texts(f"{url}@{ref}")["a.py"] == text
    commit = head_of(origin, f"{ref}^{{commit}}")
    assert open_source(f"{url}@{ref}").repository.commit == commit


@pytest.mark.parametrize("length", [40, 12, 7])
@pytest.mark.parametrize("over", ["http", "file"])
def test_commits_are_cloned_by_their_full_or_short_names(
    server: GitServer, origin: Path, over: str, length: int
) -> None:
    url = server.url("limits.git") if over == "http" else f"file://{origin}"
    texts(url)  # a shallow clone that lacks the commit is there already
    commit = head_of(origin, "main~1")
    assert open_source(f"{url}@{commit[:length]}").repository.commit == commit
    assert texts(f"{url}@{commit[:length]}") == {"a.py": "v = 2\n"}


def test_a_commit_that_was_fetched_once_needs_no_network_again(
    server: GitServer, origin: Path
) -> None:
    commit = head_of(origin, "main~1")
    for name in (commit, commit[:9]):
        first = open_source(f"{server.url('limits.git')}@{name}")
        server.behaviour = 500
        again = open_source(f"{server.url('limits.git')}@{name}")
        assert again == first
        assert [file.path for file in again.files()] == ["a.py"]
        server.behaviour = "git"


@pytest.mark.parametrize("ref", ["nowhere", "0" * 40, "abcdef0"])
@pytest.mark.parametrize("over", ["http", "file"])
def test_a_ref_that_is_not_there_is_named(
    server: GitServer, origin: Path, over: str, ref: str
) -> None:
    url = server.url("limits.git") if over == "http" else f"file://{origin}"
    with pytest.raises(SourceError, match=f"has no branch, tag or commit '{ref}'"):
        open_source(f"{url}@{ref}")


def test_a_tag_of_a_file_is_refused_by_name(server: GitServer, origin: Path) -> None:
    run_git(origin, "tag", "key", "HEAD:a.py")
    with pytest.raises(SourceError, match="'key' of .* is a tag, but not of a commit"):
        open_source(f"{server.url('limits.git')}@key")


def test_an_empty_repository_says_what_to_do(server: GitServer, origin: Path) -> None:
    run_git(origin.parent, "init", "--quiet", "--bare", "empty.git")
    with pytest.raises(SourceError, match="no commits on its default branch; push one"):
        open_source(server.url("empty.git"))


def test_a_clone_follows_its_branch_even_when_it_is_rewritten(
    server: GitServer, origin: Path
) -> None:
    url = server.url("limits.git")
    assert texts(url)["a.py"] == "v = 3\n"
    run_git(origin, "reset", "--quiet", "--hard", "HEAD~2")
    commit_files(origin, {"a.py": "v = 4\n"})
    assert texts(url) == {"a.py": "v = 4\n"}
    assert len(clones()) == 1


def test_a_server_of_static_files_will_do(server: GitServer, origin: Path) -> None:
    run_git(origin, "update-server-info")
    server.behaviour = "static"
    assert texts(server.url("limits.git/.git"))["b.py"] == "b = 1\n"


@pytest.mark.parametrize("given", ["environment", "url", "token as user", "user and environment"])
def test_credentials_reach_the_server_and_are_written_nowhere(
    server: GitServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    user = "ada" if given in ("url", "user and environment") else "x-access-token"
    server.login = f"{user}:{SECRET}"
    store = tmp_path / "credentials"
    write_files(tmp_path, {"gitconfig": f"[credential]\n\thelper = store --file={store}\n"})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    login = {"url": server.login, "token as user": SECRET, "user and environment": "ada"}
    if "environment" in given:
        monkeypatch.setenv("GIT_TOKEN", SECRET)
    url = server.url("limits.git", login.get(given, ""))
    lines: list[str] = []
    snapshot = open_source(url, report=lines.append)
    assert [file.path for file in snapshot.files()] == ["a.py", "b.py"]
    assert server.login in server.logins
    assert snapshot.repository.location == server.url("limits.git")
    with pytest.raises(SourceError) as caught:
        open_source(f"{url}@nowhere")
    server.login = "other:login"
    with pytest.raises(SourceError, match="needs credentials") as refused:
        open_source(url)
    said = f"{snapshot} {lines} {caught.value} {refused.value} {caught.value.__cause__}"
    assert SECRET not in said
    assert SECRET.encode() not in all_bytes(cache_folder())
    assert not store.exists()
    assert SECRET not in str(os.environ.keys() - {"GIT_TOKEN"})


def test_a_token_is_told_only_to_a_server_that_asks(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TOKEN", SECRET)
    open_source(server.url("limits.git"))
    assert set(server.logins) == {""}


def test_a_token_is_not_told_to_the_host_of_a_redirect(
    server: GitServer, origin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TOKEN", SECRET)
    with serve_git(origin.parent, login="x-access-token:other") as thief:
        server.behaviour = thief.url("").rstrip("/")
        with pytest.raises(SourceError, match="needs credentials"):
            open_source(server.url("limits.git"))
        assert thief.logins
        assert SECRET not in str(thief.logins)


def test_the_user_s_own_credential_helper_is_asked(
    server: GitServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.login = f"ada:{SECRET}"
    write_files(tmp_path, {"credentials": server.url("", server.login) + "\n"})
    config = f"[credential]\n\thelper = store --file={tmp_path / 'credentials'}\n"
    write_files(tmp_path, {"gitconfig": config})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert "a.py" in texts(server.url("limits.git"))
    assert "a.py" in texts(server.url("limits.git", "ada"))
    with pytest.raises(SourceError, match="needs credentials"):
        open_source(server.url("limits.git", "bob"))


def test_a_password_cannot_be_made_out_to_another_host(server: GitServer) -> None:
    with pytest.raises(SourceError, match="characters that none can have") as caught:
        open_source(server.url("limits.git", f"ada:{SECRET}%0ahost=example.org"))
    assert SECRET not in str(caught.value)
    assert not server.logins


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (401, "does not exist or needs credentials"),
        (403, "does not exist or needs credentials"),
        (404, "does not exist or is not a git repository"),
        (500, "cannot fetch .* error: 500"),
        (200, "does not exist or is not a git repository"),
    ],
)
def test_a_server_that_refuses_is_explained_in_one_line(
    server: GitServer, behaviour: int, message: str
) -> None:
    server.behaviour = behaviour
    with pytest.raises(SourceError, match=message) as caught:
        open_source(server.url("limits.git"))
    assert str(caught.value).isprintable()
    assert server.url("limits.git") in str(caught.value)


def test_a_server_that_hangs_is_given_up(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_HTTP_LOW_SPEED_TIME", "1")  # outranks ours of 30 seconds
    server.behaviour = "hang"
    with pytest.raises(SourceError, match="does not answer"):
        open_source(server.url("limits.git"))


def test_a_port_that_no_one_listens_on_is_explained() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(SourceError, match="does not answer"):
            open_source(f"http://127.0.0.1:{port}/limits")


def test_a_host_that_does_not_exist_is_explained() -> None:
    with pytest.raises(SourceError, match="check its spelling and the network"):
        open_source("https://no-such-host.invalid/limits")


def test_a_path_without_a_repository_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist or is not a git repository"):
        open_source(f"file://{tmp_path}/nowhere")


def test_two_locations_of_one_name_have_clones_of_their_own(tmp_path: Path) -> None:
    for owner in ("a", "b"):
        repo = make_repository(tmp_path / owner / "limits", {"owner.py": f"{owner} = 1\n"})
        assert texts(f"file://{repo}") == {"owner.py": f"{owner} = 1\n"}
    assert len(clones()) == 2


def test_a_fetch_that_was_killed_does_not_stop_the_next(server: GitServer) -> None:
    open_source(server.url("limits.git"))
    (clone,) = clones()
    for name in ("shallow.lock", "config.lock", "packed-refs.lock", "HEAD.lock"):
        (clone / name).write_text("")
    assert "a.py" in texts(server.url("limits.git"))


def test_two_threads_may_open_one_repository_at_once(server: GitServer) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(texts(server.url("limits.git")))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 4


def test_inside_a_git_hook_the_hook_s_repository_is_left_alone(
    server: GitServer, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make_repo({"ours.py": "x\n"})
    before = all_bytes(ours)
    monkeypatch.setenv("GIT_DIR", str(ours / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(ours / ".git" / "index"))
    assert "a.py" in texts(server.url("limits.git"))
    assert all_bytes(ours) == before


def test_clones_work_where_bare_repositories_are_not_trusted(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"gitconfig": "[safe]\n\tbareRepository = explicit\n"})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert "a.py" in texts(server.url("limits.git"))


def test_a_cache_that_cannot_be_made_says_where(
    server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"file": ""})
    monkeypatch.setenv("CODEQA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=f"cannot write to {tmp_path}/file/cache"):
        open_source(server.url("limits.git"))


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("CODEQA_CACHE")
    assert cache_folder() == tmp_path / "b" / "codeqa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "codeqa"


def test_a_full_disk_is_told_from_other_faults(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full"), storage_errors(tmp_path / "new"):
        raise OSError(28, "No space left on device")
    with pytest.raises(StorageError, match="Read-only file system"), storage_errors(tmp_path):
        raise OSError(30, "Read-only file system")


@pytest.mark.parametrize("over", ["local", "http", "file"])
def test_commits_since_the_index_are_counted(server: GitServer, origin: Path, over: str) -> None:
    spec = {"local": str(origin), "http": server.url("limits.git"), "file": f"file://{origin}"}[
        over
    ]
    repository = open_source(spec).repository
    assert count_commits_behind(repository) == 0
    for number in range(3):
        commit_files(origin, {"a.py": f"v = {4 + number}\n"})
    assert count_commits_behind(repository) == 3
    branch = open_source(f"{spec}@fix/a-b").repository
    assert count_commits_behind(branch) == 0
    for ref in (repository.commit, repository.commit[:9], "v1", "light"):
        assert count_commits_behind(open_source(f"{spec}@{ref}").repository) == 0


@pytest.mark.parametrize("over", ["http", "file"])
def test_a_rewritten_branch_says_to_index_again(server: GitServer, origin: Path, over: str) -> None:
    spec = server.url("limits.git") if over == "http" else f"file://{origin}"
    repository = open_source(spec).repository
    run_git(origin, "reset", "--quiet", "--hard", "HEAD~2")
    with pytest.raises(SourceError, match="no longer in its history; run `codeqa index`"):
        count_commits_behind(repository)  # it ends before the indexed commit
    for number in range(4):
        commit_files(origin, {"a.py": f"v = {40 + number}\n"})
    with pytest.raises(SourceError, match="no longer in its history; run `codeqa index`"):
        count_commits_behind(repository)  # it goes on, but without the indexed commit


def test_a_commit_that_a_local_repository_lost_says_to_index_again(origin: Path) -> None:
    repository = replace(open_source(str(origin)).repository, commit="1" * 40)
    with pytest.raises(SourceError, match="no longer in its history"):
        count_commits_behind(repository)


def test_a_repository_that_is_gone_cannot_be_counted(
    server: GitServer, make_repo: MakeRepo
) -> None:
    repo = make_repo({"a.py": "x\n"})
    local, remote = open_source(str(repo)).repository, open_source(server.url("limits.git"))
    repo.rename(repo.with_name("moved"))
    with pytest.raises(SourceError, match="is gone"):
        count_commits_behind(local)
    server.behaviour = 404
    with pytest.raises(CodeQAError, match="does not exist"):
        count_commits_behind(remote.repository)


def test_a_plain_folder_is_never_behind(tmp_path: Path) -> None:
    write_files(tmp_path, {"code/a.py": "x\n"})
    assert count_commits_behind(open_source(str(tmp_path / "code")).repository) is None
