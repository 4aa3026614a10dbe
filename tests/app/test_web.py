"""The server of the page: what it serves, at which address, and how it ends."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest

from app.cli import main
from app.history import History
from app.metrics import Metrics
from app.models import Models, open_models
from app.page import Page
from app.rate_limits import RateLimits
from app.web import WebChat, in_event_loop, launch
from app.workspace import Workspace
from data_tools.errors import PortInUseError
from tests.fakes import FakeEncoder
from tests.stub_openai import StubOpenAI

QUESTION = "How many seconds until there are tokens in the TokenBucket?"


@pytest.fixture
def workspace(index_folder: Path) -> Workspace:
    return Workspace(index_folder, embedder=FakeEncoder())


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "conversations.sqlite", scope="test")
    yield history
    history.close()


@pytest.fixture
def chat(workspace: Workspace, history: History) -> Iterator[WebChat]:
    chat = launch(workspace, open_models([]), history, port=0, block=False)
    yield chat
    chat.close()


def test_the_page_and_the_api_are_served_at_one_address(chat: WebChat) -> None:
    page = httpx.get(chat.url)
    assert "codeqa" in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert httpx.get(f"{chat.url}/page/start").json()["ready"]
    assert httpx.get(f"{chat.url}/v1/models").json()["data"][0]["id"] == "quotations"
    assert httpx.get(f"{chat.url}/readyz").json()["ready"]


def test_a_question_asked_on_the_page_is_counted_and_kept(
    chat: WebChat, workspace: Workspace, history: History
) -> None:
    asked = httpx.post(f"{chat.url}/page/ask", json={"text": QUESTION}).json()
    *_, last = httpx.get(f"{chat.url}/page/follow/{asked['conversation']}").text.splitlines()
    assert json.loads(last)
    assert len(history.load("local", asked["conversation"])) == 1
    metrics = httpx.get(f"{chat.url}/metrics").text
    assert 'codeqa_answers_total{outcome="answered",strategy="direct"} 1.0' in metrics


def test_gradio_keeps_its_own_routes(chat: WebChat) -> None:
    assert httpx.get(f"{chat.url}/config").json()["title"] == "codeqa"
    assert httpx.get(f"{chat.url}/theme.css").status_code == 200
    script = re.search(r'src="\./(assets/index-[\w-]+\.js)"', httpx.get(chat.url).text)
    assert script
    assert httpx.get(f"{chat.url}/{script[1]}").status_code == 200


def test_the_page_keeps_to_itself(workspace: Workspace) -> None:
    page = in_event_loop(lambda: Page(workspace, RateLimits())).blocks
    assert not page.analytics_enabled
    assert page.get_api_info()["named_endpoints"] == {}
    assert not any(isinstance(block, gr.File) for block in page.blocks.values())


def test_other_sites_cannot_reach_the_page_by_a_name_of_theirs(chat: WebChat) -> None:
    for path in ("", "config", "page/start", "metrics"):
        reply = httpx.get(f"{chat.url}/{path}", headers={"Host": "evil.example"})
        assert reply.status_code == 421


def test_closing_ends_the_server_and_the_answers_on_their_way(
    workspace: Workspace, history: History
) -> None:
    with StubOpenAI("It waits and waits. " * 200, delay_s=0.02) as stub:
        chat = launch(workspace, open_models([stub.url]), history, port=0, block=False)
        body = {"text": QUESTION, "models": ["stub-model"]}
        asked = httpx.post(f"{chat.url}/page/ask", json=body).json()
        message = {"model": "stub-model", "messages": [{"role": "user", "content": QUESTION}]}
        with httpx.stream(
            "POST", f"{chat.url}/v1/chat/completions", json=message | {"stream": True}
        ) as reply:
            next(reply.iter_lines())
            closing = threading.Thread(target=chat.close)
            closing.start()
            closing.join(8)
        assert not closing.is_alive()
        assert all(request.done.wait(5) and request.closed_early for request in stub.chats)
    (exchange,) = history.load("local", asked["conversation"])
    assert "The server was stopped" in (exchange.drafts[0].problem or "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(chat.url)
    chat.close()


def test_the_command_serves_and_ends_cleanly_when_it_is_told_to(
    index_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "kept" / "conversations.sqlite"
    run = "import sys; from app.cli import main; sys.exit(main())"
    options = ["--index", str(index_folder), "--port", "0", "--no-browser", "--history", str(file)]
    command = [sys.executable, "-c", run, "chat", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = next(line for line in process.stderr if line.startswith("Ask at "))
        url = said.split()[2]
        assert httpx.get(f"{url}/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
    assert file.exists()


def test_an_adapter_needs_a_model_to_be_served_beside(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--adapter", "sql=runs/sql", "--port", "0"]) == 1
    assert "name that with --serve" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_on_one_line(workspace: Workspace, history: History) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{port} .*--port") as caught:
            launch(workspace, open_models([]), history, port=port, block=False)
    assert "\n" not in str(caught.value)


def test_an_address_of_another_machine_is_refused(workspace: Workspace, history: History) -> None:
    with pytest.raises(PortInUseError, match=r"192\.0\.2\.1"):
        launch(workspace, Models({}), history, host="192.0.2.1", port=0, block=False)


def test_two_servers_in_one_process_count_for_themselves(
    chat: WebChat, workspace: Workspace, history: History
) -> None:
    other = launch(workspace, open_models([]), history, port=0, block=False)
    try:
        assert other.url != chat.url
        message = {"messages": [{"role": "user", "content": QUESTION}]}
        assert httpx.post(f"{other.url}/v1/chat/completions", json=message).status_code == 200
        assert 'outcome="answered"' in httpx.get(f"{other.url}/metrics").text
        assert 'outcome="answered"' not in httpx.get(f"{chat.url}/metrics").text
    finally:
        other.close()
    assert Metrics().registry is not Metrics().registry
