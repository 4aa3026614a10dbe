"""The page's functions, called as the browser would call them, and the server, over HTTP."""

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from langchain_core.language_models import BaseChatModel

from app.conversation import Conversation
from app.page import Page, name_filters
from app.web import build_page, check_port, in_event_loop, launch, page_options
from app.workspace import Workspace
from data_tools.errors import PortInUseError
from retrieval.index import CodeIndex
from tests.conftest import TINY_FILES
from tests.fakes import FakeEncoder
from tests.git_repositories import make_repository
from tests.llm_helpers import open_chat
from tests.stub_openai import StubOpenAI

QUESTION = "How many seconds until there are tokens in the TokenBucket?"


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    repository = make_repository(folder / "limits", TINY_FILES)
    CodeIndex.build([str(repository)], folder / "index", embedder=FakeEncoder()).close()
    return folder / "index"


@pytest.fixture
def workspace(index_folder: Path) -> Workspace:
    return Workspace(index_folder, embedder=FakeEncoder())


@pytest.fixture
def page(workspace: Workspace) -> Page:
    return make_page(workspace)


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI("It waits [1:L1-L2].") as stub:
        yield stub


def make_page(workspace: Workspace, chat: BaseChatModel | None = None) -> Page:
    return in_event_loop(lambda: Page(workspace, chat))


def ask(
    page: Page,
    question: str = QUESTION,
    before: Conversation = (),
    languages: tuple[str, ...] = (),
    path_glob: str = "",
) -> list[dict[Any, Any]]:
    return list(page.ask(question, before, (), languages, path_glob))


def latest(page: Page, steps: list[dict[Any, Any]], name: str) -> Any:  # noqa: ANN401
    """What a widget shows after the last step."""
    widget = getattr(page, name)
    return next(step[widget] for step in reversed(steps) if widget in step)


def answer_of(page: Page, steps: list[dict[Any, Any]]) -> str:
    return str(latest(page, steps, "messages")[-1]["content"])


def test_a_question_is_answered_with_evidence_beside_it(page: Page) -> None:
    steps = ask(page)
    assert [message["role"] for message in latest(page, steps, "messages")] == ["user", "assistant"]
    assert "Quoted from the code" in answer_of(page, steps)
    assert 'href="#a1p' in answer_of(page, steps)
    assert 'class="line cited"' in latest(page, steps, "evidence")
    assert "Searching the code" in steps[0][page.messages][-1]["content"]


def test_the_question_is_cleared_and_the_button_stops_until_the_end(page: Page) -> None:
    first, *_, last = ask(page)
    assert first[page.question].value == ""
    assert (first[page.question].submit_btn, first[page.question].stop_btn) == (False, "Stop")
    assert (last[page.question]["submit_btn"], last[page.question]["stop_btn"]) == ("Ask", False)


@pytest.mark.parametrize("question", ["", "  \n "])
def test_an_empty_question_is_not_sent(page: Page, question: str) -> None:
    assert [list(step) for step in ask(page, question)] == [[page.question]]


def test_filters_reach_the_search(page: Page) -> None:
    for filters in ({"languages": ("typescript",)}, {"path_glob": "*.ts"}):
        evidence = latest(page, ask(page, **filters), "evidence")
        assert "client.ts" in evidence
        assert "bucket.py" not in evidence


def test_set_filters_are_named_where_they_are_folded_away() -> None:
    assert name_filters([], [], "").label == "Filters"
    assert name_filters(["limits"], ["python"], " src/** ").label == (
        "Filters: only limits, python, src/**"
    )


def test_a_follow_up_shows_what_was_searched_for(page: Page) -> None:
    first = latest(page, ask(page, "What is a token bucket?"), "conversation")
    steps = ask(page, "And where is it filled?", first)
    assert "Searched for:" in answer_of(page, steps)
    assert "token bucket" in answer_of(page, steps)
    assert len(latest(page, steps, "messages")) == 4


def test_a_model_answers_with_the_conversation_before(
    workspace: Workspace, stub: StubOpenAI
) -> None:
    page = make_page(workspace, open_chat(stub.url))
    first = latest(page, ask(page), "conversation")
    stub.reply = lambda messages: "What is a token?" if len(messages) == 2 else "It is one."
    steps = ask(page, "And then?", first)
    assert "Searched for: What is a token?" in answer_of(page, steps)
    assert "It is one." in answer_of(page, steps)
    contents = [message["content"] for message in stub.chats[-1].messages]
    assert contents[1:3] == [QUESTION, "It waits."]


