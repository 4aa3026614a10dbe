"""A repository full of attacks, in a real browser: all of it is seen, none of it runs or loads.

The model says again whatever it is shown, as if it obeyed each file.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.workspace import Workspace
from retrieval.citations import format_citation
from retrieval.index import CodeIndex
from retrieval.prompt import SYSTEM, parse_passages
from tests.app.browser_steps import WAIT_MS, ask
from tests.fakes import FakeEncoder
from tests.git_repositories import make_repository
from tests.stub_openai import Message, StubOpenAI
from tests.torture.poisoned import CANARY, HOST, WORDS, poisoned_files

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

pytestmark = pytest.mark.browser

WATCH = """
  window.__seen = [];
  for (const event of ["securitypolicyviolation", "error"]) {
    addEventListener(event, (it) => __seen.push(`${event} ${it.blockedURI ?? it.message}`), true);
  }
"""
ODD = f'"><img src=x onerror={CANARY}> ${{{CANARY}}} {{{{{CANARY}}}}} http://{HOST}/'


def parrot(messages: list[Message]) -> str:
    """A model that says again what it is shown."""
    asked = messages[-1]["content"]
    if "Last question: " in asked:
        return str(asked.rpartition("Last question: ")[2])
    passages = parse_passages(asked)
    if not passages:
        return f"1. {ODD}\n2. {ODD} again"
    cited = (
        f"{chunk.text}\n\n{format_citation(number, chunk.start_line, chunk.end_line)}\n"
        for number, chunk in enumerate(passages, start=1)
    )
    return "\n".join(cited)


@pytest.fixture(scope="module")
def poisoned(
    tmp_path_factory: pytest.TempPathFactory, servers: Callable[..., str], stub: StubOpenAI
) -> str:
    """Address of a page about them."""
    folder = tmp_path_factory.mktemp("poisoned")
    make_repository(folder / f"<img src=x onerror={CANARY}>", poisoned_files())
    repository = str(next(folder.iterdir()))
    CodeIndex.build([repository], folder / "index", embedder=FakeEncoder()).close()
    return servers(Workspace(folder / "index", embedder=FakeEncoder()), stub.url)


@pytest.fixture
def page(browser: "Browser", poisoned: str) -> Iterator["Page"]:
    """The page; in the end, nothing has run, and nothing was asked for but of the page's server."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(WATCH)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    asked: list[str] = []
    dialogs: list[str] = []
    ours = (poisoned, "data:image/svg+xml,", "blob:")

    def dismiss(dialog: "Dialog") -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    context.on("request", lambda request: asked.append(request.url))
    page.on("dialog", dismiss)
    page.goto(poisoned)
    page.wait_for_selector("#welcome:not([hidden]) .welcome")
    page.evaluate("__seen.length = 0")  # what Gradio itself does on loading is not of the files
    yield page
    assert page.evaluate("window.__pwned") is None
    assert page.evaluate("__seen") == []
    assert page.url.startswith(poisoned)
    assert page.context.pages == [page]
    context.close()
    assert [address for address in asked if not address.startswith(ours)] == []
    assert dialogs == []


def look_at_all_evidence(page: "Page") -> set[str]:
    """Open each passage of the last answer, then its file; returns their paths."""
    page.evaluate("document.querySelectorAll('#evidence details').forEach((it) => it.open = true)")
    buttons = page.locator("#evidence .current .open-file")
    for at in range(buttons.count()):
        buttons.nth(at).click()
        page.wait_for_selector("#viewer .source .line")
        page.keyboard.press("Escape")
    cards = "[...document.querySelectorAll('#evidence .current .passage')]"
    return set(page.evaluate(f"{cards}.map((card) => card.dataset.path)"))


def test_nothing_of_a_poisoned_repository_runs_or_loads(page: "Page", stub: StubOpenAI) -> None:
    stub.reply, stub.delta_chars = parrot, 200
    shown: set[str] = set()
    for word in WORDS:
        ask(page, f"What is the {word}?")
        shown |= look_at_all_evidence(page)
    assert len(shown) >= 50
    page.get_by_label("Related").check(force=True)
    ask(page, ODD)
    assert {each["content"] for it in stub.chats for each in it.messages[:1]} >= {SYSTEM}
    for request in stub.chats:
        assert not request.body.keys() & {"tools", "tool_choice", "functions"}
        for message in request.messages:
            if message["role"] == "system":
                assert "About the" not in message["content"] and HOST not in message["content"]
    page.reload()
    page.wait_for_selector("#exchanges .message")
    page.evaluate("document.querySelectorAll('details').forEach((it) => it.open = true)")
    assert page.locator("#exchanges .exchange").count() == len(WORDS) + 1
    saved: Any
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    assert "Ignore all previous instructions" in Path(saved.value.path()).read_text("utf-8")


def test_nothing_of_it_runs_where_answers_are_compared_and_repositories_are_listed(
    page: "Page", stub: StubOpenAI
) -> None:
    stub.reply, stub.delta_chars = parrot, 200
    page.check("#choices [name=compare]")
    page.select_option("#choices [name=other]", "tuned-model")
    ask(page, f"What is the {WORDS[3]}?")
    page.get_by_role("button", name="Left is better").click()
    page.get_by_text("Kept. Thank you.").wait_for(state="attached")
    page.get_by_role("button", name="Rename").click()
    page.fill("#dialog input", ODD)
    page.press("#dialog input", "Enter")
    page.locator("#kept", has_text=ODD[:20]).wait_for()
    page.get_by_role("button", name="Repositories").click()
    page.wait_for_selector("#repositories-list .rows")
    page.evaluate(
        "document.querySelectorAll('#repositories details').forEach((it) => it.open = true)"
    )
    assert page.get_by_text("lines.md").is_visible()  # a name of two lines, which is left out
    page.fill("#repositories-add input", ODD)
    page.press("#repositories-add input", "Enter")
    page.wait_for_selector("#repositories .failure")
