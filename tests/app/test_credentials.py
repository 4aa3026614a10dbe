"""Credentials of an address that somebody typed: who is told them, and where they are not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli import main
from app.mcp_tools import CodeTools
from app.repositories_html import jobs_html
from app.workspace import Workspace
from retrieval.index import CodeIndex
from tests.data_tools.git_server import GitServer, serve_git
from tests.fakes import FakeEncoder

SECRET = "s3cr3t-t0ken-0123456789"
pytestmark = pytest.mark.usefixtures("private_allowed")


class SeenCommands(list[str]):
    """What a server is sent as logins; at each, notes the words of every program that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: set[str] = set()

    def append(self, login: str) -> None:
        """Note a login."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.commands.add(process.read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it has ended meanwhile
                continue
        super().append(login)


@pytest.fixture
def server(tiny_repo: Path, tmp_path: Path) -> Iterator[GitServer]:
    """A server that asks for a login."""
    with serve_git(tmp_path, login=f"ada:{SECRET}") as running:
        running.logins = SeenCommands()
        yield running


def files_with(text: str, folder: Path) -> list[Path]:
    """The files below a folder that hold a text, in their name or content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if text in str(path) or text.encode() in path.read_bytes()]


def test_no_command_writes_or_says_the_password_of_an_address(
    server: GitServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    url, index = server.url("limits", f"ada:{SECRET}"), str(tmp_path / "index")
    assert main(["index", url, "--index", index]) == 0
    assert main(["index", f"{url}@nowhere", "--index", index]) == 1
    assert main(["flatten", url, "--out", str(tmp_path / "out")]) == 0
    monkeypatch.setenv("GIT_TOKEN", SECRET)
    assert main(["status", "--json", "--index", index]) == 0
    server.login = "somebody:else"
    assert main(["index", url, "--index", index]) == 1
    out, err = capsys.readouterr()
    assert "needs credentials" in err and SECRET not in out + err + caplog.text
    assert isinstance(server.logins, SeenCommands)
    assert f"ada:{SECRET}" in server.logins
    assert any("git" in command and "fetch" in command for command in server.logins.commands)
    assert not any(SECRET in command for command in server.logins.commands)
    assert not files_with(SECRET, tmp_path)
    assert SECRET not in str({name: os.environ[name] for name in os.environ if name != "GIT_TOKEN"})


def test_neither_the_page_nor_an_agent_is_told_the_password_of_an_address(
    server: GitServer, tmp_path: Path, fake_encoder: FakeEncoder
) -> None:
    workspace = Workspace(tmp_path / "index", embedder=fake_encoder)
    shown = []
    for ref in ("", "@nowhere"):
        workspace.add(server.url("limits", f"ada:{SECRET}") + ref, remote_only=True)
        shown += [repr(job) for job in workspace.jobs]
        shown.append(jobs_html(workspace.status, workspace.jobs, workspace.report))
        workspace.wait(60)
        shown += [
            jobs_html(workspace.status, workspace.jobs, workspace.report),
            repr(workspace.report),
        ]
    index = workspace.index()
    assert isinstance(index, CodeIndex)
    shown.append(repr(CodeTools(index).list_repositories()))
    records = index.manifest.repositories
    assert [record.location for record in records] == [server.url("limits")]
    shown += [repr(record) for record in records]
    assert SECRET not in " ".join(shown)
    assert "limits" in " ".join(shown)
    assert not files_with(SECRET, tmp_path)