def test_a_failing_model_is_said_in_the_conversation(
    workspace: Workspace, stub: StubOpenAI
) -> None:
    page = make_page(workspace, open_chat(stub.url))
    stub.fault = 500
    steps = ask(page)
    assert 'class="problem" role="alert"' in answer_of(page, steps)
    assert "HTTP 500" in answer_of(page, steps)
    assert "bucket.py" in latest(page, steps, "evidence")
    stub.fault = None
    assert "Written by stub-model" in answer_of(
        page, ask(page, before=latest(page, steps, "conversation"))
    )


def test_a_question_that_is_too_long_is_refused_in_words(page: Page) -> None:
    assert "shorten it" in answer_of(page, ask(page, "a" * 30_000))


def test_a_path_pattern_that_is_none_is_refused_in_words(page: Page) -> None:
    assert 'class="problem"' in answer_of(page, ask(page, path_glob="!"))


def test_stopping_keeps_what_was_written_and_closes_the_connection(
    workspace: Workspace, stub: StubOpenAI
) -> None:
    stub.reply, stub.delay_s = "It waits and waits. " * 100, 0.02
    page = make_page(workspace, open_chat(stub.url))
    events = page.ask(QUESTION, (), (), (), "")
    shown = next(step for step in events if "It waits" in step[page.messages][-1]["content"])
    events.close()
    stopped = page.stop(shown[page.conversation])
    assert "It waits" in stopped[page.messages][-1]["content"]
    assert "Stopped" in stopped[page.messages][-1]["content"]
    assert stub.chats[-1].done.wait(5)
    assert stub.chats[-1].closed_early


def test_stopping_nothing_changes_nothing(page: Page) -> None:
    done = latest(page, ask(page), "conversation")
    assert page.stop(done)[page.conversation] == done
    assert page.stop(())[page.messages] == []


def test_a_new_conversation_is_empty(page: Page) -> None:
    updates = page.begin_anew()
    assert updates[page.conversation] == ()
    assert updates[page.messages] == []
    assert "appear here" in updates[page.evidence]


def test_the_page_shows_what_the_index_holds_and_then_only_news(page: Page) -> None:
    updates = page.refresh(None)
    assert "limits" in updates[page.header]
    assert updates[page.banner] == ""
    assert updates[page.question].interactive
    assert not updates[page.timer].active
    assert not updates[page.repos].visible  # there is but one
    assert ("python (3)", "python") in updates[page.languages].choices
    assert updates[page.messages].examples[0] == {"text": "What is limits for?"}
    assert list(page.refresh(updates[page.shown])) == [page.banner]


def test_with_several_repositories_one_can_be_chosen(tmp_path: Path) -> None:
    specs = [str(make_repository(tmp_path / name, TINY_FILES)) for name in ("one", "two")]
    CodeIndex.build(specs, tmp_path / "index", embedder=FakeEncoder()).close()
    page = make_page(Workspace(tmp_path / "index", embedder=FakeEncoder()))
    repos = page.refresh(None)[page.repos]
    assert repos.visible
    assert repos.choices == [("one", "one"), ("two", "two")]
    evidence = latest(page, list(page.ask(QUESTION, (), ["two"], [], "")), "evidence")
    assert "two › TokenBucket" in evidence
    assert "one › " not in evidence


def test_without_an_index_nothing_can_be_asked(tmp_path: Path) -> None:
    page = make_page(Workspace(tmp_path / "none"))
    updates = page.refresh(None)
    assert not updates[page.question].interactive
    assert "make chat REPO=" in updates[page.messages].placeholder
    assert [list(step) for step in ask(page)] == [[page.question]]


def test_a_failed_build_is_said(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "index", [str(tmp_path / "nowhere")], FakeEncoder())
    workspace.start()
    workspace.wait()
    page = make_page(workspace)
    assert "nowhere does not exist" in page.refresh(None)[page.banner]


def test_the_page_keeps_to_itself(workspace: Workspace) -> None:
    page = build_page(workspace, None)
    assert not page.analytics_enabled
    assert page.get_api_info()["named_endpoints"] == {}
    chatbots = [block for block in page.blocks.values() if isinstance(block, gr.Chatbot)]
    assert [chatbot.sanitize_html for chatbot in chatbots] == [True]
    assert "default-src 'self'" in page_options()["head"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_page_is_served(workspace: Workspace) -> None:
    port = free_port()
    page = launch(workspace, None, port=port, block=False)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            assert b"codeqa" in response.read()
    finally:
        page.close(verbose=False)


def test_a_port_that_is_taken_is_said_on_one_line(workspace: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{port} .*--port") as caught:
            launch(workspace, None, port=port, block=False)
    assert "\n" not in str(caught.value)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(PortInUseError, match=r"192\.0\.2\.1"):
        check_port("192.0.2.1", 7860)
