"""What the terminal says of how to reach the chat, and to whom it is said."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.access import Access
from app.cli import main
from app.history import History
from app.models import open_models
from app.web import launch
from app.workspace import Workspace
from tests.app.guarded import ANY_HOST, BEARER, TOKEN
from tests.fakes import FakeEncoder


def invite(index_folder: Path, tmp_path: Path, host: str, access: Access | None) -> str:
    """What would be said of a chat."""
    history = History(tmp_path / "conversations.sqlite", scope="test")
    workspace = Workspace(index_folder, embedder=FakeEncoder())
    options = {"host": host, "port": 0, "access": access, "block": False}
    chat = launch(workspace, open_models([]), history, **options)  # type: ignore[arg-type]
    try:
        return chat.invitation.replace(chat.url, "URL")
    finally:
        chat.close()
        history.close()


def test_only_a_token_that_nobody_knows_yet_is_said(index_folder: Path, tmp_path: Path) -> None:
    assert invite(index_folder, tmp_path, "127.0.0.1", None) == "Ask at URL"
    named = invite(index_folder, tmp_path, ANY_HOST, Access(TOKEN))
    assert TOKEN not in named
    assert "CODEQA_TOKEN" in named
    made = invite(index_folder, tmp_path, ANY_HOST, Access(TOKEN, made=True))
    assert made == f"Ask at URL/?token={TOKEN}"


def test_a_chat_for_others_without_any_access_is_not_started(
    index_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="give the access"):
        invite(index_folder, tmp_path, ANY_HOST, None)


def test_the_command_makes_a_token_for_others_and_says_it_once(
    index_folder: Path, tmp_path: Path
) -> None:
    run = "import sys; from app.cli import main; sys.exit(main())"
    options = ["--index", str(index_folder), "--port", "0", "--no-browser", "--host", ANY_HOST]
    options += ["--history", str(tmp_path / "conversations.sqlite")]
    command = [sys.executable, "-c", run, "chat", *options]
    environment = {name: value for name, value in os.environ.items() if name != "CODEQA_TOKEN"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr and process.stdout
        said = next(line for line in process.stderr if line.startswith("Ask at "))
        address = said.split()[2]
        url, _, token = address.partition("/?token=")
        assert len(token) > 40
        assert httpx.get(f"{url}/page/start").status_code == 401
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(address).headers["Location"] == "./"
        assert token not in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.terminate()
        assert process.wait(20) == 0
        assert token not in process.stderr.read() + process.stdout.read()


def test_a_token_on_the_command_line_is_not_taken_and_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["chat", f"--token={TOKEN}", "--port", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--token-file" in line
    assert TOKEN not in line


def test_a_file_without_a_token_is_said_on_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("short")
    assert main(["chat", "--token-file", str(tmp_path / "token"), "--port", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no token" in line


def test_a_limit_that_says_nothing_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["chat", "--rate-limit", "votes=1/minute"])
    assert caught.value.code == 2
    assert "questions, searches, repositories, logins" in capsys.readouterr().err


def test_a_token_is_asked_for_on_loopback_too_where_there_is_one(
    index_folder: Path, tmp_path: Path
) -> None:
    history = History(tmp_path / "conversations.sqlite", scope="test")
    workspace = Workspace(index_folder, embedder=FakeEncoder())
    chat = launch(
        workspace, open_models([]), history, port=0, access=Access(TOKEN), block=False
    )  # on loopback, where none is needed
    try:
        assert httpx.get(chat.url).status_code == 401
        assert httpx.get(f"{chat.url}/v1/models", headers=BEARER).status_code == 200
    finally:
        chat.close()
        history.close()
