"""How git reaches a server: at the address that was judged, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.errors import SourceError
from data_tools.git_access import reach
from data_tools.sources import SourceFile, open_source
from tests.data_tools.git_server import GitServer, serve_git
from tests.data_tools.name_server import name_server
from tests.data_tools.site_server import Reply, serve_site
from tests.git_repositories import MakeRepo

PUBLIC = "140.82.121.3"
allowed = pytest.mark.usefixtures("private_allowed")


@pytest.fixture
def server(tmp_path: Path, make_repo: MakeRepo) -> Iterator[GitServer]:
    """A server of the repository `limits`."""
    make_repo({"a.py": "x = 1\n"}, "limits")
    with serve_git(tmp_path) as running:
        yield running


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program that stands in for ssh notes the words it is called with, and its answer."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program = folder / "ssh"
    program.write_text(
        f'#!/bin/sh\nprintf "%s|" "$@" >> {tmp_path}/words\necho >> {tmp_path}/words\n'
        f'test "$1" = -G && cat {tmp_path}/settings && exit 0\nexit 1\n'
    )
    program.chmod(0o755)
    (tmp_path / "settings").write_text("")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return tmp_path / "words"


def files(spec: str) -> list[str]:
    """The paths of a repository."""
    return [file.path for file in open_source(spec).files() if isinstance(file, SourceFile)]


@allowed
def test_git_goes_to_the_address_that_was_judged_and_asks_for_no_other(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = name_server(monkeypatch, "127.0.0.1", "127.0.0.2")
    # Git itself cannot look this name up: only the tests know it.
    assert files(f"git+http://git.test:{server.port}/limits") == ["a.py"]
    assert asked == ["git.test"]


@allowed
def test_a_repository_that_has_moved_is_found_on_each_server_that_may_be_asked(
    server: GitServer, tmp_path: Path
) -> None:
    with serve_git(tmp_path) as old:
        old.behaviour = server.url("").rstrip("/")
        snapshot = open_source(f"git+{old.url('limits')}")
        assert [file.path for file in snapshot.files()] == ["a.py"]
        assert snapshot.repository.location == old.url("limits")
        server.behaviour = old.url("").rstrip("/")
        with pytest.raises(SourceError, match="has moved; give the address where it is now"):
            open_source(f"git+{old.url('limits')}@main")


@allowed
@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/latest",
        "http://0.0.0.0:1/x",
        "ext::sh -c id",
        "ssh://git@git.test/x",
        "git://git.test/x",
    ],
)
def test_a_redirect_leads_nowhere_else(location: str) -> None:
    with serve_site() as site:
        for path in ("/x/info/refs?service=git-upload-pack", "/x/info/refs"):
            site.replies[path] = Reply(status=302, headers={"Location": location + path[2:]})
        with pytest.raises(SourceError) as caught:
            open_source(f"git+{site.url('/x')}")
    assert str(caught.value).isprintable()
    assert set(site.asked()) <= {"/x/info/refs?service=git-upload-pack"}


@allowed
def test_a_server_that_turns_private_in_between_is_judged_where_it_leads_to(
    server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def redirect(_: dict[str, str]) -> Reply:
        asked.append("once")
        if len(asked) == 2:  # git was here first; from now on nothing private is allowed
            monkeypatch.setenv("CODEQA_ALLOW_PRIVATE", "")
        location = server.url("limits/info/refs?service=git-upload-pack")
        return Reply(status=302, headers={"Location": location})

    with serve_site() as site:
        site.replies["/x/info/refs?service=git-upload-pack"] = redirect
        with pytest.raises(SourceError, match=r"127\.0\.0\.1 is a private address"):
            open_source(f"git+{site.url('/x')}")
    assert server.logins == []


def test_a_proxy_is_not_asked_for_what_is_private_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_site() as proxy:
        for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        name_server(monkeypatch, "10.0.0.1")
        for spec in ("git+https://inside.test/x", "git+https://127.0.0.1/x", "https://10.0.0.1/x"):
            with pytest.raises(SourceError, match="is a private address"):
                open_source(spec)
        assert proxy.asked() == []


def test_a_proxy_may_know_names_that_are_not_known_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    name_server(monkeypatch, OSError())
    with pytest.raises(SourceError, match="cannot reach https://git.test/x"):
        reach("https://git.test/x")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert reach("https://git.test/x").url == "https://git.test/x"


def test_ssh_goes_to_the_address_that_was_judged_and_checks_the_key_of_the_name(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_server(monkeypatch, PUBLIC)
    for spec, known_as in (
        ("git@git.test:ada/limits.git", "git.test"),
        ("ssh://git@git.test:2222/ada/limits.git", "[git.test]:2222"),
    ):
        with pytest.raises(SourceError):
            open_source(spec)
        called = ssh.read_text().splitlines()[-1].split("|")
        assert f"HostName={PUBLIC}" in called and f"HostKeyAlias={known_as}" in called
        assert called.index(f"HostName={PUBLIC}") < called.index("git@git.test")


def test_a_short_name_of_the_user_s_is_judged_by_what_it_stands_for(
    ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = name_server(monkeypatch, "192.168.0.7")
    (ssh.parent / "settings").write_text("hostname nas.test\nport 22\n")
    with pytest.raises(SourceError, match=r"nas\.test \(192\.168\.0\.7\) is a private address"):
        open_source("git@work:ada/limits.git")
    assert asked == ["nas.test"]
    (ssh.parent / "settings").write_text("hostname nas.test\nproxyjump gate\n")
    with pytest.raises(SourceError, match="reached through another machine"):
        open_source("git@work:ada/limits.git")
    assert all(line.startswith("-G|") for line in ssh.read_text().splitlines())


def test_what_holds_credentials_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    name_server(monkeypatch, PUBLIC)
    access = reach("https://ada:s3cret@git.test/x")
    assert access.login == "ada:s3cret" and "s3cret" not in repr(access)
