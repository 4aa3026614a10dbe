"""One request, one id: from the page to the model's server, in every line that is logged."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.logs import new_request
from tests.stub_openai import StubOpenAI

ROOT = Path(__file__).parent.parent.parent
QUESTION = "What limits a client of Zanzibar?"
SERVER = """
import sys, time
from pathlib import Path
from app.history import History
from app.logs import LogOptions, configure_logs
from app.models import open_models
from app.web import launch
from app.workspace import Workspace
from tests.fakes import FakeEncoder

index, llm, folder, *options = sys.argv[1:]
configure_logs(LogOptions("json" in options, "questions" in options))
workspace = Workspace(Path(index), embedder=FakeEncoder())
history = History(Path(folder) / "conversations.sqlite", scope="here")
chat = launch(workspace, open_models([llm]), history, port=0, block=False)
print(chat.url, flush=True)
sys.stdin.read()
chat.close()
"""


@pytest.fixture(scope="module")
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI(reply="A token bucket does [1].") as stub:
        yield stub


@contextmanager
def serve(index: Path, stub: StubOpenAI, folder: Path, *options: str) -> Iterator[httpx.Client]:
    """Serve the chat in a process of its own; what it logs goes to `folder / "log"`."""
    command = [sys.executable, "-c", SERVER, str(index), stub.url, str(folder), *options]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout
        with httpx.Client(base_url=process.stdout.readline().strip(), timeout=30) as client:
            yield client
        process.communicate()


def ask_page(client: httpx.Client, request: str) -> None:
    """Ask on the page and wait until the answer is there."""
    body = {"text": QUESTION, "models": ["stub-model"]}
    asked = client.post("/page/ask", json=body, headers={"X-Request-ID": request})
    assert asked.headers["X-Request-ID"] == request
    client.get(f"/page/follow/{asked.json()['conversation']}")


def ask_api(client: httpx.Client, request: str) -> None:
    body = {"model": "stub-model", "messages": [{"role": "user", "content": QUESTION}]}
    headers = {"X-Request-ID": request}
    assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def test_a_question_has_one_id_from_the_page_to_the_model_s_server(
    index_folder: Path, stub: StubOpenAI, tmp_path: Path
) -> None:
    with serve(index_folder, stub, tmp_path, "json") as client:
        for ask, request in ((ask_page, "page-1"), (ask_api, "api-1")):
            ask(client, request)
            assert stub.chats[-1].headers["x-request-id"] == request
        made = client.get("/healthz").headers["X-Request-ID"]
        for _ in range(100):  # the page's answer is logged by the thread that made it
            lines = read_log(tmp_path)
            if len([line for line in lines if line["message"] == "answer"]) == 2:
                break
            time.sleep(0.05)
    for request, path in (("page-1", "/page/ask"), ("api-1", "/v1/chat/completions")):
        own = {line["message"]: line for line in lines if line["request"] == request}
        assert own["request"] | {"method": "POST", "path": path, "status": 200} == own["request"]
        assert own["answer"]["model"] == "stub-model"
        assert own["answer"]["total_s"] >= own["answer"]["search_s"] > 0
        assert own["answer"]["time"] and own["answer"]["level"] == "INFO"
    assert any(line["request"] == made and line["path"] == "/healthz" for line in lines[-3:])
    assert "Zanzibar" not in (tmp_path / "log").read_text()


def test_questions_are_logged_where_that_is_asked_for_and_failures_say_why(
    index_folder: Path, stub: StubOpenAI, tmp_path: Path
) -> None:
    with serve(index_folder, stub, tmp_path, "json", "questions") as client:
        stub.fault = 500
        ask_page(client, "bad")
        stub.fault = None
    (failed,) = [line for line in read_log(tmp_path) if line["message"] == "answer failed"]
    assert (failed["request"], failed["question"]) == ("bad", QUESTION)
    assert "HTTP 500" in failed["problem"]


def test_without_the_option_nothing_is_logged_of_what_goes_well(
    index_folder: Path, stub: StubOpenAI, tmp_path: Path
) -> None:
    with serve(index_folder, stub, tmp_path) as client:
        ask_page(client, "quiet")
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"}\n{"level": "forged', "é"])
def test_an_id_that_could_break_a_line_is_replaced(given: str) -> None:
    assert new_request(given) != given
    assert new_request(given).isalnum()


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_logged_whoever_logs_it(as_json: bool) -> None:
    token = "gh" + "p_" + "aZ3kP9qL" * 5
    program = (
        "import logging\n"
        "from app.logs import LogOptions, configure_logs\n"
        f"configure_logs(LogOptions(as_json={as_json}))\n"
        f"logging.getLogger('library').error('cannot log in with %s', '{token}')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "cannot log in with [redacted: GitHub token]" in run.stderr
    assert token not in run.stderr
