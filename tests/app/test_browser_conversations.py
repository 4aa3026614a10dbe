"""Conversations in a real browser: kept, found, renamed, changed, and never lost."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.history import History
from app.models import open_models
from app.web import launch
from app.workspace import Workspace
from tests.app.browser_steps import ANSWER, NARROW, QUESTION, Open, ask, cite, send, snap
from tests.fakes import FakeEncoder
from tests.stub_openai import StubOpenAI

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
LONG = ANSWER + "".join(f"\n\nIt goes on, {number} times." for number in range(60))


@pytest.fixture
def alone(servers: Callable[..., str], index_folder: Path, stub: StubOpenAI) -> str:
    """Address of a page that no other test has used."""
    return servers(Workspace(index_folder, embedder=FakeEncoder()), stub.url)


def names(page: "Page") -> list[str]:
    """The names of the conversations in the list."""
    return page.locator("#kept .name").all_inner_texts()


def wait_for_text(page: "Page", text: str) -> None:
    """Wait until the last answer holds a text."""
    page.locator("#messages .bot").last.get_by_text(text).first.wait_for()


def test_a_reload_in_mid_answer_and_a_second_tab_miss_nothing(
    visit: Open, modelled: str, stub: StubOpenAI
) -> None:
    stub.reply, stub.delay_s = cite(LONG), 0.01
    page = visit(modelled)
    send(page)
    wait_for_text(page, "It goes on")
    page.reload()
    wait_for_text(page, "It goes on")
    assert page.is_visible("#question .stop-button")  # it is still being written
    other = visit(page.url)
    wait_for_text(other, "It goes on")
    texts = []
    for tab in (page, other):
        tab.wait_for_selector("#question .submit-button")
        texts.append(tab.locator("#messages .md").inner_text())
    assert texts[0] == texts[1]
    assert texts[0].count("It goes on, ") == 60
    assert len(stub.chats) == 1


def test_a_restarted_server_keeps_what_was_said_and_the_page_goes_on(
    visit: Open, index_folder: Path, stub: StubOpenAI, tmp_path: Path
) -> None:
    def serve(port: int) -> Callable[[], None]:
        history = History(tmp_path / "conversations.sqlite", scope="limits")
        workspace = Workspace(index_folder, embedder=FakeEncoder())
        chat = launch(workspace, open_models([stub.url]), history, port=port, block=False)
        addresses.append(chat.url)
        return chat.close

    addresses: list[str] = []
    close = serve(0)
    page = visit(f"{addresses[0]}/")
    ask(page)
    stub.reply, stub.delay_s = cite(LONG), 0.02
    send(page, "What is a token bucket?")
    wait_for_text(page, "It goes on")
    close()
    stub.delay_s = 0.0
    close = serve(int(addresses[0].rpartition(":")[2]))
    try:
        interrupted = page.locator(".problem", has_text="try again to have the whole answer")
        interrupted.wait_for()
        assert "It goes on" in page.locator("#messages .bot").last.inner_text()
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector("#question .submit-button")
        interrupted.wait_for(state="detached")
        assert page.locator("#messages .asked").all_inner_texts() == [
            QUESTION,
            "What is a token bucket?",
        ]
    finally:
        close()


def test_conversations_are_listed_found_renamed_and_deleted(visit: Open, alone: str) -> None:
    page = visit(alone)
    ask(page)
    page.get_by_role("button", name="New conversation").click()
    ask(page, "Which status does the service answer with?")
    page.wait_for_function("document.querySelectorAll('#kept li').length === 2")
    assert names(page)[1].startswith("How does the TokenBucket")
    page.fill("#search", "refill")
    page.wait_for_function("document.querySelectorAll('#kept li').length === 1")
    page.locator("#kept a").click()
    page.get_by_role("heading", name="How does the TokenBucket").wait_for()
    page.wait_for_selector("#messages .bot .citation")
    assert page.locator("#messages .asked").inner_text() == QUESTION
    assert page.locator("#kept a").get_attribute("aria-current") == "page"
    snap(page, "conversations-wide")
    page.get_by_role("button", name="Rename").click()
    page.keyboard.type("Buckets <b>")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Buckets <b>").wait_for()
    assert page.title() == "Buckets <b> · codeqa"
    page.get_by_role("button", name="Delete").click()
    page.locator("#dialog").get_by_role("button", name="Cancel").click()
    assert page.locator("#messages .asked").count() == 1
    page.get_by_role("button", name="Delete").click()
    page.locator("#dialog").get_by_role("button", name="Delete").click()
    page.wait_for_selector("#welcome .welcome")
    page.fill("#search", "")
    page.locator("#kept").get_by_text("Which status").wait_for()
    assert names(page) == ["Which status does the service answer with?"]
    page.go_back()
    page.get_by_text("no such conversation").wait_for()


def test_a_conversation_is_exported_as_markdown(visit: Open, modelled: str) -> None:
    page = visit(modelled)
    ask(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "how-does-the-tokenbucket-refill-its-tokens.md"
    text = Path(download.value.path()).read_text("utf-8")
    assert QUESTION in text
    assert "https://github.com/ada/limits/blob/" in text


def test_a_past_question_is_edited_and_what_followed_is_replaced(
    visit: Open, modelled: str
) -> None:
    page = visit(modelled)
    ask(page)
    ask(page, "And how are they taken?")
    page.get_by_role("button", name="Edit and ask again").first.click()
    assert page.input_value("#question textarea") == QUESTION
    assert page.is_visible("#editing")
    page.fill("#question textarea", "What is a token bucket?")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('#messages .asked').length === 1")
    page.wait_for_selector("#question .submit-button")
    assert page.locator("#messages .asked").all_inner_texts() == ["What is a token bucket?"]
    assert not page.is_visible("#editing")
    page.reload()
    page.wait_for_selector("#messages .bot .citation")
    assert page.locator("#messages .asked").all_inner_texts() == ["What is a token bucket?"]


def test_the_list_is_a_drawer_on_a_telephone(visit: Open, modelled: str) -> None:
    page = visit(modelled, NARROW)
    ask(page)
    assert not page.is_visible("#conversations")
    page.get_by_role("button", name="Conversations").click()
    page.locator("#kept a").first.wait_for()
    assert page.evaluate("document.activeElement.id") == "search"
    snap(page, "conversations-narrow")
    page.keyboard.press("Escape")
    assert not page.is_visible("#conversations")
    page.get_by_role("button", name="Conversations").click()
    page.locator("#kept a").first.click()
    page.wait_for_selector("#conversations", state="hidden")
    page.wait_for_selector("#messages .bot .citation")
